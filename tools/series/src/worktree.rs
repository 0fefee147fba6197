// SPDX-License-Identifier: GPL-2.0
//! Checkouts: the build worktree, and the one that a person edits.

use std::path::PathBuf;

use crate::context::Context;
use crate::error::{Error, Result};

/// The build worktree of this clone with this commit checked out, exactly. Unchanged files keep their times.
///
/// It is the tool's own: what somebody edits in the worktree of `apply` never gets here.
pub fn at(_ctx: &Context, _commit: &str) -> Result<PathBuf> {
    Err(Error::not_run("worktree", "not written yet"))
}
