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
const DEBUG_RUST: &str = include_str!("../../data/config/debug-rust.config");
const BENCH: &str = include_str!("../../data/config/bench.config");
const LATENCY: &str = include_str!("../../data/config/latency.config");

/// Symbols that come with a patch, and where they are declared.
const FROM_PATCHES: [(&str, &str); 5] = [
    ("UDMABUF_RUST", "drivers/dma-buf/Kconfig"),
    ("PIN_FD_KUNIT_TEST", "mm/Kconfig"),
    ("RUST_PIN_KUNIT_TEST", "rust/kernel/Kconfig.test"),
    ("RUST_MODULE_PARAM_KUNIT_TEST", "rust/kernel/Kconfig.test"),
    ("RUST_DMA_BUF_KUNIT_TEST", "rust/kernel/Kconfig.test"),
];

/// A set of options that a kernel is built and booted with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    Primary,
    Debug,
    /// For figures: nothing in it checks, injects or tests.
    Bench,
    /// As `Bench`, with tracers: for the time without interrupts or preemption.
    Latency,
}

impl Lane {
    pub fn named(name: Option<&str>) -> Result<Self> {
        match name {
            None | Some("primary") => Ok(Lane::Primary),
            Some("debug") => Ok(Lane::Debug),
            Some("bench") => Ok(Lane::Bench),
            Some("latency") => Ok(Lane::Latency),
            Some(other) => Err(
                Error::config(format!("--lane {other}"), "there is no such lane")
                    .mend("--lane primary")
                    .mend("--lane debug")
                    .mend("--lane bench"),
            ),
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Lane::Primary => "primary",
            Lane::Debug => "debug",
            Lane::Bench => "bench",
            Lane::Latency => "latency",
        }
    }
}

/// What is asked for at the tip of the stack.
pub fn wishes(driver: Driver, lane: Lane) -> String {
    let mut text = BASE.to_owned();
    if driver == Driver::Rust {
        text += RUST;
    }
    if lane == Lane::Debug {
        text += DEBUG;
        if driver == Driver::Rust {
            text += DEBUG_RUST;
        }
    }
    if matches!(lane, Lane::Bench | Lane::Latency) {
        text = without(&text, BENCH) + BENCH;
    }
    if lane == Lane::Latency {
        text += LATENCY;
    }
    text
}

/// The wishes less those that `fragment` takes back with "is not set".
fn without(wishes: &str, fragment: &str) -> String {
    let taken_back: BTreeSet<String> = fragment
        .lines()
        .filter_map(|line| line.strip_prefix("# ")?.strip_suffix(" is not set"))
        .map(|symbol| format!("{symbol}=y"))
        .collect();
    wishes
        .lines()
        .filter(|line| !taken_back.contains(*line))
        .map(|line| format!("{line}\n"))
        .collect()
}

/// Whether such a kernel runs its KUnit suites when it boots.
pub fn runs_kunit(driver: Driver, lane: Lane) -> bool {
    wishes(driver, lane).contains("CONFIG_KUNIT_AUTORUN_ENABLED=y\n")
}

/// The fragment for a tree. A symbol that comes with a patch is asked for only where the tree has it.
pub fn fragment(driver: Driver, lane: Lane, tree: &Path) -> Result<String> {
    let mut text = wishes(driver, lane);
    for (symbol, file) in FROM_PATCHES {
        let wish = format!("CONFIG_{symbol}=y\n");
        if text.contains(&wish) && !declares(&tree.join(file), symbol)? {
            text = text.replace(&wish, "");
        }
    }
    Ok(text)
}

fn declares(kconfig: &Path, symbol: &str) -> Result<bool> {
    let text = fs::read_to_string(kconfig).at(kconfig)?;
    Ok(text
        .lines()
        .any(|line| line.trim() == format!("config {symbol}")))
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
    fn the_bench_lane_takes_back_what_checks() {
        assert_eq!(
            without("CONFIG_A=y\nCONFIG_AB=y\n", "# CONFIG_A is not set\n"),
            "CONFIG_AB=y\n"
        );
        let text = wishes(Driver::Rust, Lane::Bench);
        for gone in [
            "CONFIG_KUNIT=y",
            "CONFIG_FAULT_INJECTION=y",
            "CONFIG_DEBUG_KERNEL=y",
        ] {
            assert!(wishes(Driver::Rust, Lane::Primary).contains(gone), "{gone}");
            assert!(!text.contains(gone), "{gone}");
        }
        assert!(text.contains("CONFIG_GUP_TEST=y") && text.contains("CONFIG_UDMABUF_RUST=y"));
        assert!(!text.contains("TRACER=y"));
        let traced = wishes(Driver::Rust, Lane::Latency);
        assert!(traced.starts_with(&text) && traced.contains("CONFIG_IRQSOFF_TRACER=y"));
    }

    #[test]
    fn unknown_lanes_are_refused() {
        assert!(Lane::named(Some("no-such")).is_err());
        assert_eq!(Lane::named(None).unwrap(), Lane::Primary);
    }
}
