// SPDX-License-Identifier: GPL-2.0
//! What a cover letter says below its text: authors with their patches, and the files that change.

use crate::error::Result;
use crate::git::Git;
use crate::stack::COVER_PREFIX;

/// For the commits above `from` up to `to`.
pub fn summary(git: &Git, from: &str, to: &str) -> Result<String> {
    let range = format!("{from}..{to}");
    let log = git.run(&["log", "--reverse", "--format=%an%x00%s", &range])?;
    let stat = git.run(&[
        "-c",
        "diff.orderFile=/dev/null",
        "diff",
        "--no-renames",
        "--no-color",
        "--no-ext-diff",
        "--stat=72",
        "--summary",
        &range,
    ])?;
    Ok(format!("{}\n{stat}\n", shortlog(&log)))
}

/// From lines "author NUL subject". Parts start with empty commits, which are no patches.
fn shortlog(log: &str) -> String {
    let mut authors: Vec<(&str, Vec<&str>)> = Vec::new();
    for (author, subject) in log.lines().filter_map(|line| line.split_once('\0')) {
        if subject.starts_with(COVER_PREFIX) {
            continue;
        }
        match authors.iter_mut().find(|(known, _)| *known == author) {
            Some((_, subjects)) => subjects.push(subject),
            None => authors.push((author, vec![subject])),
        }
    }
    authors
        .iter()
        .map(|(author, subjects)| {
            let lines: String = subjects.iter().map(|s| format!("  {s}\n")).collect();
            format!("{author} ({}):\n{lines}", subjects.len())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authors_and_subjects_without_covers() {
        let log = "A\0cover: 1-x\nA\0mm: one\nB\0mm: two\nA\0mm: three\n";
        assert_eq!(
            shortlog(log),
            "A (2):\n  mm: one\n  mm: three\nB (1):\n  mm: two\n"
        );
    }
}
