// SPDX-License-Identifier: GPL-2.0
//! The base kernel: verified, and kept as one commit in the cache's bare repository.

use std::fs;
use std::path::{Path, PathBuf};

use crate::config::{BaseSource, DebianSource, GitSource};
use crate::context::{Context, short_hash};
use crate::error::{At, Error, Result};
use crate::git::Git;
use crate::import;
use crate::package;
use crate::progress;
use crate::toolchain::Toolchain;

/// The base as a commit in the cache's bare repository.
#[derive(Debug, Clone)]
pub struct Base {
    pub git: PathBuf,
    pub commit: String,
    pub tree: String,
}

impl Base {
    pub fn git(&self) -> Git {
        Git::at(&self.git)
    }
}

/// The bare repository that holds bases, stacks and worktrees' commits.
fn repository(ctx: &Context) -> Result<Git> {
    let dir = ctx.cache.path("linux.git");
    if !dir.exists() {
        let root = ctx.cache.root();
        let new = tempfile::tempdir_in(root).at(root)?;
        Git::at(new.path()).run(&["init", "--quiet", "--bare"])?;
        match fs::rename(new.path(), &dir) {
            // Another process was quicker.
            Err(_) if dir.exists() => {}
            renamed => renamed.at(&dir)?,
        }
    }
    Ok(Git::at(dir))
}

/// The base, fetched and imported now if it is missing.
pub fn ensure(ctx: &Context) -> Result<Base> {
    if let Some(base) = existing(ctx)? {
        return Ok(base);
    }
    let _lock = ctx.cache.lock("base")?;
    if let Some(base) = existing(ctx)? {
        return Ok(base);
    }
    let git = repository(ctx)?;
    // Only a fetch that held our lock leaves it.
    let _ = fs::remove_file(git.dir().join("shallow.lock"));
    match ctx.config.base() {
        (name, BaseSource::Debian(source)) => debian(ctx, &git, name, source)?,
        (name, BaseSource::Git(source)) => from_git(ctx, &git, name, source)?,
    }
    existing(ctx)?.ok_or_else(|| {
        Error::environment("base", "was imported and is not there").mend("run this again")
    })
}

/// The base, unless it has to be fetched first. Fails if its contents are not those that series.toml names.
pub fn existing(ctx: &Context) -> Result<Option<Base>> {
    let git = repository(ctx)?;
    let (name, source) = ctx.config.base();
    let Some(reference) = reference(ctx, name, source)? else {
        return Ok(None);
    };
    let Some(commit) = git.resolve(&format!("{reference}^{{commit}}"))? else {
        return Ok(None);
    };
    let tree = git.run(&["rev-parse", &format!("{commit}^{{tree}}")])?;
    let (BaseSource::Debian(DebianSource { tree: pin, .. })
    | BaseSource::Git(GitSource { tree: pin, .. })) = source;
    if let Some(expected) = pin {
        same_tree(name, expected, &tree)?;
    }
    Ok(Some(Base {
        git: git.dir().to_owned(),
        commit,
        tree,
    }))
}

/// The ref's name holds what identifies the source, so that a changed `series.toml` or a branch that moved means another
/// ref. There is none if a git tree is not there to be asked.
fn reference(ctx: &Context, name: &str, source: &BaseSource) -> Result<Option<String>> {
    Ok(match source {
        BaseSource::Debian(source) => Some(package_reference(name, source)),
        BaseSource::Git(source) => match commit(ctx, source)? {
            Some(commit) => Some(git_reference(ctx, name, source, &commit)?),
            None => None,
        },
    })
}

fn package_reference(name: &str, source: &DebianSource) -> String {
    format!("refs/series/base/{name}/{}", source.sha256)
}

/// Where a git tree is: a relative path starts at series.toml.
fn folder(ctx: &Context, source: &GitSource) -> PathBuf {
    ctx.repo.join(&source.git)
}

fn git_reference(ctx: &Context, name: &str, source: &GitSource, commit: &str) -> Result<String> {
    let path = std::path::absolute(folder(ctx, source)).at(&source.git)?;
    let path = short_hash(path.as_os_str().as_encoded_bytes());
    Ok(format!("refs/series/base/{name}/{path}-{commit}"))
}

/// The commit that a git tree is at now; a whole id needs no tree.
fn commit(ctx: &Context, source: &GitSource) -> Result<Option<String>> {
    match source.commit.as_deref() {
        Some(id) if id.len() == 40 && id.bytes().all(|b| b.is_ascii_hexdigit()) => {
            Ok(Some(id.to_owned()))
        }
        wanted => {
            let wanted = wanted.unwrap_or("HEAD");
            Git::at(folder(ctx, source)).resolve(&format!("{wanted}^{{commit}}"))
        }
    }
}

fn debian(ctx: &Context, git: &Git, name: &str, source: &DebianSource) -> Result<()> {
    let toolchain = Toolchain::ensure(ctx)?;
    let deb = package::fetch(ctx, &toolchain, name, source)?;
    let step = progress::step(format_args!(
        "importing {} {} into git",
        source.package, source.version
    ));
    let message = format!("{} {}\n", source.package, source.version);
    let commit = import::tarball(git, &toolchain, &deb, &source.tarball, &message)?;
    let tree = git.run(&["rev-parse", &format!("{commit}^{{tree}}")])?;
    if source.tree.is_none() {
        progress::note(format_args!(
            "base {name} has no tree id in series.toml; write: tree = \"{tree}\""
        ));
    }
    git.set_ref(&package_reference(name, source), &commit)?;
    step.done();
    Ok(())
}

fn from_git(ctx: &Context, git: &Git, name: &str, source: &GitSource) -> Result<()> {
    let wanted = source.commit.as_deref().unwrap_or("HEAD");
    let place = format!("base {name}");
    let path = fs::canonicalize(folder(ctx, source)).map_err(|e| {
        Error::config(&place, format!("{}: {e}", source.git.display()))
            .mend("correct git = in series.toml")
    })?;
    let there = Git::at(&path);
    let no_commit = || {
        Error::config(&place, format!("{} has no commit {wanted}", path.display()))
            .mend("correct commit = in series.toml")
    };
    let id = commit(ctx, source)?.ok_or_else(no_commit)?;
    let commit = there.resolve(&format!("{id}^{{commit}}"))?;
    let commit = commit.ok_or_else(no_commit)?;
    fetch(git, &path, &commit, &git_reference(ctx, name, source, &id)?)
}

fn fetch(git: &Git, from: &Path, commit: &str, reference: &str) -> Result<()> {
    let from = from.to_string_lossy();
    git.unlock_ref(reference)?;
    git.run(&[
        "-c",
        "uploadpack.allowAnySHA1InWant=true",
        "fetch",
        "--quiet",
        "--no-tags",
        "--depth=1",
        &format!("file://{from}"),
        &format!("+{commit}:{reference}"),
    ])?;
    Ok(())
}

fn same_tree(name: &str, expected: &str, found: &str) -> Result<()> {
    if expected == found {
        return Ok(());
    }
    Err(Error::config(
        format!("base {name}"),
        format!("its contents are tree {found}, series.toml expects {expected}"),
    )
    .mend("correct tree = in series.toml, if this is the base that you mean"))
}
