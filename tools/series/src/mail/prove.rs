// SPDX-License-Identifier: GPL-2.0
//! What was mailed must lead to the tree that was tested: through `git am`, and through b4 as maintainers use it.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::branch::Branch;
use super::thread;
use crate::base::Base;
use crate::error::{At, Error, Result};
use crate::git::Git;
use crate::patches::PartFiles;
use crate::run;
use crate::toolchain::Toolchain;

/// Where one part starts and where it must lead.
pub struct Goal<'a> {
    pub base: &'a Base,
    /// The last commit before the part.
    pub onto: &'a str,
    /// The tree after its last patch.
    pub tree: String,
    pub part: &'a PartFiles,
}

impl Goal<'_> {
    /// `git am` of a mailbox leads to the tree. No network, and only the files that the patches touch are checked out.
    pub fn git_am(&self, mbox: &Path) -> Result<()> {
        let (_dir, git) = self.checkout()?;
        let path = mbox.to_string_lossy();
        // The cover letter is a mail without a patch.
        let output = git.attempt(&["am", "--quiet", "--empty=drop", "--keep-cr", &path])?;
        if !output.status.success() {
            let said = format!(
                "{}{}",
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            );
            return Err(failed(mbox, "git am does not apply it").detail(run::tail(&said)));
        }
        let tree = crate::stack::tree_of(&git, "HEAD")?;
        if tree == self.tree {
            return Ok(());
        }
        let range = format!("{}..HEAD", self.onto);
        let count = git.run(&["rev-list", "--count", &range])?;
        Err(failed(
            mbox,
            format!(
                "git am of its {count} patches leads to tree {tree}, the {} patches lead to {}",
                self.part.patches.len(),
                self.tree
            ),
        ))
    }

    /// A repository of its own that shares the base's objects.
    fn checkout(&self) -> Result<(TempDir, Git)> {
        let dir = tempfile::tempdir().at("temporary folder")?;
        let git = Git::at(dir.path());
        git.run(&["init", "--quiet"])?;
        let alternates = dir.path().join(".git/objects/info/alternates");
        let objects = self.base.git.join("objects");
        fs::write(&alternates, format!("{}\n", objects.display())).at(&alternates)?;
        let mut touched = String::new();
        for patch in &self.part.patches {
            for diff in patch.parse()?.diffs {
                touched += &format!("/{}\n", diff.path);
            }
        }
        git.run_with_input(
            &["sparse-checkout", "set", "--no-cone", "--stdin"],
            touched.as_bytes(),
        )?;
        git.run(&["checkout", "--quiet", "--detach", self.onto])?;
        Ok((dir, git))
    }

    /// b4 takes the mailbox for a complete series, and what it makes of it leads to the same tree.
    pub fn b4(&self, toolchain: &Toolchain, mbox: &Path) -> Result<()> {
        let out = tempfile::tempdir().at("temporary folder")?;
        let place = out.path().join("series.mbox");
        fs::copy(mbox, &place).at(mbox)?;
        let mut command = toolchain.command(&[(out.path(), "/mail")], "b4");
        command.args(["--offline-mode", "am", "-m", "/mail/series.mbox"]);
        command.args(["-C", "-o", "/mail/out"]);
        let output = run::capture(&mut command)?;
        let said = format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        let complete = complete(&said, self.part.patches.len());
        if !output.status.success() || complete.is_err() {
            let cause = complete.err().unwrap_or_else(|| "b4 am fails".to_owned());
            return Err(failed(mbox, cause).detail(run::tail(&said)));
        }
        self.git_am(&made_by_b4(&out.path().join("out"))?)
            .map_err(|e| failed(mbox, "what b4 makes of it is something else").detail(e.summary()))
    }

    /// b4 takes this branch for one that it prepares, and the patches that it makes of it lead to the tree.
    pub fn b4_prep(&self, toolchain: &Toolchain, branch: &Branch) -> Result<()> {
        let (dir, git) = self.checkout()?;
        git.run(&["branch", "named", &branch.make(&git)?])?;
        // b4 would look for the mails of a part that this one names in an archive, and there need be no network.
        let mut alone = branch.clone();
        alone
            .prerequisites
            .retain(|line| line.starts_with("patch-id:"));
        git.run(&["branch", "alone", &alone.make(&git)?])?;
        git.run(&["checkout", "--quiet", "alone"])?;
        git.run(&["config", "user.name", &branch.committer.name])?;
        git.run(&["config", "user.email", &branch.committer.email])?;
        // As the folders are called inside.
        let alternates = dir.path().join(".git/objects/info/alternates");
        fs::write(&alternates, "/linux.git/objects\n").at(&alternates)?;
        let out = tempfile::tempdir().at("temporary folder")?;
        let b4 = |arguments: &[&str]| -> Result<String> {
            let mounts = [
                (dir.path(), "/work"),
                (&self.base.git, "/linux.git"),
                (out.path(), "/mail"),
            ];
            let mut command = toolchain.command(&mounts, "env");
            command.args(["-C", "/work", "b4", "--offline-mode", "prep"]);
            let output = run::capture(command.args(arguments))?;
            let said = format!(
                "{}{}",
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            );
            if output.status.success() {
                return Ok(said);
            }
            let place = format!("b4 prep {}", arguments.join(" "));
            Err(no_branch(&place, run::describe(output.status)).detail(run::tail(&said)))
        };
        let change_id = thread::change_id(branch.part);
        let said = b4(&["--show-info", "named"])?;
        if info(&said, "change-id") != Some(&change_id) {
            let cause = format!("does not find the change-id {change_id}");
            return Err(no_branch("b4 prep", cause).detail(run::tail(&said)));
        }
        b4(&["--format-patch", "/mail"])?;
        let mut names = Vec::new();
        for entry in fs::read_dir(out.path()).at(out.path())? {
            let path = entry.at(out.path())?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            // The cover letter is no patch, and git am would look for one in it.
            if !name.starts_with("0000-") {
                names.push(path);
            }
        }
        names.sort();
        let mut mails = Vec::new();
        for name in &names {
            mails.extend(fs::read(name).at(name)?);
            mails.push(b'\n');
        }
        let mbox = out.path().join("all.mbox");
        fs::write(&mbox, mails).at(&mbox)?;
        self.git_am(&mbox).map_err(|e| {
            no_branch("b4 prep", "what it makes of the branch is something else").detail(e)
        })
    }
}

