// SPDX-License-Identifier: GPL-2.0
//! `refresh`: a worktree's commits back to patches/ and to the mirrored files.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::apply::{absolute, apply, need_idle, not_committed, record, uncommitted};
use crate::base::{self, Base};
use crate::cli::{ApplyArgs, RefreshArgs};
use crate::context::Context;
use crate::error::{At, Error, Outcome, Result};
use crate::fold;
use crate::format;
use crate::git::Git;
use crate::mirror::{self, Added};
use crate::patches::{self, PartFiles};
use crate::progress;
use crate::stack;
use crate::worktree;
use crate::written;

/// What the repository shall hold at a path.
struct Wanted {
    bytes: Vec<u8>,
    executable: bool,
}

pub fn refresh(ctx: &Context, args: &RefreshArgs) -> Result<Outcome> {
    // Two at once would write, delete and rename the same files.
    let _lock = ctx.cache.lock(&format!("refresh-{}", ctx.id()))?;
    let base = base::ensure(ctx)?;
    if !args.fold.is_empty() {
        return folded(ctx, &base, args);
    }
    let path = match &args.dir {
        Some(dir) => absolute(dir)?,
        None => worktree::default_path(ctx),
    };
    if !worktree::is_checkout(&path)? {
        return Err(Error::config(path.display(), "there is no worktree here")
            .mend("cargo series apply")
            .mend("name another one with --dir"));
    }
    let git = Git::at(&path);
    need_idle(&git)?;
    let dirty = uncommitted(&git)?;
    if !dirty.is_empty() {
        return Err(not_committed(&git, &dirty).mend("commit them, then run this again"));
    }
    let head = git.run(&["rev-parse", "HEAD"])?;
    let outcome = write_back(ctx, &git, &base, args)?;
    if !args.verify {
        remember(&base, &git, &path, &head)?;
    }
    Ok(outcome)
}

/// As a refresh of the patches' own commits, with edited mirrored files in them.
fn folded(ctx: &Context, base: &Base, args: &RefreshArgs) -> Result<Outcome> {
    let folded = fold::fold(ctx, &args.fold)?;
    let outcome = write_back(ctx, &folded.git, base, args)?;
    if !args.verify && fold::has_worktree(ctx)? {
        let args = ApplyArgs {
            base: None,
            dir: None,
            onto: None,
            force: false,
        };
        return apply(ctx, &args);
    }
    Ok(outcome)
}

/// Writes HEAD's commits to patches/ and the mirrored files.
fn write_back(ctx: &Context, git: &Git, base: &Base, args: &RefreshArgs) -> Result<Outcome> {
    let new = format::parts(ctx, git, base)?;
    prove(git, base, &new)?;
    let old = patches::read(ctx)?;
    let wanted = wanted(git, base, &new)?;
    let stale = stale(ctx, &wanted, &old)?;
    let mut changed: Vec<&PathBuf> = wanted
        .iter()
        .filter(|(path, wanted)| !wanted.is_at(&ctx.repo.join(path)))
        .map(|(path, _)| path)
        .collect();
    // Patches last: what ends in the middle must not leave mirrored files that no patch knows any more.
    changed.sort_by_key(|path| path.starts_with("patches"));

    if !args.force && !args.verify {
        refuse_edited(ctx, &changed, &old)?;
        refuse_unkept(ctx, changed.iter().copied().chain(&stale))?;
    }
    for path in &changed {
        outln!("{} {}", verb(args, "write"), path.display());
    }
    for path in &stale {
        outln!("{} {}", verb(args, "delete"), path.display());
    }
    if args.verify {
        if changed.is_empty() && stale.is_empty() {
            progress::note("patches and mirrored files are equal to the worktree's commits");
            return Ok(Outcome::Clean);
        }
        return Ok(Outcome::Findings);
    }
    for path in &changed {
        let (wanted, file) = (&wanted[*path], ctx.repo.join(path));
        written::note(ctx, &file, &wanted.bytes)?;
        wanted.write(&file)?;
    }
    for path in &stale {
        delete(&ctx.repo, path)?;
    }
    let count: usize = new.iter().map(|part| part.patches.len()).sum();
    progress::note(format_args!(
        "{count} patches; {} files written, {} deleted",
        changed.len(),
        stale.len()
    ));
    Ok(Outcome::Clean)
}

fn verb(args: &RefreshArgs, verb: &str) -> String {
    if args.verify {
        format!("would {verb}")
    } else {
        verb.to_owned()
    }
}

/// Applies what was formatted: it must lead to the very tree that the worktree has.
fn prove(git: &Git, base: &Base, new: &[PartFiles]) -> Result<()> {
    let tree = stack::tree_of(git, "HEAD")?;
    let cause = match stack::prove(base, new) {
        Ok(made) if made == tree => return Ok(()),
        Ok(_) => "the patches lead to another tree".to_owned(),
        Err(e) => e.summary(),
    };
    Err(Error::finding(
        git.dir().display(),
        format!("its commits do not survive as mails: {cause}"),
    )
    .mend("look for commit messages with a line that starts with \"---\" or \"diff --git\""))
}

/// Everything that patches/ and the kernel paths shall hold.
fn wanted(git: &Git, base: &Base, new: &[PartFiles]) -> Result<BTreeMap<PathBuf, Wanted>> {
    let mut wanted = BTreeMap::new();
    let plain = |bytes: Vec<u8>| Wanted {
        bytes,
        executable: false,
    };
    for part in new {
        if let Some(cover) = &part.cover {
            wanted.insert(part.cover_path(), plain(cover.clone().into_bytes()));
        }
        for patch in &part.patches {
            wanted.insert(patch.path.clone(), plain(patch.bytes.clone()));
        }
    }
    for (path, added) in mirror::between(git, &base.tree, "HEAD")? {
        let blob = git.attempt(&["cat-file", "blob", &added.id])?;
        wanted.insert(
            path,
            Wanted {
                bytes: blob.stdout,
                executable: added.executable,
            },
        );
    }
    Ok(wanted)
}

