// SPDX-License-Identifier: GPL-2.0
//! Kernel configurations: fragments, and the rule that what they ask for is what they get.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::cli::Driver;
use crate::error::{At, Error, Result};

const BASE: &str = include_str!("../../data/config/base.config");
const RUST: &str = include_str!("../../data/config/rust.config");
const DEBUG: &str = include_str!("../../data/config/debug.config");

/// A set of options that a kernel is built and booted with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    Primary,
    Debug,
}

impl Lane {
    pub fn named(name: Option<&str>) -> Result<Self> {
        match name {
            None | Some("primary") => Ok(Lane::Primary),
            Some("debug") => Ok(Lane::Debug),
            Some(other) => Err(
                Error::config(format!("--lane {other}"), "there is no such lane")
                    .mend("--lane primary")
                    .mend("--lane debug"),
            ),
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Lane::Primary => "primary",
            Lane::Debug => "debug",
        }
    }
}

/// The fragment for a tree. A symbol that comes with a patch is asked for only where the tree has it.
pub fn fragment(driver: Driver, lane: Lane, tree: &Path) -> Result<String> {
    let mut text = BASE.to_owned();
    if driver == Driver::Rust {
        text += RUST;
    }
    if lane == Lane::Debug {
        text += DEBUG;
    }
    let kconfig = tree.join("drivers/dma-buf/Kconfig");
    let has_rust_driver = fs::read_to_string(&kconfig)
        .at(&kconfig)?
        .contains("config UDMABUF_RUST");
    Ok(text
        .lines()
        .filter(|line| has_rust_driver || !line.contains("UDMABUF_RUST"))
        .map(|line| format!("{line}\n"))
        .collect())
}

/// What the fragment asked for and the configuration does not have.
pub fn dropped<'a>(fragment: &'a str, dot_config: &str) -> Vec<&'a str> {
    let have: BTreeSet<&str> = dot_config.lines().collect();
    fragment
        .lines()
        .filter(|line| line.starts_with("CONFIG_") && !have.contains(line))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_symbol_that_was_dropped_is_named() {
        let fragment = "# a comment\nCONFIG_A=y\nCONFIG_B=y\n";
        assert_eq!(
            dropped(fragment, "CONFIG_A=y\n# CONFIG_B is not set\n"),
            ["CONFIG_B=y"]
        );
        assert!(dropped(fragment, "CONFIG_B=y\nCONFIG_A=y\n").is_empty());
    }

    #[test]
    fn the_rust_driver_is_asked_for_where_the_tree_has_it() {
        let tree = tempfile::tempdir().unwrap();
        let dir = tree.path().join("drivers/dma-buf");
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("Kconfig"), "config UDMABUF\n").unwrap();
        let without = fragment(Driver::Rust, Lane::Primary, tree.path()).unwrap();
        assert!(!without.contains("UDMABUF_RUST") && without.contains("CONFIG_RUST=y"));
        fs::write(dir.join("Kconfig"), "config UDMABUF_RUST\n").unwrap();
        let with = fragment(Driver::Rust, Lane::Primary, tree.path()).unwrap();
        assert!(with.contains("CONFIG_UDMABUF_RUST=y"));
        let c = fragment(Driver::C, Lane::Debug, tree.path()).unwrap();
        assert!(!c.contains("CONFIG_RUST=y") && c.contains("CONFIG_KASAN=y"));
    }

    #[test]
    fn unknown_lanes_are_refused() {
        assert!(Lane::named(Some("no-such")).is_err());
        assert_eq!(Lane::named(None).unwrap(), Lane::Primary);
    }
}
