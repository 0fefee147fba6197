// SPDX-License-Identifier: GPL-2.0
//! The patches as commits on the base, made with git's plumbing: no worktree is needed or touched.
//!
//! Each part starts with an empty commit that holds its cover letter, so that parts survive a rebase.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::base::{self, Base};
use crate::conflict;
use crate::context::{Context, hex};
use crate::error::{At, Error, Result};
use crate::git::{DATE, Git};
use crate::patches::{self, PartFiles, PatchFile};
use crate::progress;

/// Starts the subject of a part's first, empty commit; the part's folder follows.
pub const COVER_PREFIX: &str = "cover: ";

/// One patch, as a commit on top of those before it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PatchCommit {
    /// The part's folder under patches/.
    pub part: String,
    /// The patch file, relative to the repository.
    pub file: String,
    pub subject: String,
    /// The commit.
    pub id: String,
    /// The commit's tree: what is built of it depends on this alone.
    pub tree: String,
}

/// All patches on the base. Always what patches/ holds, never what somebody's worktree holds.
#[derive(Debug, Clone)]
pub struct Stack {
    pub base: Base,
    /// In order, through all parts; cover commits are left out.
    pub commits: Vec<PatchCommit>,
    /// The last commit; the base if there is no patch.
    pub tip: String,
    pub tip_tree: String,
}

/// What is kept of a stack between runs.
#[derive(Serialize, Deserialize)]
struct Kept {
    commits: Vec<PatchCommit>,
    tip: String,
}

/// The patches as commits, made now if patches/ changed.
pub fn ensure(ctx: &Context) -> Result<Stack> {
    let base = base::ensure(ctx)?;
    let parts = patches::read(ctx)?;
    let key = fingerprint(&base, &parts);
    let file = ctx.cache.dir("stack")?.join(format!("{key}.json"));
    let reference = format!("refs/series/stack/{key}");
    let kept = match kept(&base, &file, &reference) {
        Some(kept) => kept,
        None => {
            let _lock = ctx.cache.lock("stack")?;
            let made = make(&base, &parts)?;
            base.git().set_ref(&reference, &made.tip)?;
            let text = serde_json::to_string(&made).expect("plain data");
            fs::write(&file, text).at(&file)?;
            made
        }
    };
    let tip_tree = tree_of(&base.git(), &kept.tip)?;
    Ok(Stack {
        base,
        commits: kept.commits,
        tip: kept.tip,
        tip_tree,
    })
}

fn kept(base: &Base, file: &Path, reference: &str) -> Option<Kept> {
    let kept: Kept = serde_json::from_slice(&fs::read(file).ok()?).ok()?;
    let there = base.git().resolve(reference).ok()??;
    (there == kept.tip).then_some(kept)
}

/// Changes with anything that the commits depend on.
fn fingerprint(base: &Base, parts: &[PartFiles]) -> String {
    let mut hash = Sha256::new();
    let mut add = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    add(base.commit.as_bytes());
    for part in parts {
        add(part.dir.as_bytes());
        add(part.cover.as_deref().unwrap_or("").as_bytes());
        for patch in &part.patches {
            add(patch.path.as_os_str().as_encoded_bytes());
            add(&patch.bytes);
        }
    }
    hex(&hash.finalize())[..16].to_owned()
}

pub fn tree_of(git: &Git, commit: &str) -> Result<String> {
    git.run(&["rev-parse", &format!("{commit}^{{tree}}")])
}

/// The tree that these patches lead to.
pub fn prove(base: &Base, parts: &[PartFiles]) -> Result<String> {
    tree_of(&base.git(), &tip_of(base, parts)?)
}

/// The last commit of these patches on the base.
pub fn tip_of(base: &Base, parts: &[PartFiles]) -> Result<String> {
    Ok(make(base, parts)?.tip)
}

/// These patches on the base, as commits.
pub fn commits_of(base: &Base, parts: &[PartFiles]) -> Result<Vec<PatchCommit>> {
    Ok(make(base, parts)?.commits)
}

fn make(base: &Base, parts: &[PartFiles]) -> Result<Kept> {
    let count: usize = parts.iter().map(|part| part.patches.len()).sum();
    let step = progress::step_of("applying", format_args!("applying {count} patches"));
    let scratch = tempfile::tempdir().at("temporary folder")?;
    let git = indexed(base, scratch.path());
    git.run(&["read-tree", &base.commit])?;

    let mut commits = Vec::new();
    let mut tip = base.commit.clone();
    let mut tree = base.tree.clone();
    for part in parts {
        if part.patches.is_empty() && part.cover.is_none() {
            continue;
        }
        let message = format!(
            "{COVER_PREFIX}{}\n\n{}",
            part.dir,
            part.cover.as_deref().unwrap_or("")
        );
        tip = git.run_with_input(&["commit-tree", &tree, "-p", &tip], message.as_bytes())?;
        for patch in &part.patches {
            step.say(patch.path.display());
            let mail = Mail::read(&git, scratch.path(), patch)?;
            apply(&git, scratch.path(), patch)?;
            let after = git.run(&["write-tree"])?;
            if after == tree {
                return Err(Error::finding(
                    patch.path.display(),
                    "changes nothing: what it does is there already",
                )
                .mend("remove the patch")
                .mend("cargo series drift, which says so of every patch on other bases"));
            }
            tree = after;
            tip = git
                .with("GIT_AUTHOR_NAME", &mail.name)
                .with("GIT_AUTHOR_EMAIL", &mail.email)
                .with("GIT_AUTHOR_DATE", &mail.date)
                .with("GIT_COMMITTER_DATE", DATE)
                .run_with_input(&["commit-tree", &tree, "-p", &tip], mail.message.as_bytes())?;
            commits.push(PatchCommit {
                part: part.dir.clone(),
                file: patch.path.to_string_lossy().into_owned(),
                subject: mail.subject,
                id: tip.clone(),
                tree: tree.clone(),
            });
        }
    }
    step.done();
    Ok(Kept { commits, tip })
}

