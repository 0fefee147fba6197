// SPDX-License-Identifier: GPL-2.0
//! Checkouts: the build worktree, which is the tool's own, and the one that a person edits.

use std::fs;
use std::path::{Path, PathBuf};

use crate::base::{self, Base};
use crate::context::Context;
use crate::error::{At, Error, Result};
use crate::git::Git;
use crate::progress;

/// The build worktree of this clone with this commit checked out, exactly. Unchanged files keep their times.
///
/// What somebody edits in the worktree of `apply` never gets here.
pub fn at(ctx: &Context, commit: &str) -> Result<PathBuf> {
    let base = base::ensure(ctx)?;
    let path = ctx.cache.path(format!("worktree/{}-build", ctx.id()));
    let _lock = ctx.cache.lock("worktree")?;
    if !is_checkout(&path)? {
        add(ctx, &base, &path, commit, &["--detach"])?;
        return Ok(path);
    }
    let git = Git::at(&path);
    if git.resolve("HEAD")?.as_deref() != Some(commit) {
        let step = progress::step_of(
            "checking out",
            format_args!("checking out {}", &commit[..12]),
        );
        git.run(&["checkout", "--quiet", "--force", "--detach", commit])?;
        step.done();
    } else {
        git.run(&["reset", "--quiet", "--hard"])?;
    }
    git.run(&["clean", "-ffdxq"])?;
    Ok(path)
}

/// Where `apply` makes the worktree of this clone.
pub fn default_path(ctx: &Context) -> PathBuf {
    ctx.cache.path(format!("worktree/{}", ctx.id()))
}

/// The same on another base.
pub fn path_on(ctx: &Context, base: &str) -> PathBuf {
    ctx.cache.path(format!("worktree/{}-on-{base}", ctx.id()))
}

/// The branch that `apply` makes. Named after the worktree, so that two worktrees can have one each.
pub fn branch(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let plain: String = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    let digest = crate::context::short_hash(path.as_os_str().as_encoded_bytes());
    format!("series-{}-{}", plain.trim_matches('-'), &digest[..6])
}

/// Whether a git checkout starts here.
pub fn is_checkout(path: &Path) -> Result<bool> {
    if !path.join(".git").exists() {
        return Ok(false);
    }
    let top = Git::at(path).attempt(&["rev-parse", "--show-toplevel"])?;
    let top = String::from_utf8_lossy(&top.stdout).trim().to_owned();
    Ok(path.canonicalize().at(path)? == Path::new(&top))
}

/// Makes a worktree of the base's repository.
pub fn add(ctx: &Context, base: &Base, path: &Path, commit: &str, options: &[&str]) -> Result<()> {
    if path.exists() && fs::read_dir(path).at(path)?.next().is_some() {
        return Err(Error::config(
            path.display(),
            "is neither empty nor a worktree of this tool",
        )
        .mend("choose another folder"));
    }
    if ctx.config.base_is_packaged() {
        ctx.cache.need_free(3, "a checkout of the kernel")?;
    }
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).at(parent)?;
    }
    let step = progress::step(format_args!("checking out into {}", path.display()));
    // A worktree whose folder somebody removed is still registered.
    base.git().run(&["worktree", "prune"])?;
    let target = path.to_string_lossy();
    let mut arguments = vec!["worktree", "add", "--quiet", "--force"];
    arguments.extend(options);
    arguments.extend([target.as_ref(), commit]);
    base.git().run(&arguments)?;
    step.done();
    Ok(())
}
