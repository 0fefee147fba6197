// SPDX-License-Identifier: GPL-2.0
//! Lanes: `[[kernel.lanes]]` of `series.toml`. Each is a way to build kernels, and what is asked of them.

use std::collections::BTreeMap;
use std::iter;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use super::GuestTest;
use super::arch::Arch;
use super::kconfig;
use super::own;
use crate::cli::Driver;
use crate::error::{Error, Result};
use crate::toolchain::Root;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lane {
    pub name: String,
    #[serde(default = "Arch::native")]
    pub arch: &'static Arch,
    #[serde(default)]
    pub compiler: Compiler,
    /// The toolchain root that has what it needs.
    #[serde(default)]
    pub root: Root,
    /// Fragments of tools/series/data/config, in this order; each can take back what those before it ask for. What is
    /// called `rust`, or `something-rust`, is left out of a kernel with the C driver, which has no Rust at all.
    #[serde(default)]
    pub config: Vec<String>,
    /// Options that are on, besides.
    #[serde(default)]
    pub with: Vec<String>,
    /// Options that are off, whatever the fragments ask for.
    #[serde(default)]
    pub without: Vec<String>,
    /// The lane whose fragments and options these are, instead of own ones.
    pub like: Option<String>,
    /// The drivers that `test` builds the tip with; the base is built as for the first of them. Without any the lane is not tested by itself: it is for figures.
    #[serde(default)]
    pub drivers: Vec<Driver>,
    /// Variables for make: W=1, C=1, CLIPPY=1.
    #[serde(default)]
    pub make: Vec<String>,
    /// Targets of make that must succeed besides a kernel with Rust: rustfmtcheck, rustdoc, rusttest.
    #[serde(default)]
    pub checks: Vec<String>,
    /// What the stack touches is compiled, and nothing is linked.
    #[serde(default)]
    pub objects_only: bool,
    /// `test --full` builds the tip in it, and does not walk through the patches: what it shows beside the lanes where
    /// every patch is built is worth one build.
    #[serde(default)]
    pub tip_only: bool,
    /// `test` boots it and runs the tests.
    #[serde(default)]
    pub boots: bool,
    /// Added to the command line of its guests.
    #[serde(default)]
    pub append: String,
    /// The lane whose base its tests are compared with, if that is not its own. Its options bring warnings of their own,
    /// which are then compared with nothing.
    pub base: Option<String>,
    /// Tests that do not run in it, and why not; they count as skipped.
    #[serde(default)]
    pub leave_out: BTreeMap<String, String>,
    /// A test may take this many times as long in it.
    #[serde(default = "as_long")]
    pub slower: u32,
    /// How many cases of a test may be skipped in it, where that differs.
    #[serde(default)]
    pub skips: BTreeMap<String, usize>,
    /// How many cases a test has in it, where that differs.
    #[serde(default)]
    pub cases: BTreeMap<String, usize>,
    /// The guests with a memory of their own that are booted in it too.
    #[serde(default)]
    pub guests: Vec<String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compiler {
    #[default]
    Clang,
    Gcc,
}

fn as_long() -> u32 {
    1
}

/// The lane that is meant where none is named.
pub const PRIMARY: &str = "primary";

impl Lane {
    /// The driver that is meant where none is named.
    pub fn driver(&self, named: Option<Driver>) -> Result<Driver> {
        let builds = |driver| self.drivers.is_empty() || self.drivers.contains(&driver);
        match named {
            None if builds(Driver::Rust) => Ok(Driver::Rust),
            None => Ok(Driver::C),
            Some(driver) if builds(driver) => Ok(driver),
            Some(_) => Err(Error::config(
                format!("--lane {}", self.name),
                "has no kernel with this driver: see its drivers = in series.toml",
            )
            .mend("leave out --driver")),
        }
    }

    /// The driver that the base is built as, with or without Rust. Its udmabuf is always the one in C.
    pub fn base_driver(&self) -> Driver {
        self.drivers.first().copied().unwrap_or(Driver::C)
    }

    /// What make is asked for. A kernel without Rust has no targets that check it.
    pub fn targets(&self, driver: Driver) -> Vec<&str> {
        let checks = self.checks.iter().filter(|_| driver == Driver::Rust);
        iter::once(self.arch.target)
            .chain(checks.map(String::as_str))
            .collect()
    }

    /// A kernel of this lane can be booted, and not only built.
    pub fn need_machine(&self) -> Result<()> {
        if self.arch.machine.is_some() && !self.objects_only {
            return Ok(());
        }
        Err(
            Error::config(format!("--lane {}", self.name), "is built and not booted")
                .mend(format!("cargo series test --lane {}", self.name)),
        )
    }

    /// Why this test does not run in it, if it does not: `leave_out` says so, or it is a program of this tool.
    pub fn leaves_out(&self, test: &GuestTest) -> Option<&str> {
        let foreign = test.own && self.arch != Arch::native();
        let said = self.leave_out.get(&test.name).map(String::as_str);
        said.or(foreign.then_some(own::NATIVE_ONLY))
    }

    /// What is passed to make in each call.
    pub fn make_variables(&self) -> Vec<String> {
        let mut variables: Vec<String> = match self.compiler {
            Compiler::Clang => vec!["LLVM=1".to_owned(), "CC=ccache clang".to_owned()],
            Compiler::Gcc => vec![format!("CC=ccache {}gcc", self.arch.cross)],
        };
        if self.compiler == Compiler::Gcc && !self.arch.cross.is_empty() {
            variables.push(format!("CROSS_COMPILE={}", self.arch.cross));
        }
        if self.arch != Arch::native() {
            variables.push(format!("ARCH={}", self.arch.name));
        }
        variables.extend(self.make.iter().cloned());
        variables
    }

    /// What the key of a kernel must hold besides sources, tools, configuration and the lane's name.
    ///
    /// Nothing for a plain kernel of this machine's architecture.
    pub fn key(&self) -> String {
        let plain = self.compiler == Compiler::Clang && self.arch == Arch::native();
        if plain && self.make.is_empty() && self.checks.is_empty() {
            return String::new();
        }
        format!(
            " {} {}",
            self.make_variables().join(" "),
            self.checks.join(" ")
        )
    }

    /// What is complained about in it is compared with its own base. The primary lane, where the patches are built one by
    /// one, sees to that at every patch.
    pub fn is_compared(&self) -> bool {
        self.name != PRIMARY && self.base.is_none() && !self.drivers.is_empty()
    }

    /// The tests that are something else in it.
    fn named_tests(&self) -> impl Iterator<Item = &String> {
        let numbers = self.skips.keys().chain(self.cases.keys());
        self.leave_out.keys().chain(numbers)
    }

    /// Sparse is asked for.
    pub fn wants_sparse(&self) -> bool {
        self.make.iter().any(|variable| variable.starts_with("C="))
    }

    /// What can be said about a lane by itself.
    fn validate(&self) -> Result<(), String> {
        let plain = |text: &str| {
            !text.is_empty()
                && text
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || "-_".contains(c))
        };
        if !plain(&self.name) {
            return Err("name is no plain name".to_owned());
        }
        if self.config.is_empty() {
            return Err("config names no fragments".to_owned());
        }
        for name in &self.config {
            kconfig::find(name)?;
        }
        for symbol in self.with.iter().chain(&self.without) {
            if !plain(symbol) || symbol.starts_with("CONFIG_") {
                return Err(format!(
                    "{symbol:?} is no symbol: write HUGETLBFS for CONFIG_HUGETLBFS"
                ));
            }
        }
        let is_variable = |text: &&String| {
            text.split_once('=')
                .is_some_and(|(name, value)| plain(name) && plain(value))
        };
        if let Some(wrong) = self.make.iter().find(|text| !is_variable(text)) {
            return Err(format!("make: {wrong:?} is no variable: write W=1"));
        }
        if let Some(wrong) = self.checks.iter().find(|text| !plain(text)) {
            return Err(format!("checks: {wrong:?} is no target of make"));
        }
        if self.boots && (self.arch.machine.is_none() || self.objects_only) {
            return Err("boots = true: there is no machine or no kernel for it".to_owned());
        }
        let booted = self.named_tests().chain(&self.guests).next();
        if booted.is_some() && !self.boots {
            return Err(
                "leave_out, skips, cases and guests are for lanes with boots = true".to_owned(),
            );
        }
        if !(1..=10).contains(&self.slower) {
            return Err(format!("slower = {} is not from 1 to 10", self.slower));
        }
        if self.objects_only && !self.checks.is_empty() {
            return Err("objects_only leaves no room for checks".to_owned());
        }
        if !self.checks.is_empty() && !self.drivers.contains(&Driver::Rust) {
            return Err("checks are made with the driver \"rust\" only".to_owned());
        }
        if self.tip_only && (self.name == PRIMARY || self.drivers.is_empty()) {
            return Err("tip_only is for lanes that are tested beside the primary one".to_owned());
        }
        Ok(())
    }
}

