// SPDX-License-Identifier: GPL-2.0
//! Patches name the blobs that they start from and lead to: those of one patch, of the next, of the mirrored files and
//! of the tree must be the same.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt;

use super::{Named, Subject};
use crate::base::{self, Base};
use crate::error::{At, Kind, Result};
use crate::git::Git;
use crate::patches::{Change, PartFiles, PatchFile};
use crate::stack::PatchCommit;
use crate::{mirror, patches, stack};

/// What can be said of index lines without a kernel.
pub fn index_lines(subject: &Subject) -> Result<Vec<String>> {
    let mut findings = chain(&subject.patches);
    findings.extend(added(&Git::at(&subject.ctx.repo), &subject.patches)?);
    Ok(findings)
}

/// Patches carry whole blob ids, so that what they start from and lead to is known for certain. Mails of others need not.
pub fn whole_ids(all: &[Named]) -> Vec<String> {
    let mut findings = Vec::new();
    for named in all {
        let short = named.patch.diffs.iter().filter(|d| d.new_id.len() < 40);
        findings.extend(
            short.map(|diff| format!("{}: {}: no whole blob id", named.path.display(), diff.path)),
        );
    }
    findings
}

/// Each patch must start from the blobs that the one before it left, and a new file has one patch.
fn chain(all: &[Named]) -> Vec<String> {
    let mut findings = Vec::new();
    let mut blobs: BTreeMap<&str, &str> = BTreeMap::new();
    let mut added: BTreeSet<&str> = BTreeSet::new();
    for named in all {
        for diff in &named.patch.diffs {
            let place = named.path.display();
            match blobs.get(diff.path.as_str()) {
                Some(&before) if !same_blob(before, &diff.old_id) => findings.push(format!(
                    "{place}: {} starts from {}, the patch before it leaves {before}",
                    diff.path, diff.old_id
                )),
                _ => {}
            }
            if diff.kind == Change::Add {
                added.insert(&diff.path);
            } else if added.contains(diff.path.as_str()) {
                findings.push(format!(
                    "{place}: changes {}, which an earlier patch adds",
                    diff.path
                ));
            }
            blobs.insert(&diff.path, &diff.new_id);
        }
    }
    findings
}

/// The lines of a file that is added are all of it, so they have the blob id of its index line.
fn added(git: &Git, all: &[Named]) -> Result<Vec<String>> {
    let mut findings = Vec::new();
    for named in all {
        for diff in &named.patch.diffs {
            let Some(text) = &diff.text else { continue };
            let id = git.run_with_input(&["hash-object", "--stdin"], text.as_bytes())?;
            if !same_blob(&diff.new_id, &id) {
                findings.push(format!(
                    "{}: {}: its lines are blob {id}, its index line says {}",
                    named.path.display(),
                    diff.path,
                    diff.new_id
                ));
            }
        }
    }
    Ok(findings)
}

/// Whether two ids can be of the same blob: one that is cut short is said elsewhere.
fn same_blob(a: &str, b: &str) -> bool {
    a.starts_with(b) || b.starts_with(a)
}

/// The files at kernel paths must be what the patches add, no more and no less.
pub fn mirrored(subject: &Subject) -> Result<Vec<String>> {
    let ctx = subject.ctx;
    let mut findings = Vec::new();
    let diffs = subject.patches.iter().flat_map(|named| &named.patch.diffs);
    let added = mirror::from_diffs(diffs);
    let git = Git::at(&ctx.repo);
    for (path, file) in &added {
        let here = ctx.repo.join(path);
        let mut find = |what: &str| findings.push(format!("{}: {what}", path.display()));
        let Some(id) = mirror::blob_id(&git, &here)? else {
            find("the patches add it, and it is not here");
            continue;
        };
        if !same_blob(&file.id, &id) {
            find("is not what the patches add");
        }
        let mode = here.metadata().at(&here)?.permissions().mode();
        match (file.executable, mode & 0o100 != 0) {
            (true, false) => find("is a program in the patches, and not executable here"),
            (false, true) => find("is executable here, and no program in the patches"),
            _ => {}
        }
    }
    for path in mirror::present(ctx)? {
        if !added.contains_key(&path) {
            findings.push(format!("{}: no patch adds it", path.display()));
        }
    }
    Ok(findings)
}

/// Why the patches cannot be applied to the base. What was said of them without a kernel is said only once.
pub fn without_base(subject: &Subject) -> Result<Option<String>> {
    let said = !subject.unread.is_empty()
        || !whole_ids(&subject.patches).is_empty()
        || !index_lines(subject)?.is_empty();
    if said {
        return Ok(Some("what is found above comes first".to_owned()));
    }
    let there = base::existing(subject.ctx)?.is_some();
    let fetch = "the base is not here; cargo series doctor --fix fetches it";
    Ok((!there).then(|| fetch.to_owned()))
}

