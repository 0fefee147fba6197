// SPDX-License-Identifier: GPL-2.0
//! One part as a branch that `b4 prep` takes for one of its own: a commit with the cover letter and what b4 wants to know
//! of the series, then the patches.
//!
//! b4 finds the first commit by the address of its committer, and only if it is younger than a year: the commits are made
//! now, by whoever runs this.

use serde_json::json;

use super::thread;
use crate::clock;
use crate::error::{Error, Result};
use crate::git::Git;
use crate::stack::PatchCommit;

/// Below this line of a cover letter stands what b4 keeps.
const MARKER: &str = "--- b4-submit-tracking ---";

/// A name and an address.
#[derive(Debug, Clone)]
pub struct Person {
    pub name: String,
    pub email: String,
}

impl std::fmt::Display for Person {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} <{}>", self.name, self.email)
    }
}

#[derive(Debug, Clone)]
pub struct Branch<'a> {
    /// The part's folder.
    pub part: &'a str,
    /// The commit that its first patch applies to.
    pub onto: String,
    pub patches: Vec<PatchCommit>,
    pub cover: &'a str,
    pub to: &'a [String],
    pub cc: &'a [String],
    pub version: u32,
    pub rfc: bool,
    /// "change-id: x:v1", "patch-id: 0123", "base-commit: 4567".
    pub prerequisites: Vec<String>,
    pub committer: &'a Person,
    /// Add a Signed-off-by of the committer.
    pub signoff: bool,
}

impl Branch<'_> {
    /// Makes the commits, and returns the last one. No branch is moved.
    pub fn make(&self, git: &Git) -> Result<String> {
        let now = format!("{} +0000", clock::now());
        let git = &git
            .with("GIT_COMMITTER_NAME", &self.committer.name)
            .with("GIT_COMMITTER_EMAIL", &self.committer.email)
            .with("GIT_COMMITTER_DATE", &now);
        let ours = git
            .with("GIT_AUTHOR_NAME", &self.committer.name)
            .with("GIT_AUTHOR_EMAIL", &self.committer.email)
            .with("GIT_AUTHOR_DATE", &now);
        let tree = crate::stack::tree_of(git, &self.onto)?;
        let message = self.message();
        let mut tip = ours.run_with_input(
            &["commit-tree", &tree, "-p", &self.onto],
            message.as_bytes(),
        )?;
        for patch in &self.patches {
            tip = self.patch(git, patch, &tip)?;
        }
        Ok(tip)
    }

    fn patch(&self, git: &Git, patch: &PatchCommit, parent: &str) -> Result<String> {
        let format = "--format=%an%x00%ae%x00%ad%x00%B";
        let said = git.run(&["show", "--no-patch", "--date=raw", format, &patch.id])?;
        let fields: Vec<&str> = said.splitn(4, '\0').collect();
        let [name, email, date, message] = fields[..] else {
            return Err(Error::finding(&patch.file, "its commit cannot be read"));
        };
        let mut message = message.trim_end().to_owned();
        if self.signoff {
            message = thread::with_signature(&message, &self.committer.to_string());
        }
        message.push('\n');
        git.with("GIT_AUTHOR_NAME", name)
            .with("GIT_AUTHOR_EMAIL", email)
            .with("GIT_AUTHOR_DATE", date)
            .run_with_input(
                &["commit-tree", &patch.tree, "-p", parent],
                message.as_bytes(),
            )
    }

    /// Cover letter, recipients, what b4 keeps.
    fn message(&self) -> String {
        let (subject, body) = self.cover.split_once('\n').unwrap_or((self.cover, ""));
        let mut text = format!("{}\n\n", subject.trim());
        for line in body.trim().lines() {
            // b4 leaves out lines that start with #.
            let quote = if line.starts_with('#') { ">" } else { "" };
            text += &format!("{quote}{line}\n");
        }
        text.push('\n');
        if self.signoff {
            text += &format!("Signed-off-by: {}\n", self.committer);
        }
        for (name, addresses) in [("To", self.to), ("Cc", self.cc)] {
            for address in addresses {
                text += &format!("{name}: {address}\n");
            }
        }
        let prefixes: &[&str] = if self.rfc { &["RFC"] } else { &[] };
        let mut series = json!({
            "revision": self.version,
            "change-id": thread::change_id(self.part),
            "prefixes": prefixes,
        });
        if !self.prerequisites.is_empty() {
            series["prerequisites"] = json!(self.prerequisites);
        }
        let tracking = serde_json::to_string_pretty(&json!({ "series": series }));
        format!(
            "{}\n\n{MARKER}\n# b4 prep keeps its own data here.\n{}\n",
            text.trim_end(),
            tracking.expect("plain data")
        )
    }
}

/// Moves a branch to a commit, unless that would lose somebody's work.
pub fn place(git: &Git, name: &str, tip: &str) -> Result<()> {
    let reference = format!("refs/heads/{name}");
    let record = format!("refs/series/b4/{name}");
    let place = format!("branch {name}");
    if !git.test(&["check-ref-format", &reference])? {
        return Err(Error::config(&place, "is no name that git takes").mend("choose another name"));
    }
    let there = git.resolve(&reference)?;
    if there.is_some() && there != git.resolve(&record)? {
        return Err(Error::finding(
            &place,
            "exists, and is not as this tool left it: it may hold work of yours",
        )
        .mend(format!(
            "git -C '{}' branch -m {name} {name}-old",
            git.dir().display()
        ))
        .mend("cargo series mail --b4-branch ANOTHER-NAME"));
    }
    let worktrees = git.run(&["worktree", "list", "--porcelain"])?;
    let checked_out = format!("branch {reference}");
    if let Some(at) = worktrees
        .split("\n\n")
        .find(|w| w.lines().any(|line| line == checked_out))
    {
        let dir = at.lines().next().unwrap_or_default();
        let dir = dir.strip_prefix("worktree ").unwrap_or(dir);
        return Err(Error::finding(&place, format!("is checked out in {dir}"))
            .mend(format!("git -C '{dir}' checkout --detach")));
    }
    git.run(&["update-ref", &reference, tip])?;
    git.set_ref(&record, tip)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_of_a_cover_letter_is_lost_to_b4() {
        let person = Person {
            name: "A".to_owned(),
            email: "a@b".to_owned(),
        };
        let branch = Branch {
            part: "1-fixes",
            onto: String::new(),
            patches: Vec::new(),
            cover: "Fixes\n\n# A heading\n\nText.\n",
            to: &["x@y".to_owned()],
            cc: &[],
            version: 1,
            rfc: true,
            prerequisites: Vec::new(),
            committer: &person,
            signoff: false,
        };
        let message = branch.message();
        let start = format!("Fixes\n\n># A heading\n\nText.\n\nTo: x@y\n\n{MARKER}\n#");
        assert!(message.starts_with(&start), "{message}");
        assert!(
            message.contains("\"RFC\"") && !message.contains("prerequisites"),
            "{message}"
        );
    }
}
