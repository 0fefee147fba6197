// SPDX-License-Identifier: GPL-2.0
//! Kernel configurations: fragments, and the rule that what they ask for is what they get.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::lane::Lane;
use crate::cli::Driver;
use crate::error::{At, Result};
use crate::git::Git;

/// The fragments of data/config, by name.
macro_rules! fragments {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../data/config/", $name, ".config")))),*]
    };
}

const FRAGMENTS: &[(&str, &str)] = fragments!(
    "base",
    "rust",
    "kunit-rust",
    "debug",
    "debug-rust",
    "tests",
    "bench",
    "latency",
    "kcsan",
    "arm64",
    "i386",
    "arm",
    "nommu",
);

/// The fragment of this name.
pub fn find(name: &str) -> Result<&'static str, String> {
    let found = FRAGMENTS.iter().find(|(known, _)| *known == name);
    found.map(|(_, text)| *text).ok_or_else(|| {
        let known: Vec<&str> = FRAGMENTS.iter().map(|(name, _)| *name).collect();
        format!("config: {name:?} is none of {}", known.join(", "))
    })
}

/// Symbols that come with a patch, and where they are declared.
const FROM_PATCHES: [(&str, &str); 5] = [
    ("UDMABUF_RUST", "drivers/dma-buf/Kconfig"),
    ("PIN_FD_KUNIT_TEST", "mm/Kconfig"),
    ("RUST_PIN_KUNIT_TEST", "rust/kernel/Kconfig.test"),
    ("RUST_MODULE_PARAM_KUNIT_TEST", "rust/kernel/Kconfig.test"),
    ("RUST_DMA_BUF_KUNIT_TEST", "rust/kernel/Kconfig.test"),
];

/// What is asked for at the tip of the stack.
pub fn wishes(driver: Driver, lane: &Lane) -> String {
    let mut text = String::new();
    for name in &lane.config {
        if driver == Driver::Rust || !is_for_rust(name) {
            let fragment = find(name).expect("series.toml was validated");
            text = without(&text, fragment) + fragment;
        }
    }
    let off: String = lane
        .without
        .iter()
        .map(|symbol| format!("# CONFIG_{symbol} is not set\n"))
        .collect();
    text = without(&text, &off) + &off;
    for symbol in &lane.with {
        text += &format!("CONFIG_{symbol}=y\n");
    }
    text
}

fn is_for_rust(fragment: &str) -> bool {
    fragment == "rust" || fragment.ends_with("-rust")
}

/// The wishes less those that `fragment` takes back with "is not set".
fn without(wishes: &str, fragment: &str) -> String {
    let taken_back: BTreeSet<String> = fragment
        .lines()
        .filter_map(off)
        .map(|symbol| format!("{symbol}=y"))
        .collect();
    wishes
        .lines()
        .filter(|line| !taken_back.contains(*line))
        .map(|line| format!("{line}\n"))
        .collect()
}

/// Whether such a kernel runs its KUnit suites when it boots.
pub fn runs_kunit(driver: Driver, lane: &Lane) -> bool {
    wishes(driver, lane).contains("CONFIG_KUNIT_AUTORUN_ENABLED=y\n")
}

/// The fragment for a tree. A symbol that comes with a patch is asked for only where the tree has it.
pub fn fragment(driver: Driver, lane: &Lane, tree: &Path) -> Result<String> {
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
    Ok(says(&text, symbol))
}

fn says(kconfig: &str, symbol: &str) -> bool {
    let line = format!("config {symbol}");
    kconfig.lines().any(|other| other.trim() == line)
}

/// The symbols that come with a patch, that the lane asks for, and that this commit does not declare: what they turn on
/// is not built, and is missed by nobody.
pub fn undeclared(git: &Git, commit: &str, lane: &Lane) -> Vec<String> {
    let wishes: String = lane
        .drivers
        .iter()
        .map(|&driver| wishes(driver, lane))
        .collect();
    let mut undeclared = Vec::new();
    for (symbol, file) in FROM_PATCHES {
        // A file that is not there declares nothing.
        let text = git.run(&["show", &format!("{commit}:{file}")]);
        let wished = wishes.contains(&format!("CONFIG_{symbol}=y\n"));
        if wished && !says(&text.unwrap_or_default(), symbol) {
            undeclared.push(format!("CONFIG_{symbol}: {file} does not declare it"));
        }
    }
    undeclared
}

/// What the fragment asked for and the configuration does not have: options that are off, or on all the same.
pub fn dropped<'a>(fragment: &'a str, dot_config: &str) -> Vec<&'a str> {
    let have: BTreeSet<&str> = dot_config.lines().collect();
    fragment
        .lines()
        .filter(|line| match off(line) {
            Some(symbol) => ["y", "m"]
                .iter()
                .any(|value| have.contains(format!("{symbol}={value}").as_str())),
            None => line.starts_with("CONFIG_") && !have.contains(line),
        })
        .collect()
}

