// SPDX-License-Identifier: GPL-2.0
//! The patch files of the repository, and what a patch says without being applied.

use std::fs;
use std::path::{Path, PathBuf};

use crate::context::Context;
use crate::error::{At, Error, Result};
use crate::header::{self, Mail};

/// One part's files.
#[derive(Debug, Clone)]
pub struct PartFiles {
    /// The folder under patches/.
    pub dir: String,
    /// The cover letter, if there is one.
    pub cover: Option<String>,
    /// In order.
    pub patches: Vec<PatchFile>,
}

#[derive(Debug, Clone)]
pub struct PatchFile {
    /// Relative to the repository.
    pub path: PathBuf,
    pub bytes: Vec<u8>,
}

pub const COVER: &str = "cover.txt";

impl PartFiles {
    /// Where the cover letter is, relative to the repository.
    pub fn cover_path(&self) -> PathBuf {
        Path::new("patches").join(&self.dir).join(COVER)
    }
}

/// The parts that `series.toml` names, in order. A part without a folder has no patches yet.
pub fn read(ctx: &Context) -> Result<Vec<PartFiles>> {
    ctx.config
        .parts
        .iter()
        .map(|part| read_part(&ctx.repo, &part.dir))
        .collect()
}

fn read_part(repo: &Path, dir: &str) -> Result<PartFiles> {
    let relative = Path::new("patches").join(dir);
    let folder = repo.join(&relative);
    let mut part = PartFiles {
        dir: dir.to_owned(),
        cover: None,
        patches: Vec::new(),
    };
    if !folder.is_dir() {
        return Ok(part);
    }
    let mut names = Vec::new();
    for entry in fs::read_dir(&folder).at(&folder)? {
        names.push(entry.at(&folder)?.file_name());
    }
    names.sort();
    for name in names {
        let path = folder.join(&name);
        if name == COVER {
            part.cover = Some(fs::read_to_string(&path).at(&path)?);
        } else if name.to_string_lossy().ends_with(".patch") {
            part.patches.push(PatchFile {
                path: relative.join(&name),
                bytes: fs::read(&path).at(&path)?,
            });
        }
    }
    Ok(part)
}

/// Fails unless there is a patch of this number, counted from 1 through all parts.
pub fn need(ctx: &Context, n: usize) -> Result<()> {
    let last: usize = read(ctx)?.iter().map(|part| part.patches.len()).sum();
    if (1..=last).contains(&n) {
        return Ok(());
    }
    Err(
        Error::config(format!("--patch {n}"), "there is no such patch")
            .mend(format!("--patch 1 to --patch {last}")),
    )
}

/// Folders under patches/ that `series.toml` does not name: they would be applied by nobody.
pub fn unknown_parts(ctx: &Context) -> Result<Vec<String>> {
    let folder = ctx.repo.join("patches");
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let mut unknown = Vec::new();
    for entry in fs::read_dir(&folder).at(&folder)? {
        let name = entry
            .at(&folder)?
            .file_name()
            .to_string_lossy()
            .into_owned();
        if !ctx.config.parts.iter().any(|part| part.dir == name) {
            unknown.push(name);
        }
    }
    unknown.sort();
    Ok(unknown)
}

/// What a patch does to one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileDiff {
    /// The path after the patch; before it, if the file is deleted.
    pub path: String,
    /// The blob before; zeroes if the patch adds the file.
    pub old_id: String,
    /// The blob after; zeroes if the patch deletes the file.
    pub new_id: String,
    pub kind: Change,
    /// A file that is added is a program.
    pub executable: bool,
    /// All of a file that is added, unless that is no text in UTF-8.
    pub text: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    Add,
    Delete,
    Modify,
}

/// A patch as its file says it.
#[derive(Debug, Clone)]
pub struct Patch {
    pub subject: String,
    /// The message below the subject, without the diffstat.
    pub body: String,
    pub diffs: Vec<FileDiff>,
}