/// Patches, and mirrored files that old patches added, that nobody wants any more.
fn stale(
    ctx: &Context,
    wanted: &BTreeMap<PathBuf, Wanted>,
    old: &[PartFiles],
) -> Result<Vec<PathBuf>> {
    let mut stale = Vec::new();
    for part in old {
        stale.extend(part.cover.as_ref().map(|_| part.cover_path()));
        stale.extend(part.patches.iter().map(|patch| patch.path.clone()));
    }
    let git = Git::at(&ctx.repo);
    for (path, file) in mirrored(old) {
        // Only what is surely from a patch: anything else is somebody's own.
        if mirror::blob_id(&git, &ctx.repo.join(&path))?.as_ref() == Some(&file.id) {
            stale.push(path);
        }
    }
    stale.retain(|path| !wanted.contains_key(path));
    Ok(stale)
}

/// The files that the patches add. A patch that cannot be read adds nothing: it is about to be replaced.
fn mirrored(parts: &[PartFiles]) -> BTreeMap<PathBuf, Added> {
    let diffs: Vec<_> = parts
        .iter()
        .flat_map(|part| &part.patches)
        .filter_map(|patch| patch.parse().ok())
        .flat_map(|patch| patch.diffs)
        .collect();
    mirror::from_diffs(&diffs)
}

/// Fails if a mirrored file that is about to be written has changes that are in no patch.
fn refuse_edited(ctx: &Context, changed: &[&PathBuf], old: &[PartFiles]) -> Result<()> {
    let git = Git::at(&ctx.repo);
    let known = mirrored(old);
    for path in changed.iter().filter(|path| !path.starts_with("patches")) {
        let there = mirror::blob_id(&git, &ctx.repo.join(path))?;
        if there.is_some() && there.as_ref() != known.get(*path).map(|file| &file.id) {
            return Err(Error::finding(
                path.display(),
                "was edited here, and refresh would overwrite it with the worktree's file",
            )
            .mend(format!(
                "cargo series refresh --fold {}, which keeps the edit",
                path.display()
            ))
            .mend("copy the edit into the worktree, commit it there, then run this again")
            .mend("cargo series refresh --force, which drops the edit"));
        }
    }
    Ok(())
}

/// Fails if a file of patches/ that is about to be replaced or deleted could not be had back: neither `apply` took it
/// into commits, nor did this tool write it, nor does the repository's last commit hold it.
fn refuse_unkept<'a>(ctx: &Context, paths: impl Iterator<Item = &'a PathBuf>) -> Result<()> {
    let git = Git::at(&ctx.repo);
    for path in paths.filter(|path| path.starts_with("patches")) {
        let file = ctx.repo.join(path);
        let Ok(bytes) = fs::read(&file) else {
            continue;
        };
        if written::is_known(ctx, &file, &bytes)? {
            continue;
        }
        let committed = git.resolve(&format!("HEAD:./{}", path.display()))?;
        if committed.is_some() && committed == mirror::blob_id(&git, &file)? {
            continue;
        }
        return Err(Error::finding(
            path.display(),
            "was edited here, and refresh would replace or delete it",
        )
        .mend("commit it to this repository, so that it can be had back, then run this again")
        .mend("cargo series apply, which takes it into the worktree, while nothing new is committed there")
        .mend("cargo series refresh --force, which drops the edit"));
    }
    Ok(())
}

impl Wanted {
    fn is_at(&self, path: &Path) -> bool {
        let Ok(meta) = fs::symlink_metadata(path) else {
            return false;
        };
        let executable = meta.permissions().mode() & 0o100 != 0;
        meta.is_file()
            && executable == self.executable
            && fs::read(path).is_ok_and(|bytes| bytes == self.bytes)
    }

    fn write(&self, path: &Path) -> Result<()> {
        let dir = path.parent().expect("a path inside the repository");
        fs::create_dir_all(dir).at(dir)?;
        let name = path.file_name().expect("a file").to_string_lossy();
        // The same each time: what a run leaves that is killed here is overwritten and renamed by the next.
        let part = path.with_file_name(format!(".{name}.new"));
        let mode = if self.executable { 0o755 } else { 0o644 };
        let written = fs::write(&part, &self.bytes)
            .and_then(|()| fs::set_permissions(&part, fs::Permissions::from_mode(mode)))
            .and_then(|()| fs::rename(&part, path));
        if written.is_err() {
            let _ = fs::remove_file(&part);
        }
        written.at(path)
    }
}

/// Deletes a file, and the folders that it leaves empty.
fn delete(repo: &Path, path: &Path) -> Result<()> {
    let file = repo.join(path);
    fs::remove_file(&file).at(&file)?;
    for dir in path.ancestors().skip(1) {
        if dir.as_os_str().is_empty() || fs::remove_dir(repo.join(dir)).is_err() {
            break;
        }
    }
    Ok(())
}

/// Lets the next `apply` know that this worktree's commits are in patches/.
fn remember(base: &Base, git: &Git, path: &Path, head: &str) -> Result<()> {
    let common = git.run(&["rev-parse", "--path-format=absolute", "--git-common-dir"])?;
    if fs::canonicalize(&common).at(&common)? == base.git {
        git.set_ref(&record(&worktree::branch(path)), head)?;
    }
    Ok(())
}
