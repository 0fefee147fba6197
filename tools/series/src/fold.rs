// SPDX-License-Identifier: GPL-2.0
//! `refresh --fold`: an edited mirrored file goes into the patch that adds it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::apply::{record, uncommitted};
use crate::base::Base;
use crate::context::Context;
use crate::error::{At, Error, Result};
use crate::git::{DATE, Git};
use crate::patches::{self, Change};
use crate::stack;
use crate::worktree;

/// A checkout without files whose HEAD is the stack with the edits in it.
pub struct Folded {
    pub git: Git,
    base: Base,
    dir: TempDir,
}

impl Drop for Folded {
    fn drop(&mut self) {
        let path = self.dir.path().join("tree");
        // What is left of it, the next `git worktree prune` removes.
        let _ = self
            .base
            .git()
            .run(&["worktree", "remove", "--force", &path.to_string_lossy()]);
    }
}

/// The stack of patches/ with these files as they are in the repository now.
pub fn fold(ctx: &Context, paths: &[PathBuf]) -> Result<Folded> {
    need_equal_worktree(ctx)?;
    let stack = stack::ensure(ctx)?;
    let mut tip = stack.tip.clone();
    for path in paths {
        let path = in_repository(ctx, path)?;
        need_one_patch(ctx, &path)?;
        tip = replace(ctx, &stack.base, &tip, &path)?;
    }
    let dir = tempfile::tempdir().at("temporary folder")?;
    let tree = dir.path().join("tree");
    stack.base.git().run(&[
        "worktree",
        "add",
        "--quiet",
        "--no-checkout",
        "--detach",
        &tree.to_string_lossy(),
        &tip,
    ])?;
    let git = Git::at(&tree);
    check_out_attributes(&git)?;
    Ok(Folded {
        git,
        base: stack.base,
        dir,
    })
}

/// Hunk headers depend on .gitattributes, which git looks for among the files.
fn check_out_attributes(git: &Git) -> Result<()> {
    let all = git.run(&["ls-tree", "-r", "-z", "--name-only", "HEAD"])?;
    let is_one = |name: &&str| Path::new(name).ends_with(".gitattributes");
    let names: Vec<&str> = all.split('\0').filter(is_one).collect();
    if !names.is_empty() {
        git.run(&[&["checkout", "HEAD", "--"], names.as_slice()].concat())?;
    }
    Ok(())
}

/// Whether apply's worktree is there: it then has to follow the patches.
pub fn has_worktree(ctx: &Context) -> Result<bool> {
    worktree::is_checkout(&worktree::default_path(ctx))
}

/// Commits in the worktree that are not in patches/ would undo the fold when they are refreshed.
fn need_equal_worktree(ctx: &Context) -> Result<()> {
    let path = worktree::default_path(ctx);
    if !has_worktree(ctx)? {
        return Ok(());
    }
    let git = Git::at(&path);
    let recorded = git.resolve(&record(&worktree::branch(&path)))?;
    if git.resolve("HEAD")? == recorded && uncommitted(&git)?.is_empty() {
        return Ok(());
    }
    Err(
        Error::finding(path.display(), "has work that is not in patches/ yet")
            .mend("commit it there, then cargo series refresh, then run this again"),
    )
}

/// The path that a file has in the repository.
fn in_repository(ctx: &Context, path: &Path) -> Result<PathBuf> {
    let missing = |e| Error::config(path.display(), e).mend("name a mirrored file that is there");
    let absolute = match ctx.repo.join(path).canonicalize() {
        Ok(absolute) => absolute,
        Err(_) => path.canonicalize().map_err(missing)?,
    };
    absolute
        .strip_prefix(&ctx.repo)
        .map(Path::to_owned)
        .map_err(|_| {
            Error::config(path.display(), "lies outside of the repository")
                .mend("name a mirrored file that is there")
        })
}

/// Fails unless one patch adds the file and no other one changes it.
fn need_one_patch(ctx: &Context, path: &Path) -> Result<()> {
    let mut added = false;
    for file in patches::read(ctx)?.iter().flat_map(|part| &part.patches) {
        for diff in file.parse()?.diffs {
            if Path::new(&diff.path) != path {
                continue;
            }
            if diff.kind != Change::Add || added {
                return Err(Error::finding(
                    file.path.display(),
                    format!("changes {}, which is not one patch's alone", path.display()),
                )
                .mend("cargo series apply, and edit the file in the worktree"));
            }
            added = true;
        }
    }
    if added {
        return Ok(());
    }
    Err(Error::config(path.display(), "no patch adds it")
        .mend("cargo series apply, and add it to a commit in the worktree"))
}

/// The commits up to `tip` again, with the file's new text from the commit on that adds it. Returns the new tip.
fn replace(ctx: &Context, base: &Base, tip: &str, path: &Path) -> Result<String> {
    let file = ctx.repo.join(path);
    let executable = fs::metadata(&file).at(&file)?.permissions().mode() & 0o100 != 0;
    let mode = if executable { "100755" } else { "100644" };
    let git = base.git();
    let blob = git.run(&["hash-object", "-w", "--no-filters", &file.to_string_lossy()])?;
    let scratch = tempfile::tempdir().at("temporary folder")?;
    let index = git.with(
        "GIT_INDEX_FILE",
        scratch.path().join("index").to_string_lossy(),
    );
    let entry = format!("{mode},{blob},{}", path.display());

    let there =
        |commit: &str| git.test(&["cat-file", "-e", &format!("{commit}:{}", path.display())]);
    let range = format!("{}..{tip}", base.commit);
    let mut parent = base.commit.clone();
    for commit in git.run(&["rev-list", "--reverse", &range])?.lines() {
        if !there(commit)? {
            commit.clone_into(&mut parent);
            continue;
        }
        index.run(&["read-tree", commit])?;
        index.run(&["update-index", "--add", "--cacheinfo", &entry])?;
        let tree = index.run(&["write-tree"])?;
        parent = again(&git, commit, &tree, &parent)?;
    }
    Ok(parent)
}

/// A commit's message and author over another tree and parent.
fn again(git: &Git, commit: &str, tree: &str, parent: &str) -> Result<String> {
    let object = git.run(&["cat-file", "commit", commit])?;
    let message = object.split_once("\n\n").map_or("", |(_, message)| message);
    let author = git.run(&[
        "log",
        "-1",
        "--date=raw",
        "--format=%an%x00%ae%x00%ad",
        commit,
    ])?;
    let author: Vec<&str> = author.split('\0').collect();
    git.with("GIT_AUTHOR_NAME", author[0])
        .with("GIT_AUTHOR_EMAIL", author[1])
        .with("GIT_AUTHOR_DATE", author[2])
        .with("GIT_COMMITTER_DATE", DATE)
        .run_with_input(
            &["commit-tree", tree, "-p", parent],
            format!("{message}\n").as_bytes(),
        )
}
