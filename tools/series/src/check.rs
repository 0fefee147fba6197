// SPDX-License-Identifier: GPL-2.0
//! `check`: do patches, mirrored files and messages agree, and do they have the form that maintainers ask for?
//!
//! Nothing is built. What compares patches with mirrored files needs no kernel: patches carry whole blob ids.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use crate::base::Base;
use crate::cli::CheckArgs;
use crate::context::Context;
use crate::error::{At, Outcome, Result};
use crate::git::Git;
use crate::patches::{self, Change, Patch};
use crate::progress;
use crate::run;
use crate::toolchain::Toolchain;
use crate::{base, mirror};

/// Subjects longer than this do not fit into a log's line.
const SUBJECT: usize = 75;

/// Tags that somebody has to give; a stack that nobody has submitted has none of them.
const GIVEN: [&str; 5] = [
    "Signed-off-by:",
    "Reviewed-by:",
    "Acked-by:",
    "Tested-by:",
    "Reported-by:",
];

struct Named {
    path: PathBuf,
    bytes: Vec<u8>,
    patch: Patch,
}

pub fn check(ctx: &Context, args: &CheckArgs) -> Result<Outcome> {
    let mut findings = Vec::new();
    for part in patches::unknown_parts(ctx)? {
        findings.push(format!("patches/{part}: series.toml names no such part"));
    }
    let mut all = Vec::new();
    for part in patches::read(ctx)? {
        for file in part.patches {
            match file.parse() {
                Ok(patch) => all.push(Named {
                    path: file.path,
                    bytes: file.bytes,
                    patch,
                }),
                Err(e) => findings.push(e.summary()),
            }
        }
    }
    findings.extend(all.iter().flat_map(|named| {
        message(&named.patch)
            .into_iter()
            .map(|cause| format!("{}: {cause}", named.path.display()))
    }));
    findings.extend(chain(&all));
    findings.extend(mirrored(ctx, &all)?);
    if !args.no_checkpatch {
        findings.extend(checkpatch(ctx, &all)?);
    }

    for finding in &findings {
        outln!("{finding}");
    }
    outln!("check: {} patches, {} findings", all.len(), findings.len());
    Ok(if findings.is_empty() {
        Outcome::Clean
    } else {
        Outcome::Findings
    })
}

/// What a maintainer would say about the message at a glance.
fn message(patch: &Patch) -> Vec<String> {
    let mut causes = Vec::new();
    if !patch.subject.contains(": ") {
        causes.push(format!(
            "subject {:?} has no subsystem prefix",
            patch.subject
        ));
    }
    if patch.subject.chars().count() > SUBJECT {
        causes.push(format!("subject is longer than {SUBJECT} characters"));
    }
    if patch.subject.ends_with('.') {
        causes.push("subject ends with a full stop".to_owned());
    }
    if patch.body.trim().is_empty() {
        causes.push("no message below the subject".to_owned());
    }
    for line in patch.body.lines() {
        if let Some(tag) = GIVEN.iter().find(|tag| line.starts_with(*tag)) {
            causes.push(format!("{tag} is for the person who gives it"));
        }
        if let Some(fixes) = line.strip_prefix("Fixes: ") {
            if !well_formed_fixes(fixes) {
                causes.push(format!("{line:?} is not Fixes: <12 digits> (\"subject\")"));
            }
        }
    }
    causes
}

fn well_formed_fixes(text: &str) -> bool {
    text.split_once(' ').is_some_and(|(id, title)| {
        id.len() == 12
            && id.bytes().all(|b| b.is_ascii_hexdigit())
            && title.starts_with("(\"")
            && title.ends_with("\")")
    })
}

