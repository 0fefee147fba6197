// SPDX-License-Identifier: GPL-2.0
//! `apply`: the patches as commits in a worktree that a person edits.

use std::fs;
use std::path::{Path, PathBuf};

use crate::base::{self, Base};
use crate::cli::ApplyArgs;
use crate::context::Context;
use crate::error::{At, Error, Kind, Outcome, Result};
use crate::format;
use crate::git::Git;
use crate::onto;
use crate::progress;
use crate::run;
use crate::stack::{self, Stack};
use crate::worktree;
use crate::written;

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
    if args.base.is_none() {
        note_commits(ctx, &Git::at(&path), &stack.base)?;
    }
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

/// Lets `refresh` replace the files of patches/ that say what the worktree's commits hold, and no more than that.
fn note_commits(ctx: &Context, git: &Git, base: &Base) -> Result<()> {
    for part in format::parts(ctx, git, base)? {
        if let Some(cover) = &part.cover {
            written::note(ctx, &ctx.repo.join(part.cover_path()), cover.as_bytes())?;
        }
        for patch in &part.patches {
            written::note(ctx, &ctx.repo.join(&patch.path), &patch.bytes)?;
        }
    }
    Ok(())
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

/// What to say of them, but for the way out.
pub fn not_committed(git: &Git, dirty: &[String]) -> Error {
    Error::finding(
        git.dir().display(),
        format!("{} files have changes that are not committed", dirty.len()),
    )
    .detail(dirty[..dirty.len().min(10)].join("\n"))
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
            return Err(not_committed(&git, &dirty)
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
    // HEAD may be on another branch, and this one hold work too.
    if let Some(old) = git.resolve(&format!("refs/heads/{branch}"))? {
        keep(&git, branch, &old)?;
    }
    check_out(&git, branch, &stack.tip)
}

/// Moves the branch and the worktree to a commit, over no file that git does not know.
fn check_out(git: &Git, branch: &str, commit: &str) -> Result<()> {
    let options = ["checkout", "--quiet", "--no-overwrite-ignore", "-B"];
    let mut command = git.command(&[&options[..], &[branch, commit]].concat());
    let output = run::capture(&mut command)?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if said.contains("would be overwritten") {
        return Err(Error::finding(
            git.dir().display(),
            "has files of yours where the patches add some",
        )
        .detail(said.trim_end())
        .mend("move them away, then run this again"));
    }
    run::succeed(&command, output)?;
    Ok(())
}

/// Keeps a commit from being lost.
fn keep(git: &Git, branch: &str, commit: &str) -> Result<()> {
    let prefix = format!("refs/series/backup/{branch}");
    let format = "--format=%(objectname) %(refname:lstrip=-1)";
    let kept = git.run(&["for-each-ref", format, &prefix])?;
    let kept: Vec<(&str, &str)> = kept.lines().filter_map(|l| l.split_once(' ')).collect();
    if kept.iter().any(|(id, _)| *id == commit) {
        return Ok(());
    }
    // Some may have been deleted by hand: their number is not how many there are.
    let numbers = kept.iter().filter_map(|(_, n)| n.parse::<u32>().ok());
    let reference = format!("{prefix}/{}", numbers.max().unwrap_or(0) + 1);
    git.set_ref(&reference, commit)?;
    progress::note(format_args!("the old state is kept as {reference}"));
    Ok(())
}
