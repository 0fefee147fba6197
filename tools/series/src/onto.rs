// SPDX-License-Identifier: GPL-2.0
//! `apply --onto`: the patches on somebody's own tree, or nothing at all.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

use crate::apply::{absolute, need_idle, not_committed, uncommitted};
use crate::base;
use crate::conflict;
use crate::context::Context;
use crate::error::{At, Error, Outcome, Result};
use crate::git::Git;
use crate::patches::{self, PatchFile};
use crate::progress;
use crate::run;

pub fn apply(ctx: &Context, dir: &Path) -> Result<Outcome> {
    let dir = absolute(dir)?;
    let git = Git::at(&dir);
    if !dir.is_dir() || !git.test(&["rev-parse", "--verify", "--quiet", "HEAD"])? {
        return Err(Error::config(dir.display(), "is no git tree with a commit")
            .mend("name the folder of a git checkout"));
    }
    need_idle(&git)?;
    let dirty = uncommitted(&git)?;
    if !dirty.is_empty() {
        return Err(not_committed(&git, &dirty).mend("commit or stash them, then run this again"));
    }
    let head = git.run(&["rev-parse", "HEAD"])?;
    let files: Vec<PatchFile> = patches::read(ctx)?
        .into_iter()
        .flat_map(|part| part.patches)
        .collect();
    if files.is_empty() {
        progress::note("there are no patches");
        return Ok(Outcome::Clean);
    }
    give_preimages(ctx, &git, &files)?;

    let step = progress::step(format_args!(
        "applying {} patches to {}",
        files.len(),
        dir.display()
    ));
    let mut am = own_git(&dir);
    am.args(["am", "--3way", "--quiet"]);
    am.args(files.iter().map(|file| ctx.repo.join(&file.path)));
    let output = run::capture(&mut am)?;
    if output.status.success() {
        step.done();
        let commits = git.run(&["rev-list", "--count", &format!("{head}..HEAD")])?;
        outln!("{commits} commits on {}", &head[..12]);
        return Ok(Outcome::Clean);
    }
    // What keeps it from being explained must not keep the tree either.
    let (Ok(error) | Err(error)) = explain(ctx, &git, &files, &output);
    drop(step);
    let abort = own_git(&dir).args(["am", "--abort"]).output();
    let back = git.run(&["rev-parse", "HEAD"])? == head && uncommitted(&git)?.is_empty();
    Err(if abort.is_ok() && back {
        error.detail(format!("{} is as it was", dir.display()))
    } else {
        error.mend(format!("git -C '{}' reset --hard {head}", dir.display()))
    })
}

/// git as its owner configured it: the commits are his.
fn own_git(dir: &Path) -> Command {
    let mut command = Command::new("git");
    command
        .arg("-C")
        .arg(dir)
        .env("LC_ALL", "C")
        .env_remove("GIT_DIR")
        .env_remove("GIT_WORK_TREE")
        .env_remove("GIT_INDEX_FILE");
    command
}

/// Puts the blobs that the patches start from into the tree's repository, where a 3-way merge looks for them.
/// As loose objects without a name they are collected as garbage later.
fn give_preimages(ctx: &Context, git: &Git, files: &[PatchFile]) -> Result<()> {
    // Without the base a 3-way merge is tried with what the tree has.
    let Some(base) = base::existing(ctx)? else {
        return Ok(());
    };
    let mut wanted = BTreeSet::new();
    for file in files {
        for diff in file.parse()?.diffs {
            wanted.insert(diff.old_id);
        }
    }
    for id in wanted {
        let blob = base.git().attempt(&["cat-file", "blob", &id])?;
        if blob.status.success() && !git.test(&["cat-file", "-e", &id])? {
            git.attempt_with_input(&["hash-object", "-w", "--stdin"], &blob.stdout)?;
        }
    }
    Ok(())
}

/// Names the patch, the files and what stands there instead.
fn explain(
    ctx: &Context,
    git: &Git,
    files: &[PatchFile],
    output: &std::process::Output,
) -> Result<Error> {
    let next = git.run(&["rev-parse", "--git-path", "rebase-apply/next"])?;
    let next = std::fs::read_to_string(git.dir().join(next)).unwrap_or_default();
    let number: usize = next.trim().parse().unwrap_or(0);
    let file = files.get(number.wrapping_sub(1));
    let place = match file {
        Some(file) => file.path.display().to_string(),
        None => "git am".to_owned(),
    };
    let said = String::from_utf8_lossy(&output.stderr);
    if said.contains("Please tell me who you are") || said.contains("empty ident") {
        return Ok(Error::config(git.dir().display(), "git does not know your name")
            .mend("git config --global user.name 'Your Name'; git config --global user.email you@example.org"));
    }
    let diff = git.run(&["diff", "--no-color", "--no-ext-diff"])?;
    let unmerged = git.run(&["diff", "--name-only", "--diff-filter=U"])?;
    let mut error = Error::finding(
        place,
        format!("patch {number} of {} conflicts with this tree", files.len()),
    );
    if unmerged.is_empty() {
        let lines: Vec<&str> = said.lines().filter(|l| l.starts_with("error:")).collect();
        error = error.detail(lines.join("\n"));
        if let Some(file) = file {
            error = error.detail(unmergeable(git, &ctx.repo.join(&file.path))?);
        }
    } else {
        error = error.detail(format!("in: {}", unmerged.replace('\n', ", ")));
        error = error.detail(conflict::cut_files(&diff));
    }
    Ok(error.mend(format!(
        "apply by hand and resolve: git -C '{}' am --3way <this repository>/patches/*/*.patch",
        git.dir().display()
    )))
}

/// What stands where a patch does not apply that could not be merged either: git has not said so in that case.
fn unmergeable(git: &Git, patch: &Path) -> Result<String> {
    let options = ["apply", "--check", "--whitespace=nowarn"].map(OsStr::new);
    let tried = git.attempt(&[&options[..], &[patch.as_os_str()]].concat())?;
    let scratch = tempfile::tempdir().at("temporary folder")?;
    conflict::explain(git, scratch.path(), &String::from_utf8_lossy(&tried.stderr))
}