/// A patch's mail, as `git am` reads it.
struct Mail {
    name: String,
    email: String,
    date: String,
    subject: String,
    message: String,
}

impl Mail {
    fn read(git: &Git, scratch: &Path, patch: &PatchFile) -> Result<Self> {
        let message = scratch.join("message");
        let diff = scratch.join("diff");
        let info = git.run_with_input(
            &[
                "mailinfo".as_ref(),
                "--encoding=UTF-8".as_ref(),
                message.as_os_str(),
                diff.as_os_str(),
            ],
            &patch.bytes,
        )?;
        let field = |name: &str| {
            info.lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
                .map(str::to_owned)
                .ok_or_else(|| {
                    Error::finding(
                        patch.path.display(),
                        format!("the mail has no {}", name.to_lowercase()),
                    )
                    .mend("write the patch with cargo series refresh")
                })
        };
        let subject = field("Subject")?;
        let body = fs::read(&message).at(&message)?;
        let text = format!("{subject}\n\n{}", String::from_utf8_lossy(&body));
        let mut text = git.run_with_input(&["stripspace"], text.as_bytes())?;
        text.push('\n');
        Ok(Mail {
            name: field("Author")?,
            email: field("Email")?,
            date: field("Date")?,
            subject,
            message: text,
        })
    }
}

/// How a patch applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Applied {
    Clean,
    /// By merging what changed around it.
    Merged,
    /// What it changes is there already.
    There,
    /// Not at all; what git said of it, and what stands there.
    Conflict(String),
}

/// Applies the diff that `Mail::read` left, to the index. After a conflict the index is no tree.
fn attempt(git: &Git, scratch: &Path) -> Result<Applied> {
    let diff = scratch.join("diff");
    let attempt = |options: &[&str]| {
        let mut arguments = vec!["apply".as_ref(), "--cached".as_ref()];
        arguments.extend(options.iter().map(std::ffi::OsStr::new));
        arguments.push(diff.as_os_str());
        git.attempt(&arguments)
    };
    let plain = attempt(&["--whitespace=nowarn"])?;
    if plain.status.success() {
        return Ok(Applied::Clean);
    }
    // On another base the context may have moved: try to merge what changed there.
    if attempt(&["--3way", "--whitespace=nowarn"])?
        .status
        .success()
    {
        return Ok(Applied::Merged);
    }
    let said = String::from_utf8_lossy(&plain.stderr);
    conflict::explain(git, scratch, &said).map(Applied::Conflict)
}

fn apply(git: &Git, scratch: &Path, patch: &PatchFile) -> Result<()> {
    match attempt(git, scratch)? {
        Applied::Clean | Applied::There => Ok(()),
        Applied::Merged => {
            progress::note(format_args!(
                "{}: applied by a 3-way merge only",
                patch.path.display()
            ));
            Ok(())
        }
        Applied::Conflict(said) => Err(Error::finding(
            patch.path.display(),
            "does not apply to the base and the patches before it",
        )
        .detail(said)
        .mend("correct the patch, or base = in series.toml")),
    }
}

/// How each patch applies to a base, behind those before it that did.
pub fn each(base: &Base, parts: &[PartFiles]) -> Result<Vec<Applied>> {
    let scratch = tempfile::tempdir().at("temporary folder")?;
    let git = indexed(base, scratch.path());
    git.run(&["read-tree", &base.commit])?;
    let mut tree = base.tree.clone();
    let mut all = Vec::new();
    for patch in parts.iter().flat_map(|part| &part.patches) {
        Mail::read(&git, scratch.path(), patch)?;
        let mut applied = attempt(&git, scratch.path())?;
        if let Applied::Conflict(_) = applied {
            // Both sides stand in the index.
            let index = scratch.path().join("index");
            fs::remove_file(&index).at(&index)?;
            git.run(&["read-tree", &tree])?;
        } else {
            let after = git.run(&["write-tree"])?;
            if after == tree {
                applied = Applied::There;
            }
            tree = after;
        }
        all.push(applied);
    }
    Ok(all)
}

/// The base's repository with an index of its own.
fn indexed(base: &Base, scratch: &Path) -> Git {
    base.git()
        .with("GIT_INDEX_FILE", scratch.join("index").to_string_lossy())
        // apply --cached looks at no worktree; a bare repository has none.
        .with("GIT_DIR", base.git.to_string_lossy())
}
