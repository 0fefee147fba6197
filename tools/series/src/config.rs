// SPDX-License-Identifier: GPL-2.0
//! `series.toml`: the only metadata that is written by hand.

mod caret;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::error::{At, Error, Result};
use crate::kernel;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The name of the base that the patches are written for.
    base: String,
    bases: BTreeMap<String, BaseSource>,
    /// What subjects may start with, up to the first colon. Anything, if there are none.
    #[serde(default)]
    pub prefixes: Vec<String>,
    pub parts: Vec<Part>,
    /// What is built and booted; read by [`crate::kernel`] alone.
    #[serde(default)]
    pub kernel: kernel::Settings,
}

/// Where a base kernel comes from, and what proves that it is the right one.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "SourceTable")]
pub enum BaseSource {
    /// A Debian source package.
    Debian(DebianSource),
    /// A git repository on this machine.
    Git(GitSource),
}

#[derive(Debug, Clone)]
pub struct DebianSource {
    pub package: String,
    pub version: String,
    pub suite: String,
    /// Of the .deb file.
    pub sha256: String,
    /// The tarball inside the package.
    pub tarball: PathBuf,
    /// The git tree id of its contents.
    pub tree: Option<String>,
}

#[derive(Debug, Clone)]
pub struct GitSource {
    pub git: PathBuf,
    /// HEAD, if there is none.
    pub commit: Option<String>,
    pub tree: Option<String>,
}

/// The fields of both kinds, so that a wrong one is reported by its name and line.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SourceTable {
    package: Option<String>,
    version: Option<String>,
    suite: Option<String>,
    sha256: Option<String>,
    tarball: Option<PathBuf>,
    git: Option<PathBuf>,
    commit: Option<String>,
    tree: Option<String>,
}

impl TryFrom<SourceTable> for BaseSource {
    type Error = String;

    fn try_from(table: SourceTable) -> Result<Self, String> {
        match (table.package, table.git) {
            (Some(package), None) => {
                let need = |name: &str| format!("a base with package = needs {name} = too");
                Ok(BaseSource::Debian(DebianSource {
                    package,
                    version: table.version.ok_or_else(|| need("version"))?,
                    suite: table.suite.ok_or_else(|| need("suite"))?,
                    sha256: table.sha256.ok_or_else(|| need("sha256"))?,
                    tarball: table.tarball.ok_or_else(|| need("tarball"))?,
                    tree: table.tree,
                }))
            }
            (None, Some(git)) => Ok(BaseSource::Git(GitSource {
                git,
                commit: table.commit,
                tree: table.tree,
            })),
            _ => Err("a base has either package = or git =".to_owned()),
        }
    }
}

/// One part of the stack: patches that are reviewed and merged together.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// The folder under patches/.
    pub dir: String,
    /// Lists and addresses that its mails go to.
    #[serde(default)]
    pub to: Vec<String>,
    #[serde(default)]
    pub cc: Vec<String>,
}

impl Config {
    pub fn load(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).at(path)?;
        let config: Config = toml::from_str(&text).map_err(|e| {
            // toml shows line, column and a caret under the place.
            Error::config(path.display(), e.message().trim_end())
                .detail(e.to_string().trim_end())
                .mend(format!("correct {}", path.display()))
        })?;
        config.validate().map_err(|cause| {
            let place = caret::shown(&text, &cause).unwrap_or_default();
            Error::config(path.display(), cause)
                .detail(place)
                .mend(format!("correct {}", path.display()))
        })?;
        Ok(config)
    }

    /// The base that the patches are written for.
    pub fn base(&self) -> (&str, &BaseSource) {
        (&self.base, &self.bases[&self.base])
    }

    /// The same on another of the bases.
    pub fn on(&self, base: &str) -> Result<Self> {
        let mut config = self.clone();
        base.clone_into(&mut config.base);
        config.validate().map_err(|_| {
            let known: Vec<&str> = self.bases.keys().map(String::as_str).collect();
            Error::config(format!("--base {base}"), "series.toml has no such base")
                .mend(format!("one of {}", known.join(", ")))
        })?;
        Ok(config)
    }

    /// Bases that the patches were not written for, and are tried on.
    pub fn other_bases(&self) -> Vec<&str> {
        let others = self.bases.keys().filter(|name| **name != self.base);
        others.map(String::as_str).collect()
    }

    /// Whether the base is a whole kernel from a package, as opposed to a git tree by path.
    pub fn base_is_packaged(&self) -> bool {
        matches!(self.base().1, BaseSource::Debian(_))
    }

    fn validate(&self) -> Result<(), String> {
        if !self.bases.contains_key(&self.base) {
            let known: Vec<&str> = self.bases.keys().map(String::as_str).collect();
            return Err(format!(
                "base = {:?} names none of the bases: {}",
                self.base,
                known.join(", ")
            ));
        }
        for (i, part) in self.parts.iter().enumerate() {
            let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            if part.dir.is_empty() || part.dir.starts_with('.') || !part.dir.chars().all(plain) {
                return Err(format!(
                    "part {:?}: dir must be the plain name of a folder under patches/",
                    part.dir
                ));
            }
            let address = |text: &String| text.contains('@') && !text.contains(['\n', '\r', ',']);
            if let Some(wrong) = part.to.iter().chain(&part.cc).find(|text| !address(text)) {
                return Err(format!("part {:?}: {wrong:?} is no mail address", part.dir));
            }
            // `git am patches/*/*.patch` takes the parts in the shell's order.
            if i > 0 && self.parts[i - 1].dir >= part.dir {
                return Err(format!(
                    "part {:?} sorts behind part {:?}, so that patches/*/*.patch is not their order",
                    self.parts[i - 1].dir,
                    part.dir
                ));
            }
        }
        self.kernel.validate()
    }
}
