// SPDX-License-Identifier: GPL-2.0
//! The toolchain root.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::context::Context;
use crate::error::{Error, Result};

#[derive(Debug, Clone)]
pub struct Toolchain {
    /// The folder that becomes `/`.
    root: PathBuf,
    /// Changes whenever a tool may have changed; part of the key of every cached result.
    pub id: String,
}

impl Toolchain {
    /// The toolchain, made now if it is missing.
    pub fn ensure(_ctx: &Context) -> Result<Self> {
        Err(Error::not_run("toolchain", "not written yet"))
    }

    /// A command that runs `program` inside the root with each host path mounted at its place inside.
    pub fn command(&self, _mounts: &[(&Path, &str)], program: &str) -> Command {
        let mut command = Command::new(&self.root);
        command.arg(program);
        command
    }
}