/// What `b4 prep --show-info` says under this name.
fn info<'a>(said: &'a str, name: &str) -> Option<&'a str> {
    said.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

/// Whether b4 found that many patches and missed none: its exit status does not tell.
fn complete(said: &str, count: usize) -> Result<(), String> {
    if let Some(line) = said.lines().find(|line| line.contains("ERROR:")) {
        return Err(format!("b4 says {:?}", line.trim()));
    }
    let total = said
        .lines()
        .find_map(|line| line.trim().strip_prefix("Total patches: "))
        .and_then(|rest| rest.split(' ').next()?.parse::<usize>().ok());
    match total {
        Some(total) if total == count => Ok(()),
        Some(total) => Err(format!("b4 finds {total} patches of {count}")),
        None => Err("b4 finds no patches".to_owned()),
    }
}

fn made_by_b4(dir: &Path) -> Result<PathBuf> {
    for entry in fs::read_dir(dir).at(dir)? {
        let path = entry.at(dir)?.path();
        if path.extension().is_some_and(|end| end == "mbx") {
            return Ok(path);
        }
    }
    Err(Error::environment("b4", "wrote no mailbox")
        .mend("cargo series mail --no-b4, which proves it with git am alone"))
}

fn failed(mbox: &Path, cause: impl std::fmt::Display) -> Error {
    Error::finding(mbox.display(), cause).mend("cargo series mail, which writes it anew")
}

/// b4 does not take a branch of ours as it should.
fn no_branch(place: &str, cause: impl std::fmt::Display) -> Error {
    Error::finding(place, cause)
        .mend("cargo series mail, which makes a mailbox instead")
        .mend("cargo series mail --no-b4 --b4-branch, which makes the branch without the proof")
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = "Analyzing 3 messages in the thread\n---\n  [PATCH 1/2] mm: one\n  [PATCH 2/2] mm: two\n---\nTotal patches: 2\n---\n";

    #[test]
    fn b4_counts_the_patches() {
        assert_eq!(complete(WHOLE, 2), Ok(()));
        assert!(complete(WHOLE, 3).is_err());
        assert!(complete("No patches found.\n", 2).is_err());
    }

    #[test]
    fn what_b4_says_of_a_branch() {
        let said = "branch: proof\nchange-id: fixes-01\nrevision: 2\n";
        assert_eq!(info(said, "change-id"), Some("fixes-01"));
        assert_eq!(info(said, "base-branch"), None);
    }

    #[test]
    fn b4_names_a_missing_patch_and_exits_with_0() {
        let said = "  [PATCH 1/2] mm: one\n  ERROR: missing [2/2]!\n---\nTotal patches: 2\n";
        assert!(complete(said, 2).unwrap_err().contains("missing [2/2]"));
    }
}
