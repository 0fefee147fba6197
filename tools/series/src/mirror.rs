// SPDX-License-Identifier: GPL-2.0
//! Mirrored files: every file that the stack adds, in this repository at its kernel path.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::context::Context;
use crate::error::Result;
use crate::git::Git;
use crate::patches::{Change, FileDiff};

/// Files that are this repository's own, and not the kernel's.
const OWN: [&str; 4] = ["README.md", "series.toml", "patches/", "tools/series/"];

/// A file that the stack adds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Added {
    pub executable: bool,
    /// The blob.
    pub id: String,
}

/// The files that are in `tip` and not in `base`.
pub fn between(git: &Git, base: &str, tip: &str) -> Result<BTreeMap<PathBuf, Added>> {
    let text = git.run(&[
        "diff-tree",
        "-r",
        "-z",
        "--no-renames",
        "--diff-filter=A",
        base,
        tip,
    ])?;
    let mut fields = text.split('\0');
    let mut added = BTreeMap::new();
    // ":old-mode new-mode old-id new-id A" and the path, by turns.
    while let (Some(meta), Some(path)) = (fields.next(), fields.next()) {
        let meta: Vec<&str> = meta.split(' ').collect();
        added.insert(
            PathBuf::from(path),
            Added {
                executable: meta[1] == "100755",
                id: meta[3].to_owned(),
            },
        );
    }
    Ok(added)
}

/// The files that these changes add, as the last of them leaves them.
pub fn from_diffs<'a>(diffs: impl IntoIterator<Item = &'a FileDiff>) -> BTreeMap<PathBuf, Added> {
    let mut added = BTreeMap::new();
    for diff in diffs {
        let path = PathBuf::from(&diff.path);
        match diff.kind {
            Change::Add => {
                let file = Added {
                    executable: diff.executable,
                    id: diff.new_id.clone(),
                };
                added.insert(path, file);
            }
            Change::Delete => {
                added.remove(&path);
            }
            Change::Modify => {
                if let Some(file) = added.get_mut(&path) {
                    file.id.clone_from(&diff.new_id);
                }
            }
        }
    }
    added
}

/// The files of this repository that lie at kernel paths. Ignored files are left out.
pub fn present(ctx: &Context) -> Result<Vec<PathBuf>> {
    let text = Git::at(&ctx.repo).run(&[
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ])?;
    let mut files: Vec<PathBuf> = text
        .split('\0')
        .filter(|name| !name.is_empty() && !name.starts_with('.'))
        .filter(|name| !OWN.iter().any(|own| name.starts_with(own)))
        .map(PathBuf::from)
        .filter(|file| ctx.repo.join(file).is_file())
        .collect();
    files.dedup();
    Ok(files)
}

/// The blob id that a file's contents have, if there is such a file.
pub fn blob_id(git: &Git, file: &Path) -> Result<Option<String>> {
    if !file.is_file() {
        return Ok(None);
    }
    let arguments = [
        "hash-object".as_ref(),
        "--no-filters".as_ref(),
        file.as_os_str(),
    ];
    git.run(&arguments).map(Some)
}
