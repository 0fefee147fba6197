// SPDX-License-Identifier: GPL-2.0
//! Commits as patch files whose bytes depend on the commits alone: not on git's version, not on anybody's configuration.

use std::fs;
use std::path::Path;

use crate::base::Base;
use crate::context::Context;
use crate::error::{At, Error, Result};
use crate::git::Git;
use crate::patches::{PartFiles, PatchFile};
use crate::stack::COVER_PREFIX;

/// More commits than any stack has: where the search for the base ends.
const DEPTH: &str = "2000";

const SETTINGS: [&str; 9] = [
    "diff.noprefix=false",
    "diff.mnemonicPrefix=false",
    "diff.suppressBlankEmpty=false",
    "diff.indentHeuristic=true",
    "diff.orderFile=/dev/null",
    "diff.submodule=short",
    "format.headers=",
    "format.signOff=false",
    "format.mboxrd=false",
];

const OPTIONS: [&str; 27] = [
    "--full-index",
    "--no-signature",
    "--zero-commit",
    "--no-numbered",
    "--no-cover-letter",
    "--no-thread",
    "--no-attach",
    "--no-notes",
    "--no-base",
    "--no-to",
    "--no-cc",
    "--no-add-header",
    "--no-from",
    "--no-renames",
    "--no-ext-diff",
    "--no-textconv",
    "--no-color",
    "--encode-email-headers",
    "--subject-prefix=PATCH",
    "--diff-algorithm=myers",
    "--unified=3",
    "--inter-hunk-context=0",
    "--stat=72",
    "--summary",
    "--patch",
    "--binary",
    "--suffix=.patch",
];

/// A commit above the base.
struct Commit {
    id: String,
    tree: String,
    parents: usize,
    subject: String,
}

/// The worktree's commits as the files of patches/, one entry per part of `series.toml` that has commits.
pub fn parts(ctx: &Context, git: &Git, base: &Base) -> Result<Vec<PartFiles>> {
    let commits = above_base(git, base)?;
    let mut parts: Vec<PartFiles> = Vec::new();
    let mut starts: Vec<(usize, usize)> = Vec::new();
    for (i, commit) in commits.iter().enumerate() {
        let place = format!("{} {}", &commit.id[..12], commit.subject);
        if commit.parents != 1 {
            return Err(Error::finding(place, "is a merge").mend("git rebase to a straight line"));
        }
        if let Some(dir) = commit.subject.strip_prefix(COVER_PREFIX) {
            let known = ctx.config.parts.iter().map(|part| part.dir.as_str());
            let position = |dir: &str| known.clone().position(|known| known == dir);
            let Some(now) = position(dir) else {
                return Err(Error::config(place, "series.toml names no such part")
                    .mend(format!("add a part with dir = \"{dir}\" to series.toml")));
            };
            let before = parts.last().and_then(|part| position(&part.dir));
            if before.is_some_and(|before| before >= now) {
                return Err(
                    Error::finding(place, "parts are not in series.toml's order")
                        .mend("git rebase -i, and put each part after its predecessor"),
                );
            }
            parts.push(PartFiles {
                dir: dir.to_owned(),
                cover: cover(git, &commit.id)?,
                patches: Vec::new(),
            });
            starts.push((i, i));
        } else if let Some(last) = starts.last_mut() {
            last.1 = i;
        } else {
            return Err(
                Error::finding(place, "stands before the first part's cover commit")
                    .mend("git rebase -i, and move it below a commit \"cover: <part>\"")
                    .mend("git commit --allow-empty -m 'cover: <part>', and move that up"),
            );
        }
        let parent_tree = if i == 0 {
            &base.tree
        } else {
            &commits[i - 1].tree
        };
        let is_cover = commit.subject.starts_with(COVER_PREFIX);
        if is_cover != (*parent_tree == commit.tree) {
            let place = format!("{} {}", &commit.id[..12], commit.subject);
            let cause = if is_cover {
                "is a cover commit and changes files"
            } else {
                "changes nothing"
            };
            return Err(Error::finding(place, cause).mend("git rebase -i"));
        }
    }
    for (part, (first, last)) in parts.iter_mut().zip(starts) {
        part.patches = patches(git, &part.dir, &commits[first].id, &commits[last].id)?;
    }
    Ok(parts)
}

/// The commits above the nearest one that has the base's tree, oldest first.
///
/// Found by the tree, so that a worktree of another repository with the same base will do.
fn above_base(git: &Git, base: &Base) -> Result<Vec<Commit>> {
    let log = git.run(&[
        "log",
        "--first-parent",
        "--format=%H%x00%T%x00%P%x00%s",
        "-n",
        DEPTH,
        "HEAD",
    ])?;
    let mut commits = Vec::new();
    for line in log.lines() {
        let fields: Vec<&str> = line.splitn(4, '\0').collect();
        let commit = Commit {
            id: fields[0].to_owned(),
            tree: fields[1].to_owned(),
            parents: fields[2].split_whitespace().count(),
            subject: fields[3].to_owned(),
        };
        if commit.tree == base.tree && !commit.subject.starts_with(COVER_PREFIX) {
            commits.reverse();
            return Ok(commits);
        }
        commits.push(commit);
    }
    Err(Error::finding(
        git.dir().display(),
        "its history does not contain the base of series.toml",
    )
    .mend("cargo series apply, which makes a worktree on the base"))
}

/// The cover letter: the message of a cover commit without its subject.
fn cover(git: &Git, commit: &str) -> Result<Option<String>> {
    let object = git.run(&["cat-file", "commit", commit])?;
    let message = object.split_once("\n\n").map_or("", |(_, message)| message);
    let body = message.split_once('\n').map_or("", |(_, body)| body);
    let body = body.strip_prefix('\n').unwrap_or(body);
    Ok((!body.trim().is_empty()).then(|| format!("{body}\n")))
}

fn patches(git: &Git, part: &str, from: &str, to: &str) -> Result<Vec<PatchFile>> {
    let out = tempfile::tempdir().at("temporary folder")?;
    let mut arguments: Vec<&str> = Vec::new();
    for setting in SETTINGS {
        arguments.extend(["-c", setting]);
    }
    arguments.push("format-patch");
    arguments.extend(OPTIONS);
    let folder = out.path().to_string_lossy();
    let range = format!("{from}..{to}");
    arguments.extend(["--output-directory", &folder, &range]);
    git.run(&arguments)?;

    let mut names = Vec::new();
    for entry in fs::read_dir(out.path()).at(out.path())? {
        names.push(entry.at(out.path())?.file_name());
    }
    names.sort();
    names
        .into_iter()
        .map(|name| {
            let file = out.path().join(&name);
            Ok(PatchFile {
                path: Path::new("patches").join(part).join(&name),
                bytes: fs::read(&file).at(&file)?,
            })
        })
        .collect()
}
