// SPDX-License-Identifier: GPL-2.0
//! `diff`: how the patches changed since a tag, and the start of a changelog.

use std::path::{Path, PathBuf};

use crate::cli::DiffArgs;
use crate::context::Context;
use crate::error::{Error, Outcome, Result};
use crate::git::Git;
use crate::patches::{self, PartFiles, PatchFile};
use crate::progress;
use crate::stack::{self, COVER_PREFIX};

pub fn diff(ctx: &Context, args: &DiffArgs) -> Result<Outcome> {
    let repo = Git::at(&ctx.repo);
    let commit = repo
        .resolve(&format!("{}^{{commit}}", args.tag))?
        .ok_or_else(|| {
            Error::config(&args.tag, "is no tag or commit of this repository").mend("git tag")
        })?;
    let old = at(&repo, &commit)?;
    if old.is_empty() {
        return Err(Error::config(&args.tag, "has no patches").mend("name another tag"));
    }
    let stack = stack::ensure(ctx)?;
    let then = stack::tip_of(&stack.base, &old).map_err(|e| {
        Error::finding(
            &args.tag,
            format!("its patches do not apply to today's base: {}", e.summary()),
        )
        .mend(format!(
            "git log {}.. -- series.toml shows where the base changed; name a commit after that",
            args.tag
        ))
    })?;
    let step = progress::step("range-diff");
    let text = stack.base.git().run(&[
        "range-diff",
        "--no-color",
        // Even a patch that was rewritten is better shown as changed than as dropped and new.
        "--creation-factor=80",
        &stack.base.commit,
        &then,
        &stack.tip,
    ])?;
    step.done();
    outln!("{text}\n");
    out!("{}", changelog(&args.tag, &text));
    Ok(Outcome::Clean)
}

/// The patches of a commit of this repository.
fn at(repo: &Git, commit: &str) -> Result<Vec<PartFiles>> {
    let list = repo.run(&[
        "ls-tree",
        "-r",
        "-z",
        "--name-only",
        "--full-tree",
        commit,
        "patches/",
    ])?;
    let mut parts: Vec<PartFiles> = Vec::new();
    for name in list.split('\0').filter(|name| !name.is_empty()) {
        let path = PathBuf::from(name);
        let part = path.parent().and_then(Path::file_name);
        let dir = part.unwrap_or_default().to_string_lossy().into_owned();
        let bytes = repo.attempt(&["cat-file", "blob", &format!("{commit}:{name}")])?;
        if parts.last().is_none_or(|last| last.dir != dir) {
            parts.push(PartFiles {
                dir,
                cover: None,
                patches: Vec::new(),
            });
        }
        let part = parts.last_mut().expect("one was just pushed");
        if path.ends_with(patches::COVER) {
            part.cover = Some(String::from_utf8_lossy(&bytes.stdout).into_owned());
        } else if name.ends_with(".patch") {
            part.patches.push(PatchFile {
                path,
                bytes: bytes.stdout,
            });
        }
    }
    Ok(parts)
}

/// What a person has to say more about: a line for each patch that is not as it was.
fn changelog(tag: &str, range_diff: &str) -> String {
    let entries: Vec<(char, &str)> = range_diff.lines().filter_map(entry).collect();
    let has = |entry: (char, &str)| entries.contains(&entry);
    let mut text = String::new();
    for &(sign, subject) in &entries {
        let what = match sign {
            '!' => "changed:",
            // Rewritten beyond recognition, under the same subject.
            '>' if has(('<', subject)) => "changed:",
            '<' if has(('>', subject)) => continue,
            '<' => "dropped:",
            '>' => "new",
            _ => continue,
        };
        let subject = match subject.strip_prefix(COVER_PREFIX) {
            Some(part) => format!("cover letter of {part}"),
            None => subject.to_owned(),
        };
        text += &format!("- {subject}: {what}\n");
    }
    if text.is_empty() {
        return format!("No changes since {tag}.\n");
    }
    format!("Changes since {tag}:\n{text}")
}

/// " 3:  0123456 ! 4:  89abcde subject" as its sign and subject.
fn entry(line: &str) -> Option<(char, &str)> {
    let mut rest = line.trim_start();
    if line.starts_with("    ") {
        return None;
    }
    let mut sign = None;
    for field in 0..5 {
        let (word, more) = rest.split_once(' ')?;
        let right = match field {
            0 | 3 => word.ends_with(':'),
            2 => {
                sign = word.chars().next().filter(|_| word.len() == 1);
                sign.is_some_and(|sign| "=!<>".contains(sign))
            }
            _ => word.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-'),
        };
        if !right {
            return None;
        }
        rest = more.trim_start();
    }
    Some((sign?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RANGE_DIFF: &str = "\
 1:  2f1a7c0 =  1:  2f1a7c0 mm: same
 2:  77d9a52 !  2:  9c0b1de mm: other text
    @@ Commit message
      1:  2f1a7c0 < -:  ------- no entry
 3:  0aa11bb <  -:  ------- mm: gone
 -:  ------- >  3:  ccdd334 cover: 2-feature
10:  77d9a52 ! 11:  9c0b1de mm: tenth
";

    #[test]
    fn what_changed_is_listed() {
        assert_eq!(
            changelog("v1", RANGE_DIFF),
            "Changes since v1:\n- mm: other text: changed:\n- mm: gone: dropped:\n\
             - cover letter of 2-feature: new\n- mm: tenth: changed:\n"
        );
    }

    #[test]
    fn a_patch_that_was_rewritten_is_one_change() {
        let text = "4:  c48fb00 < -:  ------- mm: add\n-:  ------- > 4:  7baaa58 mm: add\n";
        assert_eq!(
            changelog("v1", text),
            "Changes since v1:\n- mm: add: changed:\n"
        );
    }

    #[test]
    fn nothing_changed() {
        assert_eq!(
            changelog("v1", "1:  a =  1:  a mm: x\n"),
            "No changes since v1.\n"
        );
    }
}
