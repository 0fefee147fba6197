// SPDX-License-Identifier: GPL-2.0
//! Checkouts: the build worktree, which is the tool's own, and the one that a person edits.

use std::fs;
use std::path::{Path, PathBuf};

use crate::base::{self, Base};
use crate::cache::Lock;
use crate::context::{Context, short_hash};
use crate::error::{At, Error, Result};
use crate::git::Git;
use crate::progress;

/// The build worktree of this clone with this commit checked out, exactly. Unchanged files keep their times.
///
/// What somebody edits in the worktree of `apply` never gets here.
pub fn at(ctx: &Context, commit: &str) -> Result<PathBuf> {
    let base = base::ensure(ctx)?;
    let path = ctx.cache.path(format!("worktree/{}-build", ctx.id()));
    let _lock = lock(ctx, &path)?;
    if !is_checkout(&path)? {
        add(ctx, &base, &path, commit, &["--detach"])?;
        return Ok(path);
    }
    let git = Git::at(&path);
    // Nobody but the holder of the lock works here: what a git that was killed left is in the way of nothing else.
    let index = git.run(&[
        "rev-parse",
        "--path-format=absolute",
        "--git-path",
        "index.lock",
    ])?;
    let _ = fs::remove_file(index);
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

/// Held while worktrees are made or changed. A worktree that a run left half made, because it was killed, is gone then.
pub fn lock(ctx: &Context, path: &Path) -> Result<Lock> {
    let lock = ctx.cache.lock("worktree")?;
    let mark = mark(ctx, path)?;
    if mark.exists() {
        progress::note(format_args!("{}: was left half made", path.display()));
        if path.exists() {
            fs::remove_dir_all(path).at(path)?;
        }
        forget_half_made(ctx)?;
        let git = Git::at(ctx.cache.path("linux.git"));
        // Nobody works on its branch either.
        git.unlock_ref(&format!("refs/heads/{}", branch(path)))?;
        // git locks what it makes until it is done, and would keep it.
        git.attempt(&["worktree".as_ref(), "unlock".as_ref(), path.as_os_str()])?;
        fs::remove_file(&mark).at(&mark)?;
    }
    Ok(lock)
}

/// Removes what git has noted of a worktree before it was killed: with an empty file there, no command works any more.
/// The repository is this tool's own, and nobody else makes worktrees of it while the lock is held.
fn forget_half_made(ctx: &Context) -> Result<()> {
    let all = ctx.cache.path("linux.git/worktrees");
    let Ok(entries) = fs::read_dir(&all) else {
        return Ok(());
    };
    for entry in entries {
        let noted = entry.at(&all)?.path();
        let is_whole = ["gitdir", "commondir", "HEAD"]
            .iter()
            .all(|name| fs::metadata(noted.join(name)).is_ok_and(|file| file.len() > 0));
        if !is_whole {
            fs::remove_dir_all(&noted).at(&noted)?;
        }
    }
    Ok(())
}

/// There as long as a worktree is being made: before that its folder was empty, and nobody was told of it.
fn mark(ctx: &Context, path: &Path) -> Result<PathBuf> {
    let name = short_hash(path.as_os_str().as_encoded_bytes());
    Ok(ctx.cache.dir("worktree-new")?.join(name))
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
    let digest = short_hash(path.as_os_str().as_encoded_bytes());
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

/// Makes a worktree of the base's repository. The caller holds [`lock`].
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
    let mark = mark(ctx, path)?;
    fs::write(&mark, target.as_bytes()).at(&mark)?;
    let mut arguments = vec!["worktree", "add", "--quiet", "--force"];
    arguments.extend(options);
    arguments.extend([target.as_ref(), commit]);
    base.git().run(&arguments)?;
    fs::remove_file(&mark).at(&mark)?;
    step.done();
    Ok(())
}
