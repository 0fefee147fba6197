// SPDX-License-Identifier: GPL-2.0
//! What stands where a patch does not apply.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::error::{At, Result};
use crate::git::Git;

/// More lines of a file than these tell nobody more.
const LINES: usize = 40;

/// What git said, and of each file both sides of what conflicts after a 3-way merge was tried in the index. Where none was
/// possible, the lines of the file at the hunk.
pub fn explain(git: &Git, scratch: &Path, said: &str) -> Result<String> {
    let sides = sides(git, scratch)?;
    let mut text = String::new();
    for line in said.lines() {
        text += &format!("{line}\n");
        let failed = line.strip_prefix("error: patch failed: ");
        let Some((path, number)) = failed.and_then(|place| place.rsplit_once(':')) else {
            continue;
        };
        let here = match sides.get(path) {
            Some(sides) => sides.clone(),
            None => there(git, path, number.parse().unwrap_or(1))?,
        };
        for line in cut(here.lines(), LINES) {
            text += &format!("  {line}\n");
        }
    }
    Ok(text.trim_end().to_owned())
}

/// The regions that conflict, by path.
fn sides(git: &Git, scratch: &Path) -> Result<BTreeMap<String, String>> {
    let listed = git.run(&["ls-files", "--unmerged", "-z"])?;
    let mut stages: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    // "mode id stage" and the path; the stages of a file are what both sides started from, ours, the patch's.
    for (entry, path) in listed.split('\0').filter_map(|line| line.split_once('\t')) {
        let id = entry.split(' ').nth(1).unwrap_or_default();
        stages.entry(path).or_default().push(id);
    }
    let names = ["before", "base", "patch"].map(|name| scratch.join(name));
    let [before, base, patch] = &names;
    let mut sides = BTreeMap::new();
    for (path, ids) in stages.into_iter().filter(|(_, ids)| ids.len() == 3) {
        for (name, id) in names.iter().zip(ids) {
            fs::write(name, git.attempt(&["cat-file", "blob", id])?.stdout).at(name)?;
        }
        let arguments = [
            "merge-file",
            "-p",
            "-L",
            "the base",
            "-L",
            "",
            "-L",
            "the patch",
        ];
        let mut command = git.command(&arguments);
        let merged = crate::run::capture(command.args([base, before, patch]))?;
        let merged = String::from_utf8_lossy(&merged.stdout).into_owned();
        sides.insert(path.to_owned(), regions(&merged));
    }
    Ok(sides)
}

/// From each `<<<<<<<` to its `>>>>>>>`.
fn regions(merged: &str) -> String {
    let mut inside = false;
    let mut text = String::new();
    for line in merged.lines() {
        inside |= line.starts_with("<<<<<<< ");
        if inside {
            text += &format!("{line}\n");
        }
        inside &= !line.starts_with(">>>>>>> ");
    }
    text
}

/// As many lines from here on as a hunk of one change has.
fn there(git: &Git, path: &str, number: usize) -> Result<String> {
    let file = git.attempt(&["cat-file", "blob", &format!(":{path}")])?;
    let text = String::from_utf8_lossy(&file.stdout).into_owned();
    let lines = text.lines().enumerate().skip(number.max(1) - 1).take(7);
    Ok(lines
        .map(|(i, line)| format!("{}: {line}\n", i + 1))
        .collect())
}

/// No more than `most` lines, and how many there are besides.
pub fn cut<'a>(lines: impl Iterator<Item = &'a str>, most: usize) -> Vec<String> {
    let all: Vec<&str> = lines.collect();
    let mut kept: Vec<String> = all
        .iter()
        .take(most)
        .map(|line| (*line).to_owned())
        .collect();
    if all.len() > most {
        kept.push(format!("... {} more lines", all.len() - most));
    }
    kept
}

/// A diff with each of its files cut by itself.
pub fn cut_files(diff: &str) -> String {
    let mut files: Vec<Vec<&str>> = Vec::new();
    for line in diff.lines() {
        if line.starts_with("diff ") || files.is_empty() {
            files.push(Vec::new());
        }
        files.last_mut().expect("one was pushed").push(line);
    }
    let cut = files
        .into_iter()
        .flat_map(|file| cut(file.into_iter(), LINES));
    cut.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_conflicts_is_shown() {
        let merged = "a\n<<<<<<< the base\nb\n=======\nc\n>>>>>>> the patch\nd\n";
        let text = "<<<<<<< the base\nb\n=======\nc\n>>>>>>> the patch\n";
        assert_eq!(regions(merged), text);
    }

    #[test]
    fn a_long_file_hides_no_other() {
        let long = "+x\n".repeat(100);
        let diff = format!("diff --cc a.c\n{long}diff --cc b.c\n+y\n");
        let text = cut_files(&diff);
        assert!(
            text.contains("... 61 more lines\ndiff --cc b.c\n+y"),
            "{text}"
        );
    }
}