/// Each patch must start from the blobs that the one before it left, and a new file has one patch.
fn chain(all: &[Named]) -> Vec<String> {
    let mut findings = Vec::new();
    let mut blobs: BTreeMap<&str, &str> = BTreeMap::new();
    let mut added: BTreeSet<&str> = BTreeSet::new();
    for named in all {
        for diff in &named.patch.diffs {
            let place = named.path.display();
            if diff.new_id.len() < 40 {
                findings.push(format!(
                    "{place}: {}: no whole blob id; write it with cargo series refresh",
                    diff.path
                ));
            }
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

/// Whether two ids can be of the same blob: one that is cut short is said elsewhere.
fn same_blob(a: &str, b: &str) -> bool {
    a.starts_with(b) || b.starts_with(a)
}

/// The files at kernel paths must be what the patches add, no more and no less.
fn mirrored(ctx: &Context, all: &[Named]) -> Result<Vec<String>> {
    let mut findings = Vec::new();
    let added = mirror::from_diffs(all.iter().flat_map(|named| &named.patch.diffs));
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
    if !findings.is_empty() {
        findings.push(
            "mend: cargo series refresh writes the mirrored files from the worktree".to_owned(),
        );
    }
    Ok(findings)
}

/// What checkpatch reads of the base, apart from the build worktree: a build may be using that right now.
pub fn checkpatch_tree(ctx: &Context, base: &Base) -> Result<PathBuf> {
    let tree = ctx.cache.path(format!("checkpatch/{}", base.commit));
    if tree.exists() {
        return Ok(tree);
    }
    let parent = ctx.cache.dir("checkpatch")?;
    let new = tempfile::tempdir_in(&parent).at(&parent)?;
    let mut command = base.git().command(&[
        "archive",
        "--format=tar",
        &base.commit,
        "COPYING",
        "CREDITS",
        "Kbuild",
        "MAINTAINERS",
        "Makefile",
        "README",
        "include",
        "scripts",
    ]);
    let output = run::capture(&mut command)?;
    let archive = run::succeed(&command, output)?;
    tar::Archive::new(archive.as_slice())
        .unpack(new.path())
        .at(new.path())?;
    // It takes a folder for a kernel only if these are there.
    for name in [
        "Documentation",
        "arch",
        "drivers",
        "fs",
        "init",
        "ipc",
        "kernel",
        "lib",
    ] {
        let dir = new.path().join(name);
        std::fs::create_dir_all(&dir).at(&dir)?;
    }
    std::fs::rename(new.keep(), &tree).at(&tree)?;
    Ok(tree)
}

/// Findings that stay, each with its reason.
const ACCEPTED: [(&str, &str); 3] = [
    // The base is a single commit: there is no history to look ids up in.
    ("", "Unknown commit id"),
    // A test reads memory that a device or another mapping may change; the compiler must not keep it.
    ("selftests", "Use of volatile is usually wrong"),
    // checkpatch does not know that FIXTURE_DATA(x) is a type.
    ("selftests", "spaces preferred around that '*'"),
];

fn accepted(path: &str, complaint: &str) -> bool {
    ACCEPTED
        .iter()
        .any(|(place, text)| path.contains(place) && complaint.contains(text))
}

/// Words that codespell does not know: the kernel has a PG_uptodate.
const WORDS: &str = "uptodate";

/// Misspelled words in messages and added lines. checkpatch's own --codespell takes minutes for the same.
fn spelling(toolchain: &Toolchain, all: &[Named]) -> Result<Vec<String>> {
    let dir = tempfile::tempdir().at("temporary folder")?;
    for (i, named) in all.iter().enumerate() {
        let text = String::from_utf8_lossy(&named.bytes);
        let (message, diff) = text.split_once("\n---\n").unwrap_or((&text, ""));
        let added: String = diff
            .lines()
            .filter(|line| line.starts_with('+'))
            .map(|line| format!("{}\n", &line[1..]))
            .collect();
        let file = dir.path().join(format!("{i:04}"));
        std::fs::write(&file, format!("{message}\n{added}")).at(&file)?;
    }
    let mut command = toolchain.command(&[(dir.path(), "/patches")], "codespell");
    command.args(["-L", WORDS, "/patches"]);
    let output = run::capture(&mut command)?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut findings = Vec::new();
    for line in said.lines() {
        let number = line
            .strip_prefix("/patches/")
            .and_then(|rest| rest.split(':').next());
        let named = number
            .and_then(|n| n.parse::<usize>().ok())
            .and_then(|n| all.get(n));
        let word = line.rsplit(": ").next().unwrap_or(line);
        match named {
            Some(named) => findings.push(format!("{}: misspelled: {word}", named.path.display())),
            None => findings.push(line.to_owned()),
        }
    }
    if !output.status.success() && findings.is_empty() {
        run::succeed(&command, output)?;
    }
    Ok(findings)
}

/// The kernel's own style checker, of the base. The missing Signed-off-by is the submitter's to add.
fn checkpatch(ctx: &Context, all: &[Named]) -> Result<Vec<String>> {
    let toolchain = Toolchain::ensure(ctx)?;
    let base = base::ensure(ctx)?;
    let tree = checkpatch_tree(ctx, &base)?;
    let step = progress::step("checkpatch");
    let mut findings = spelling(&toolchain, all)?;
    for named in all {
        let path = named.path.to_string_lossy();
        let file = tempfile::Builder::new()
            .suffix(".patch")
            .tempfile()
            .at("temporary file")?;
        std::fs::write(file.path(), &named.bytes).at(file.path())?;
        let mut command = toolchain.command(&[(&tree, "/src"), (file.path(), "/patch")], "perl");
        command.args([
            "/src/scripts/checkpatch.pl",
            "--root=/src",
            "--strict",
            "--terse",
            "--no-summary",
        ]);
        command.args(["--ignore", "MISSING_SIGN_OFF,FILE_PATH_CHANGES", "/patch"]);
        let output = run::capture(&mut command)?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let complaints: Vec<&str> = said
            .lines()
            .filter(|line| line.starts_with("/patch:"))
            .collect();
        if !output.status.success() && complaints.is_empty() {
            run::succeed(&command, output)?;
        }
        findings.extend(
            complaints
                .iter()
                .filter(|line| !accepted(&path, line))
                .map(|line| line.replacen("/patch", &path, 1)),
        );
    }
    step.done();
    Ok(findings)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::patches::FileDiff;

    fn patch(subject: &str, body: &str) -> Patch {
        Patch {
            subject: subject.to_owned(),
            body: body.to_owned(),
            diffs: Vec::new(),
        }
    }

    fn diff(path: &str, old: char, new: char, kind: Change) -> FileDiff {
        FileDiff {
            path: path.to_owned(),
            old_id: old.to_string().repeat(40),
            new_id: new.to_string().repeat(40),
            kind,
            executable: false,
        }
    }

    fn named(diffs: Vec<FileDiff>) -> Named {
        Named {
            path: PathBuf::from("p"),
            bytes: Vec::new(),
            patch: Patch {
                diffs,
                ..patch("a: b", "why")
            },
        }
    }

    #[test]
    fn messages() {
        let fixes = "why\n\nFixes: 89c1905d9c14 (\"mm/gup: x\")";
        assert!(message(&patch("mm: do it", fixes)).is_empty());
        for (subject, body) in [
            ("no prefix", "why"),
            ("mm: stop.", "why"),
            ("mm: empty", " \n"),
            ("mm: signed", "why\n\nSigned-off-by: A <a@b>"),
            ("mm: fixes", "why\n\nFixes: 89c1905 (\"short\")"),
        ] {
            assert_eq!(message(&patch(subject, body)).len(), 1, "{subject}");
        }
        assert_eq!(
            message(&patch(&format!("mm: {}", "x".repeat(80)), "why")).len(),
            1
        );
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
        assert_eq!(chain(&[named(vec![short])]).len(), 1);
    }
}