impl PatchFile {
    pub fn parse(&self) -> Result<Patch> {
        parse(&String::from_utf8_lossy(&self.bytes)).map_err(|cause| {
            Error::finding(self.path.display(), cause)
                .mend("write the patch with cargo series refresh")
        })
    }
}

fn parse(text: &str) -> Result<Patch, String> {
    let mail = Mail::parse(text)?;
    let rest = &mail.body;
    let subject = header::decode(mail.header("Subject").ok_or("no Subject: header")?);
    let prefixes = ["[PATCH", "[RFC PATCH"];
    let subject = match prefixes.iter().find_map(|p| subject.strip_prefix(p)) {
        Some(rest) => rest
            .split_once(']')
            .ok_or("the Subject: header has no ]")?
            .1
            .trim_start()
            .to_owned(),
        None => subject,
    };
    mail.header("From").ok_or("no From: header")?;
    let (message, diff) = match rest.find("diff --git ") {
        Some(at) if at == 0 || rest.as_bytes()[at - 1] == b'\n' => rest.split_at(at),
        _ => match rest.find("\ndiff --git ") {
            Some(at) => rest.split_at(at + 1),
            None => return Err("changes no file".to_owned()),
        },
    };
    let body = message
        .split("\n---\n")
        .next()
        .unwrap_or_default()
        .trim()
        .to_owned();
    Ok(Patch {
        subject,
        body: body
            .strip_prefix("---\n")
            .map_or(body.clone(), |_| String::new()),
        diffs: parse_diffs(diff)?,
    })
}

fn parse_diffs(text: &str) -> Result<Vec<FileDiff>, String> {
    let mut diffs: Vec<FileDiff> = Vec::new();
    let mut in_header = false;
    for whole in text.split_inclusive('\n') {
        let line = whole.trim_end_matches(['\r', '\n']);
        if let Some(names) = line.strip_prefix("diff --git ") {
            let path = one_path(names).ok_or_else(|| format!("cannot read {line:?}"))?;
            diffs.push(FileDiff {
                path,
                old_id: String::new(),
                new_id: String::new(),
                kind: Change::Modify,
                executable: false,
                text: None,
            });
            in_header = true;
            continue;
        }
        let Some(diff) = diffs.last_mut() else {
            continue;
        };
        if !in_header {
            add_line(diff, whole);
            continue;
        }
        if line.starts_with("@@ ") {
            in_header = false;
        } else if let Some(mode) = line.strip_prefix("new file mode ") {
            diff.kind = Change::Add;
            diff.executable = mode == "100755";
            diff.text = Some(String::new());
        } else if line == "GIT binary patch" {
            diff.text = None;
            in_header = false;
        } else if line.starts_with("deleted file mode ") {
            diff.kind = Change::Delete;
        } else if line.starts_with("rename ") || line.starts_with("copy ") {
            return Err(format!("{}: renames are not used here", diff.path));
        } else if let Some(ids) = line.strip_prefix("index ") {
            let ids = ids.split(' ').next().unwrap_or_default();
            let (old, new) = ids
                .split_once("..")
                .ok_or_else(|| format!("cannot read {line:?}"))?;
            diff.old_id = old.to_owned();
            diff.new_id = new.to_owned();
        }
    }
    Ok(diffs)
}

/// Takes a line of a hunk into the text of a file that is added.
fn add_line(diff: &mut FileDiff, line: &str) {
    let Some(text) = &mut diff.text else { return };
    if line.contains(char::REPLACEMENT_CHARACTER) {
        diff.text = None;
    } else if let Some(line) = line.strip_prefix('+') {
        text.push_str(line);
    } else if line.starts_with("\\ No newline") {
        text.pop();
    }
}