/// The patches apply to the base as they are, and make of it what their index lines say.
pub fn made(subject: &Subject) -> Result<Vec<String>> {
    let base = base::ensure(subject.ctx)?;
    match stack::ensure(subject.ctx) {
        Ok(stack) => others(&base, &stack.commits, &subject.patches),
        Err(e) if e.kind() == Kind::Finding => {
            // One before it may have been edited, and be the one to mend.
            let parts = before(patches::read(subject.ctx)?, e.place());
            let commits = stack::commits_of(&base, &parts)?;
            let findings = others(&base, &commits, &subject.patches)?;
            Ok(if findings.is_empty() {
                vec![e.to_string()]
            } else {
                findings
            })
        }
        Err(e) => Err(e),
    }
}

/// The parts up to this patch, which is left out.
fn before(mut parts: Vec<PartFiles>, place: &str) -> Vec<PartFiles> {
    let is_it = |file: &PatchFile| file.path.to_str() == Some(place);
    if let Some(i) = parts.iter().position(|part| part.patches.iter().any(is_it)) {
        parts.truncate(i + 1);
        let last = &mut parts[i].patches;
        last.truncate(last.iter().position(is_it).unwrap_or(0));
    }
    parts
}

/// Files that are, or become, something else than the index lines say. One that was told of is not told of again.
fn others(base: &Base, commits: &[PatchCommit], patches: &[Named]) -> Result<Vec<String>> {
    let ids: String = commits.iter().map(|c| format!("{}\n", c.id)).collect();
    let arguments = ["diff-tree", "--stdin", "-r", "-z", "--no-renames"];
    let said = base.git().run_with_input(&arguments, ids.as_bytes())?;
    let mut patches = patches.iter();
    let mut named = None;
    let mut findings = Vec::new();
    let mut told = BTreeSet::new();
    let mut fields = said.split('\0').filter(|field| !field.is_empty());
    // A commit, then ":old-mode new-mode old-id new-id M" and the path, by turns.
    while let Some(field) = fields.next() {
        let Some(change) = field.strip_prefix(':') else {
            named = patches.next();
            continue;
        };
        let (Some(named), Some(path)) = (named, fields.next()) else {
            break;
        };
        let ids: Vec<&str> = change.split(' ').collect();
        let Some(diff) = named.patch.diffs.iter().find(|diff| diff.path == path) else {
            continue;
        };
        let (verb, is, said) = if !same_blob(&diff.old_id, ids[2]) {
            ("starts from", ids[2], &diff.old_id)
        } else {
            ("becomes", ids[3], &diff.new_id)
        };
        if !same_blob(said, is) && told.insert(path) {
            findings.push(format!(
                "{}: {path} {verb} {is}, its index line says {said}; cargo series apply, then refresh, writes it anew",
                named.path.display()
            ));
        }
    }
    Ok(findings)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::patches::{FileDiff, Patch};

    fn diff(path: &str, old: char, new: char, kind: Change) -> FileDiff {
        FileDiff {
            path: path.to_owned(),
            old_id: old.to_string().repeat(40),
            new_id: new.to_string().repeat(40),
            kind,
            executable: false,
            text: None,
        }
    }

    fn named(diffs: Vec<FileDiff>) -> Named {
        Named {
            path: PathBuf::from("p"),
            bytes: Vec::new(),
            patch: Patch {
                subject: "a: b".to_owned(),
                body: "why".to_owned(),
                diffs,
            },
        }
    }

    #[test]
    fn a_broken_chain_is_found() {
        let add = || named(vec![diff("old.c", 'a', 'b', Change::Modify)]);
        assert!(chain(&[add(), named(vec![diff("old.c", 'b', 'c', Change::Modify)])]).is_empty());
        assert_eq!(
            chain(&[add(), named(vec![diff("old.c", 'x', 'c', Change::Modify)])]).len(),
            1
        );
    }

    #[test]
    fn a_new_file_has_one_patch() {
        let stack = [
            named(vec![diff("new.c", '0', 'a', Change::Add)]),
            named(vec![diff("new.c", 'a', 'b', Change::Modify)]),
        ];
        assert_eq!(chain(&stack).len(), 1);
    }

    #[test]
    fn short_blob_ids_are_found() {
        let mut short = diff("a.c", 'a', 'b', Change::Modify);
        short.new_id.truncate(12);
        assert_eq!(whole_ids(&[named(vec![short])]).len(), 1);
    }
}
