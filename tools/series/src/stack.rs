// SPDX-License-Identifier: GPL-2.0
//! The patches as commits on the base, made without a worktree.

use crate::base::Base;
use crate::context::Context;
use crate::error::{Error, Result};

/// One patch, as a commit on top of those before it.
#[derive(Debug, Clone)]
pub struct PatchCommit {
    /// The part's folder under patches/.
    pub part: String,
    /// The patch file, relative to the repository.
    pub file: String,
    pub subject: String,
    /// The commit.
    pub id: String,
    /// The commit's tree: what it builds depends on this alone.
    pub tree: String,
}

/// All patches on the base. Always what patches/ holds, never what somebody's worktree holds.
#[derive(Debug, Clone)]
pub struct Stack {
    pub base: Base,
    /// In order, through all parts; cover commits are left out.
    pub commits: Vec<PatchCommit>,
    /// The last commit; the base if there is no patch.
    pub tip: String,
    pub tip_tree: String,
}

/// The patches as commits, made now if patches/ changed.
pub fn ensure(_ctx: &Context) -> Result<Stack> {
    Err(Error::not_run("stack", "not written yet"))
}
