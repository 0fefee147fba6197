// SPDX-License-Identifier: GPL-2.0
//! What every command works on: the repository, its `series.toml`, the cache.

use std::path::PathBuf;

use sha2::{Digest, Sha256};

use crate::cache::Cache;
use crate::cli::{Global, ToolchainChoice};
use crate::config::Config;
use crate::error::{Error, Result};

#[derive(Debug, Clone)]
pub struct Context {
    /// The top folder of the repository, where `series.toml` is. Absolute, no symbolic links.
    pub repo: PathBuf,
    pub config: Config,
    pub cache: Cache,
    pub toolchain: ToolchainChoice,
}

impl Context {
    /// Finds the repository in the current folder or above.
    pub fn find(global: &Global) -> Result<Self> {
        let here = std::env::current_dir()
            .and_then(|dir| dir.canonicalize())
            .map_err(|e| Error::environment("current folder", e))?;
        let repo = here
            .ancestors()
            .find(|dir| dir.join("series.toml").is_file())
            .ok_or_else(|| {
                Error::config(here.display(), "no series.toml here or in any folder above")
                    .mend("change to the repository, then run this again")
            })?
            .to_owned();
        let config = Config::load(&repo.join("series.toml"))?;
        Ok(Context {
            repo,
            config,
            cache: Cache::open()?,
            toolchain: global.toolchain,
        })
    }

    /// The same on another base of `series.toml`.
    pub fn on_base(&self, name: &str) -> Result<Self> {
        Ok(Context {
            config: self.config.on(name)?,
            ..self.clone()
        })
    }

    /// A short name for this clone, to keep its worktrees apart from another clone's.
    pub fn id(&self) -> String {
        short_hash(self.repo.as_os_str().as_encoded_bytes())
    }
}

/// Bytes as lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Twelve digits that stand for these bytes.
pub fn short_hash(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))[..12].to_owned()
}
