// SPDX-License-Identifier: GPL-2.0
//! What the base's own scripts say of patches, with the programs of the toolchain.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::Subject;
use crate::base;
use crate::config::Part;
use crate::context::Context;
use crate::error::{At, Result};
use crate::mirror;
use crate::patches;
use crate::progress;
use crate::run;
use crate::scripts;
use crate::toolchain::Toolchain;

/// The toolchain, and the folder that [`scripts::tree`] made.
fn tools(ctx: &Context) -> Result<(Toolchain, PathBuf)> {
    let toolchain = Toolchain::ensure(ctx)?;
    let tree = scripts::tree(ctx, &base::ensure(ctx)?)?;
    Ok((toolchain, tree))
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
pub fn spelling(subject: &Subject) -> Result<Vec<String>> {
    let toolchain = Toolchain::ensure(subject.ctx)?;
    let all = &subject.patches;
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
pub fn checkpatch(subject: &Subject) -> Result<Vec<String>> {
    let (toolchain, tree) = tools(subject.ctx)?;
    let step = progress::step("checkpatch");
    let mut findings = Vec::new();
    for named in &subject.patches {
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

/// What is to be said where the base does not have this script.
fn without(subject: &Subject, script: &str) -> Result<Option<String>> {
    let has = scripts::has(&base::ensure(subject.ctx)?, script)?;
    Ok((!has).then(|| format!("the base has no {script}")))
}

pub fn without_kernel_doc(subject: &Subject) -> Result<Option<String>> {
    without(subject, scripts::KERNEL_DOC)
}

pub fn without_get_maintainer(subject: &Subject) -> Result<Option<String>> {
    without(subject, scripts::GET_MAINTAINER)
}

/// Comments that kernel-doc does not take, in C files that the stack adds.
pub fn kernel_doc(subject: &Subject) -> Result<Vec<String>> {
    let (toolchain, tree) = tools(subject.ctx)?;
    let diffs = subject.patches.iter().flat_map(|named| &named.patch.diffs);
    let files: Vec<PathBuf> = mirror::from_diffs(diffs)
        .into_keys()
        .filter(|path| path.extension().is_some_and(|end| end == "c" || end == "h"))
        .filter(|path| subject.ctx.repo.join(path).is_file())
        .collect();
    if files.is_empty() {
        return Ok(Vec::new());
    }
    let mounts = [(tree.as_path(), "/src"), (&subject.ctx.repo, "/files")];
    let mut command = toolchain.command(&mounts, "env");
    command.args(["-C", "/files"]);
    command.arg(format!("/src/{}", scripts::KERNEL_DOC));
    command.args(["-none", "-Wall"]);
    let output = run::capture(command.args(&files))?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if !output.status.success() && said.trim().is_empty() {
        run::succeed(&command, output)?;
    }
    // It reads a file twice that it warns about.
    let warnings: BTreeSet<&str> = said.lines().collect();
    let findings = warnings.iter().map(|line| format!("kernel-doc: {line}"));
    Ok(findings.collect())
}

/// Lists that MAINTAINERS names for a part and series.toml does not.
pub fn recipients(subject: &Subject) -> Result<Vec<String>> {
    let ctx = subject.ctx;
    let base = base::ensure(ctx)?;
    let toolchain = Toolchain::ensure(ctx)?;
    let mut findings = Vec::new();
    for (files, part) in patches::read(ctx)?.iter().zip(&ctx.config.parts) {
        if files.patches.is_empty() {
            continue;
        }
        let said = scripts::maintainers(ctx, &toolchain, &base, files)?;
        let missing = missing(&said, part);
        findings.extend(missing.iter().map(|list| {
            format!(
                "series.toml: part {}: MAINTAINERS names {list} too",
                part.dir
            )
        }));
    }
    Ok(findings)
}

/// The lists among the lines "address (role)" of get_maintainer.pl that a part's mails do not go to. Persons have names.
fn missing<'a>(said: &'a str, part: &Part) -> Vec<&'a str> {
    let known = |list: &str| {
        let mut all = part.to.iter().chain(&part.cc);
        all.any(|address| address.to_lowercase().contains(&list.to_lowercase()))
    };
    said.lines()
        .filter(|line| !line.contains('<'))
        .filter_map(|line| Some(line.split_once(" (")?.0))
        .filter(|address| !known(address))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_that_get_no_mail() {
        let said = "Ann Author <ann@example.org> (maintainer:MEMORY MANAGEMENT)\n\
                    \"Joe Roe (IOMMU)\" <joe@example.org> (maintainer:IOMMU)\n\
                    linux-mm@kvack.org (open list:MEMORY MANAGEMENT)\n\
                    kvm@vger.kernel.org (open list:KVM)\n\
                    linux-kernel@vger.kernel.org (open list)\n";
        let part = Part {
            dir: "1-fixes".to_owned(),
            to: vec!["Linux-MM@kvack.org".to_owned()],
            cc: vec!["LKML <linux-kernel@vger.kernel.org>".to_owned()],
        };
        assert_eq!(missing(said, &part), ["kvm@vger.kernel.org"]);
    }
}
