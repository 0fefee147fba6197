// SPDX-License-Identifier: GPL-2.0
//! `apply`: the patches as commits in a worktree that a person edits.

use std::fs;
use std::path::{Path, PathBuf};

use crate::base;
use crate::cli::ApplyArgs;
use crate::context::Context;
use crate::error::{At, Error, Kind, Outcome, Result};
use crate::git::Git;
use crate::onto;
use crate::progress;
use crate::stack::{self, Stack};
use crate::worktree;

pub fn apply(ctx: &Context, args: &ApplyArgs) -> Result<Outcome> {
    if let Some(dir) = &args.onto {
        return onto::apply(ctx, dir);
    }
    let on_base;
    let (ctx, folder) = match &args.base {
        Some(name) => {
            // A 3-way merge starts from the blobs of the base that the patches are written for.
            base::ensure(ctx)?;
            on_base = ctx.on_base(name)?;
            (&on_base, worktree::path_on(ctx, name))
        }
        None => (ctx, worktree::default_path(ctx)),
    };
    let stack = stack::ensure(ctx).map_err(|e| match &args.base {
        // The patches are right on their own base. An am that stopped can be gone on with.
        Some(name) if e.kind() == Kind::Finding => e.mend_only(format!(
            "the patches are for another base: cargo series apply --onto a checkout of {name}, and resolve there"
        )),
        _ => e,
    })?;
    let path = match &args.dir {
        Some(dir) => absolute(dir)?,
        None => folder,
    };
    let branch = worktree::branch(&path);
    let _lock = worktree::lock(ctx, &path)?;
    if worktree::is_checkout(&path)? {
        update(&path, &branch, &stack, args.force)?;
    } else {
        let git = stack.base.git();
        if let Some(old) = git.resolve(&format!("refs/heads/{branch}"))? {
            // The folder is gone, its commits need not be.
            keep(&git, &branch, &old)?;
        }
        worktree::add(ctx, &stack.base, &path, &stack.tip, &["-B", &branch])?;
    }
    stack.base.git().set_ref(&record(&branch), &stack.tip)?;
    progress::note(format_args!(
        "{} patches on base {}, branch {branch}; edit, commit, then cargo series refresh",
        stack.commits.len(),
        ctx.config.base().0
    ));
    outln!("{}", path.display());
    Ok(Outcome::Clean)
}

/// The commit that the patches were last equal to, as apply or refresh left it.
pub fn record(branch: &str) -> String {
    format!("refs/series/worktree/{branch}")
}

/// An absolute path, whether it exists or not.
pub fn absolute(dir: &Path) -> Result<PathBuf> {
    if dir.exists() {
        return dir.canonicalize().at(dir);
    }
    std::path::absolute(dir).at(dir)
}

/// Fails if a rebase, am, merge or the like is under way.
pub fn need_idle(git: &Git) -> Result<()> {
    let git_dir = git.run(&["rev-parse", "--absolute-git-dir"])?;
    for (file, what, way_out) in [
        (
            "rebase-merge",
            "a rebase",
            "git rebase --continue, or --abort",
        ),
        (
            "rebase-apply",
            "a git am or rebase",
            "git am --abort, or git rebase --abort",
        ),
        ("MERGE_HEAD", "a merge", "git merge --abort"),
        (
            "CHERRY_PICK_HEAD",
            "a cherry-pick",
            "git cherry-pick --abort",
        ),
    ] {
        if Path::new(&git_dir).join(file).exists() {
            return Err(
                Error::finding(git.dir().display(), format!("{what} is under way there"))
                    .mend(way_out),
            );
        }
    }
    Ok(())
}

/// Tracked files with changes that are not committed.
pub fn uncommitted(git: &Git) -> Result<Vec<String>> {
    let status = git.run(&["status", "--porcelain", "--untracked-files=no"])?;
    Ok(status.lines().map(str::to_owned).collect())
}

fn update(path: &Path, branch: &str, stack: &Stack, force: bool) -> Result<()> {
    let git = Git::at(path);
    let common = git.run(&["rev-parse", "--path-format=absolute", "--git-common-dir"])?;
    if fs::canonicalize(&common).at(&common)? != stack.base.git {
        return Err(Error::config(
            path.display(),
            "is a git tree of yours, not a worktree that this tool made",
        )
        .mend(format!("cargo series apply --onto '{}'", path.display()))
        .mend("choose another folder for --dir"));
    }
    need_idle(&git)?;
    let head = git.run(&["rev-parse", "HEAD"])?;
    let dirty = uncommitted(&git)?;
    if head == stack.tip && dirty.is_empty() {
        return Ok(());
    }
    let recorded = git.resolve(&record(branch))?;
    if !force {
        if !dirty.is_empty() {
            return Err(Error::finding(
                path.display(),
                format!("{} files have changes that are not committed", dirty.len()),
            )
            .detail(dirty.iter().take(10).cloned().collect::<Vec<_>>().join("\n"))
            .mend("commit them, then cargo series refresh")
            .mend("cargo series apply --force, which replaces them and keeps a copy under refs/series/backup/"));
        }
        if recorded.as_deref() != Some(&head) {
            return Err(Error::finding(
                path.display(),
                "has commits that are not in patches/ yet",
            )
            .mend("cargo series refresh")
            .mend("cargo series apply --force, which replaces them and keeps them under refs/series/backup/"));
        }
    }
    if !dirty.is_empty() {
        let copy = git.run(&["stash", "create"])?;
        keep(&git, branch, &copy)?;
        git.run(&["reset", "--quiet", "--hard"])?;
    }
    keep(&git, branch, &head)?;
    git.run(&["checkout", "--quiet", "-B", branch, &stack.tip])?;
    Ok(())
}

/// Keeps a commit from being lost.
fn keep(git: &Git, branch: &str, commit: &str) -> Result<()> {
    let prefix = format!("refs/series/backup/{branch}");
    let kept = git.run(&["for-each-ref", "--format=%(objectname)", &prefix])?;
    if kept.lines().any(|id| id == commit) {
        return Ok(());
    }
    let reference = format!("{prefix}/{}", kept.lines().count() + 1);
    git.set_ref(&reference, commit)?;
    progress::note(format_args!("the old state is kept as {reference}"));
    Ok(())
}