/// "a/x y b/x y" is "x y". Both names are equal: patches are written without renames.
fn one_path(names: &str) -> Option<String> {
    let length = names.len().checked_sub("a/ b/".len())? / 2;
    let path = names.get(2..2 + length)?;
    (names == format!("a/{path} b/{path}")).then(|| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATCH: &str = "\
From 0000000000000000000000000000000000000000 Mon Sep 17 00:00:00 2001
From: A <a@b>
Date: Thu, 1 Jan 2026 00:00:00 +0000
Subject: [PATCH] mm: a subject that is long enough for the header to be
 folded

Why.

 diff --git in the message is no diff

---
 a.c | 1 +
 1 file changed, 1 insertion(+)

diff --git a/a.c b/a.c
new file mode 100644
index 0000000000000000000000000000000000000000..78981922613b2afb6025042ff6bd878ac1994e85
--- /dev/null
+++ b/a.c
@@ -0,0 +1 @@
+a
diff --git a/b.c b/b.c
index 78981922613b2afb6025042ff6bd878ac1994e85..61780798228d17af2d34fce4cfbdf35556832472 100644
--- a/b.c
+++ b/b.c
@@ -1 +1 @@
-a
+new file mode 100644
";

    #[test]
    fn a_patch() {
        let patch = parse(PATCH).unwrap();
        assert_eq!(
            patch.subject,
            "mm: a subject that is long enough for the header to be folded"
        );
        assert_eq!(patch.body, "Why.\n\n diff --git in the message is no diff");
        let kinds: Vec<(&str, Change)> = patch
            .diffs
            .iter()
            .map(|d| (d.path.as_str(), d.kind))
            .collect();
        assert_eq!(kinds, [("a.c", Change::Add), ("b.c", Change::Modify)]);
        assert_eq!(
            patch.diffs[0].new_id,
            "78981922613b2afb6025042ff6bd878ac1994e85"
        );
        let texts: Vec<Option<&str>> = patch.diffs.iter().map(|d| d.text.as_deref()).collect();
        assert_eq!(texts, [Some("a\n"), None]);
    }

    #[test]
    fn a_subject_is_what_a_person_reads() {
        for folded in [
            "=?UTF-8?q?mm:=20sp=C3=A4t?=\n =?UTF-8?q?er?=",
            "mm:\n\tspäter",
        ] {
            let text =
                format!("From: A <a@b>\nSubject: [PATCH] {folded}\n\nWhy.\n\ndiff --git a/a b/a\n");
            assert_eq!(parse(&text).unwrap().subject, "mm: später");
        }
    }

    #[test]
    fn the_text_of_a_file_that_is_added() {
        let text = |hunk: &str| {
            let diff = format!("diff --git a/a b/a\nnew file mode 100644\n{hunk}-- \n2.47.0\n\n");
            parse_diffs(&diff).unwrap().remove(0).text
        };
        for (hunk, said) in [
            ("@@ -0,0 +1,2 @@\n+a\r\n++b\n", Some("a\r\n+b\n")),
            (
                "@@ -0,0 +1 @@\n+a\n\\ No newline at end of file\n",
                Some("a"),
            ),
            ("", Some("")),
            ("GIT binary patch\nliteral 3\nKcmZQz\n\n", None),
            ("@@ -0,0 +1 @@\n+\u{fffd}\n", None),
        ] {
            assert_eq!(text(hunk).as_deref(), said, "{hunk:?}");
        }
    }

    #[test]
    fn a_path_may_have_blanks_and_folders_of_any_name() {
        for path in ["mm/gup.c", "a b/b c.c", "b/b/b", "ä.c"] {
            let found = one_path(&format!("a/{path} b/{path}"));
            assert_eq!(found.as_deref(), Some(path));
        }
        for wrong in [
            "",
            "a/x b/y",
            "a/xb/x",
            "\"a/t\\tb\" \"b/t\\tb\"",
            "a/ä b/a",
        ] {
            assert_eq!(one_path(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_is_no_patch_is_refused() {
        for wrong in [
            "",
            "Subject: x\n\nno diff\n",
            "no headers\n\ndiff --git a/a b/a\n",
        ] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