/// What can be said about all of them; `tests` and `guests` are those that there are.
pub fn validate(lanes: &[Lane], tests: &[&str], guests: &[&str]) -> Result<(), String> {
    for (i, lane) in lanes.iter().enumerate() {
        let wrong = |cause: String| format!("kernel.lanes {:?}: {cause}", lane.name);
        lane.validate().map_err(wrong)?;
        if lanes[..i].iter().any(|other| other.name == lane.name) {
            return Err(wrong("two lanes have this name".to_owned()));
        }
        if let Some(base) = &lane.base {
            let good = |other: &&Lane| other.name == *base && other.boots && other.base.is_none();
            if !lanes.iter().any(|other| good(&other)) {
                return Err(wrong(format!(
                    "base = {base:?} is no lane that is booted and has a base of its own"
                )));
            }
        }
        for test in lane.named_tests() {
            if !tests.contains(&test.as_str()) {
                return Err(wrong(format!("no test {test:?}")));
            }
        }
        if let Some(guest) = lane
            .guests
            .iter()
            .find(|name| !guests.contains(&name.as_str()))
        {
            return Err(wrong(format!("no guest {guest:?}")));
        }
    }
    Ok(())
}

/// Reads the lanes, and gives those that are `like` another one its options.
pub fn read_all<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Lane>, D::Error> {
    let read = Vec::<Lane>::deserialize(from)?;
    let mut lanes = read.clone();
    for lane in &mut lanes {
        let Some(name) = &lane.like else { continue };
        let wrong = |cause: &str| {
            D::Error::custom(format!(
                "kernel.lanes {:?}: like = {name:?} {cause}",
                lane.name
            ))
        };
        if [&lane.config, &lane.with, &lane.without]
            .iter()
            .any(|own| !own.is_empty())
        {
            return Err(wrong("leaves no room for config, with and without"));
        }
        let model = read
            .iter()
            .find(|other| other.name == *name && other.like.is_none());
        let model = model.ok_or_else(|| wrong("is no lane that has options of its own"))?;
        lane.config.clone_from(&model.config);
        lane.with.clone_from(&model.with);
        lane.without.clone_from(&model.without);
    }
    Ok(lanes)
}