/// The symbol that a line takes back.
fn off(line: &str) -> Option<&str> {
    line.strip_prefix("# ")?.strip_suffix(" is not set")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane(config: &[&str]) -> Lane {
        let mut lane = Lane::plain("x");
        lane.config = config.iter().map(|&name| name.to_owned()).collect();
        lane
    }

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
    fn a_symbol_that_stayed_on_is_named() {
        let fragment = "# CONFIG_A is not set\n# CONFIG_B is not set\n";
        assert_eq!(
            dropped(fragment, "CONFIG_A=y\n# CONFIG_B is not set\nCONFIG_BA=y\n"),
            ["# CONFIG_A is not set"]
        );
        assert_eq!(dropped(fragment, "CONFIG_B=m\n"), ["# CONFIG_B is not set"]);
    }

    #[test]
    fn a_lane_adds_options_and_takes_them_back() {
        let mut lane = lane(&["base", "rust"]);
        lane.with = vec!["COMPILE_TEST".to_owned()];
        lane.without = vec!["MEMFD_CREATE".to_owned()];
        let text = wishes(Driver::C, &lane);
        assert!(!text.contains("CONFIG_MEMFD_CREATE=y") && !text.contains("CONFIG_RUST=y"));
        assert!(text.ends_with("# CONFIG_MEMFD_CREATE is not set\nCONFIG_COMPILE_TEST=y\n"));
    }

    #[test]
    fn the_rust_driver_is_asked_for_where_the_tree_has_it() {
        let tree = tempfile::tempdir().unwrap();
        let dir = tree.path().join("drivers/dma-buf");
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("Kconfig"), "config UDMABUF\n").unwrap();
        let without = fragment(Driver::Rust, &lane(&["base", "rust"]), tree.path()).unwrap();
        assert!(!without.contains("UDMABUF_RUST") && without.contains("CONFIG_RUST=y"));
        fs::write(dir.join("Kconfig"), "config UDMABUF_RUST\n").unwrap();
        let with = fragment(Driver::Rust, &lane(&["base", "rust"]), tree.path()).unwrap();
        assert!(with.contains("CONFIG_UDMABUF_RUST=y"));
        let c = fragment(
            Driver::C,
            &lane(&["base", "rust", "debug", "debug-rust"]),
            tree.path(),
        )
        .unwrap();
        assert!(!c.contains("CONFIG_RUST") && c.contains("CONFIG_KASAN=y"));
    }

    #[test]
    fn a_symbol_that_the_tip_does_not_declare_is_named() {
        let tree = tempfile::tempdir().unwrap();
        let git = Git::at(tree.path());
        git.run(&["init", "--quiet", "."]).unwrap();
        fs::create_dir_all(tree.path().join("drivers/dma-buf")).unwrap();
        let undeclared = |symbol: &str, lane: &Lane| {
            let kconfig = tree.path().join("drivers/dma-buf/Kconfig");
            fs::write(kconfig, format!("config {symbol}\n")).unwrap();
            git.run(&["add", "-A"]).unwrap();
            let tip = git.run(&["write-tree"]).unwrap();
            super::undeclared(&git, &tip, lane)
        };
        let rust = lane(&["base", "rust"]);
        assert!(undeclared("UDMABUF_RUST", &rust).is_empty());
        assert_eq!(
            undeclared("UDMABUF_RS", &rust),
            ["CONFIG_UDMABUF_RUST: drivers/dma-buf/Kconfig does not declare it"]
        );
        assert!(undeclared("UDMABUF_RS", &lane(&["base"])).is_empty());
    }

    #[test]
    fn the_bench_lane_takes_back_what_checks() {
        assert_eq!(
            without("CONFIG_A=y\nCONFIG_AB=y\n", "# CONFIG_A is not set\n"),
            "CONFIG_AB=y\n"
        );
        let primary = wishes(Driver::Rust, &lane(&["base", "rust"]));
        let text = wishes(Driver::Rust, &lane(&["base", "rust", "bench"]));
        for gone in [
            "CONFIG_KUNIT=y",
            "CONFIG_FAULT_INJECTION=y",
            "CONFIG_DEBUG_KERNEL=y",
        ] {
            assert!(primary.contains(gone), "{gone}");
            assert!(!text.contains(gone), "{gone}");
        }
        assert!(text.contains("CONFIG_GUP_TEST=y") && text.contains("CONFIG_UDMABUF_RUST=y"));
        assert!(!text.contains("TRACER=y"));
        let traced = wishes(Driver::Rust, &lane(&["base", "rust", "bench", "latency"]));
        assert!(traced.starts_with(&text) && traced.contains("CONFIG_IRQSOFF_TRACER=y"));
    }
}
