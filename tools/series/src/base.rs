// SPDX-License-Identifier: GPL-2.0
//! The base kernel: fetched, verified and kept as one git commit.

use std::path::PathBuf;

use crate::context::Context;
use crate::error::{Error, Result};

/// The base as a commit in the cache's bare repository.
#[derive(Debug, Clone)]
pub struct Base {
    pub git: PathBuf,
    pub commit: String,
    pub tree: String,
}

/// The base, fetched and imported now if it is missing.
pub fn ensure(_ctx: &Context) -> Result<Base> {
    Err(Error::not_run("base", "not written yet"))
}