/// The lane of this name.
pub fn named<'a>(lanes: &'a [Lane], name: &str) -> Result<&'a Lane> {
    lanes.iter().find(|lane| lane.name == name).ok_or_else(|| {
        let known: Vec<&str> = lanes.iter().map(|lane| lane.name.as_str()).collect();
        let error = Error::config(format!("--lane {name}"), "series.toml has no such lane");
        if known.is_empty() {
            return error.mend("add a [[kernel.lanes]] of this name to it");
        }
        error.mend(format!("one of {}", known.join(", ")))
    })
}

impl Lane {
    /// A lane with nothing special about it.
    #[cfg(test)]
    pub fn plain(name: &str) -> Self {
        Lane {
            name: name.to_owned(),
            arch: Arch::native(),
            compiler: Compiler::Clang,
            root: Root::Main,
            config: vec!["base".to_owned(), "rust".to_owned()],
            with: Vec::new(),
            without: Vec::new(),
            like: None,
            drivers: vec![Driver::Rust, Driver::C],
            make: Vec::new(),
            checks: Vec::new(),
            objects_only: false,
            tip_only: false,
            boots: false,
            append: String::new(),
            base: None,
            leave_out: BTreeMap::new(),
            slower: as_long(),
            skips: BTreeMap::new(),
            cases: BTreeMap::new(),
            guests: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(change: impl FnOnce(&mut Lane)) -> String {
        let mut lane = Lane::plain("x");
        change(&mut lane);
        match validate(&[lane], &["pin_fd"], &["cma"]) {
            Ok(()) => "nothing".to_owned(),
            Err(cause) => cause,
        }
    }

    fn read(text: &str) -> Result<Lane, String> {
        toml::from_str(text).map_err(|e| e.to_string())
    }

    #[test]
    fn what_a_lane_leaves_out_is_that_of_a_plain_kernel() {
        let lane = read("name = \"x\"\nconfig = [\"base\"]\n").unwrap();
        assert_eq!(lane.make_variables(), ["LLVM=1", "CC=ccache clang"]);
        assert_eq!(lane.key(), "");
        assert!(!lane.boots && lane.root == Root::Main);
    }

    #[test]
    fn what_is_written_wrong_is_named() {
        let start = "name = \"x\"\nconfig = [\"base\"]\n";
        for (line, named) in [
            ("arch = \"z80\"", "none of x86_64, i386"),
            ("compiler = \"tcc\"", "tcc"),
            ("root = \"sid\"", "sid"),
            ("drivers = [\"go\"]", "go"),
            ("boot = true", "boot"),
        ] {
            let cause = read(&format!("{start}{line}\n")).unwrap_err();
            assert!(cause.contains(named), "{cause}");
        }
    }

    #[test]
    fn lanes_that_cannot_be_are_refused() {
        assert_eq!(wrong(|_| ()), "nothing");
        for (cause, part) in [
            (
                wrong(|lane| lane.config = vec!["bas".into()]),
                "\"bas\" is none of base",
            ),
            (
                wrong(|lane| lane.without = vec!["CONFIG_KVM".into()]),
                "HUGETLBFS for",
            ),
            (wrong(|lane| lane.make = vec!["W".into()]), "write W=1"),
            (
                wrong(|lane| lane.make = vec!["CC=a b".into()]),
                "no variable",
            ),
            (
                wrong(|lane| lane.checks = vec!["-j".into(), "a b".into()]),
                "\"a b\"",
            ),
            (
                wrong(|lane| {
                    lane.checks = vec!["rustdoc".into()];
                    lane.drivers = vec![Driver::C];
                }),
                "with the driver \"rust\"",
            ),
            (
                wrong(|lane| lane.skips = [("pin_fd".to_owned(), 1)].into()),
                "boots = true",
            ),
            (
                wrong(|lane| lane.base = Some("primary".into())),
                "no lane that is booted",
            ),
            (
                wrong(|lane| {
                    lane.boots = true;
                    lane.leave_out = [("pin".to_owned(), "no".to_owned())].into();
                }),
                "no test \"pin\"",
            ),
            (
                wrong(|lane| lane.guests = vec!["cma".into()]),
                "boots = true",
            ),
            (
                wrong(|lane| {
                    lane.tip_only = true;
                    lane.drivers.clear();
                }),
                "beside the primary one",
            ),
            (
                wrong(|lane| {
                    lane.boots = true;
                    lane.guests = vec!["cma".into(), "camel".into()];
                }),
                "no guest \"camel\"",
            ),
            (
                wrong(|lane| {
                    lane.boots = true;
                    lane.objects_only = true;
                }),
                "no kernel",
            ),
        ] {
            assert!(cause.contains("\"x\"") && cause.contains(part), "{cause}");
        }
        assert!(wrong(|lane| lane.name = "a b".into()).contains("plain name"));
        let primary = wrong(|lane| {
            lane.tip_only = true;
            lane.name = PRIMARY.to_owned();
        });
        assert!(primary.contains("beside the primary one"), "{primary}");
        let twice = [Lane::plain("x"), Lane::plain("x")];
        assert!(
            validate(&twice, &[], &[])
                .unwrap_err()
                .contains("two lanes")
        );
    }

    #[test]
    fn the_first_lanes_are_kept_by_their_configuration_alone() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../series.toml");
        let config = crate::config::Config::load(file.as_ref()).unwrap();
        for (name, fragments) in [
            ("primary", vec!["base", "rust", "kunit-rust", "tests"]),
            (
                "debug",
                vec!["base", "rust", "kunit-rust", "tests", "debug", "debug-rust"],
            ),
        ] {
            let lane = config.kernel.lane(Some(name)).unwrap();
            let text: String = fragments
                .iter()
                .map(|name| kconfig::find(name).unwrap())
                .collect();
            assert_eq!(kconfig::wishes(Driver::Rust, lane), text, "{name}");
            assert_eq!(lane.key(), "", "{name}");
        }
        assert!(config.kernel.lane(Some("none")).is_err());
        assert_eq!(config.kernel.lane(None).unwrap().name, PRIMARY);
    }

    #[test]
    fn a_lane_can_have_the_options_of_another_one() {
        #[derive(Deserialize)]
        struct Lanes {
            #[serde(deserialize_with = "read_all")]
            lanes: Vec<Lane>,
        }
        let read = |like: &str| {
            let model =
                "[[lanes]]\nname = \"x\"\nconfig = [\"base\"]\nwith = [\"A\"]\nwithout = [\"B\"]\n";
            let text = format!("{model}[[lanes]]\nname = \"y\"\nlike = {like}\n");
            toml::from_str::<Lanes>(&text).map(|read| read.lanes)
        };
        let lanes = read("\"x\"\nmake = [\"W=1\"]").unwrap();
        assert_eq!(lanes[1].config, ["base"]);
        assert_eq!(lanes[1].with, ["A"]);
        assert_eq!(lanes[1].without, ["B"]);
        assert_eq!((lanes[0].make.len(), lanes[1].make.len()), (0, 1));
        for (like, cause) in [
            ("\"z\"", "no lane that has options"),
            ("\"y\"", "no lane that has options"),
            ("\"x\"\nwithout = [\"C\"]", "leaves no room"),
        ] {
            let said = read(like).unwrap_err().to_string();
            assert!(said.contains(cause) && said.contains("\"y\""), "{said}");
        }
    }

    #[test]
    fn the_driver_is_one_that_the_lane_has() {
        let mut lane = Lane::plain("x");
        assert_eq!(lane.driver(None).unwrap(), Driver::Rust);
        assert_eq!(lane.driver(Some(Driver::C)).unwrap(), Driver::C);
        lane.drivers = vec![Driver::C];
        assert_eq!(lane.driver(None).unwrap(), Driver::C);
        assert!(lane.driver(Some(Driver::Rust)).is_err());
        // For figures: whatever is asked for.
        lane.drivers.clear();
        assert_eq!(lane.driver(None).unwrap(), Driver::Rust);
        assert_eq!(lane.driver(Some(Driver::C)).unwrap(), Driver::C);
    }

    #[test]
    fn other_compilers_and_architectures_have_keys_of_their_own() {
        let gcc = read(
            "name = \"x\"\nconfig = []\narch = \"arm64\"\ncompiler = \"gcc\"\nmake = [\"W=1\"]\n",
        )
        .unwrap();
        assert_eq!(
            gcc.make_variables(),
            [
                "CC=ccache aarch64-linux-gnu-gcc",
                "CROSS_COMPILE=aarch64-linux-gnu-",
                "ARCH=arm64",
                "W=1"
            ]
        );
        assert!(gcc.key().contains("W=1"));
        let mut checks = Lane::plain("x");
        checks.checks = vec!["rustdoc".to_owned()];
        assert_ne!(checks.key(), "");
    }

    #[test]
    fn a_kernel_without_rust_is_not_checked() {
        let mut lane = Lane::plain("x");
        lane.checks = vec!["rustdoc".to_owned()];
        assert_eq!(lane.targets(Driver::Rust), ["bzImage", "rustdoc"]);
        assert_eq!(lane.targets(Driver::C), ["bzImage"]);
    }
}
