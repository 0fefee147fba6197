// SPDX-License-Identifier: GPL-2.0
//! The last run of `test`, kept in the cache, and `report`, which shows it again in other forms.

mod html;
mod junit;
mod kcidb;
mod markdown;
mod text;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::cache;
use crate::cli::{Form, ReportArgs};
use crate::context::Context;
use crate::error::{self, At, Error, Outcome, Result};
use crate::progress::StepTime;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Pass,
    Fail,
    Skip,
    /// It had to run and did not: no better than a failure.
    NotRun,
}

impl Kind {
    pub fn word(self) -> &'static str {
        match self {
            Kind::Pass => "pass",
            Kind::Fail => "FAIL",
            Kind::Skip => "skip",
            Kind::NotRun => "NOT RUN",
        }
    }
}

/// One thing that was tested. What does not apply is empty.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    pub kind: Kind,
    /// "tip+rust", "patch 3+c"; empty for what needs no kernel.
    pub kernel: String,
    /// The test program; [`BUILD`] and [`BOOT`] are tests of the kernel itself.
    pub test: String,
    pub case: String,
    /// Why it ended in this way, where that needs words.
    pub reason: String,
    /// Where it was measured.
    pub seconds: Option<f64>,
    /// How many tests ended like this, where somebody else counted them.
    #[serde(default = "one")]
    pub tests: usize,
}

fn one() -> usize {
    1
}

pub const BUILD: &str = "build";
pub const BENCH: &str = "bench";
pub const EXAMPLES: &str = "examples that must not compile";
pub const BOOT: &str = "boot";

impl Entry {
    pub fn new(kind: Kind, kernel: &str, test: &str, case: &str) -> Self {
        Entry {
            kind,
            kernel: kernel.to_owned(),
            test: test.to_owned(),
            case: case.to_owned(),
            reason: String::new(),
            seconds: None,
            tests: one(),
        }
    }

    pub fn pass(kernel: &str, test: &str, case: &str) -> Self {
        Self::new(Kind::Pass, kernel, test, case)
    }

    pub fn fail(kernel: &str, test: &str, case: &str) -> Self {
        Self::new(Kind::Fail, kernel, test, case)
    }

    pub fn skip(kernel: &str, test: &str, case: &str) -> Self {
        Self::new(Kind::Skip, kernel, test, case)
    }

    pub fn not_run(kernel: &str, test: &str, case: &str) -> Self {
        Self::new(Kind::NotRun, kernel, test, case)
    }

    pub fn because(mut self, reason: impl std::fmt::Display) -> Self {
        self.reason = reason.to_string().trim().to_owned();
        self
    }

    pub fn taking(mut self, time: Duration) -> Self {
        self.seconds = Some(time.as_secs_f64());
        self
    }

    pub fn standing_for(mut self, tests: usize) -> Self {
        self.tests = tests;
        self
    }

    /// A pass, or what [`Self::broken`] makes of the error.
    pub fn of<T>(result: &Result<T>, kernel: &str, test: &str, case: &str) -> Self {
        match result {
            Ok(_) => Self::pass(kernel, test, case),
            Err(e) => Self::broken(e, kernel, test, case),
        }
    }

    /// A failure with the error; but what the machine lacks is no fault of what was to be tested.
    pub fn broken(error: &Error, kernel: &str, test: &str, case: &str) -> Self {
        let kind = match error.kind() {
            error::Kind::Environment => Kind::NotRun,
            error::Kind::Finding | error::Kind::Config => Kind::Fail,
        };
        Self::new(kind, kernel, test, case).because(error)
    }

    pub fn failed(&self) -> bool {
        matches!(self.kind, Kind::Fail | Kind::NotRun)
    }

    /// "tip+c: udmabuf: test-1"
    pub fn name(&self) -> String {
        join(&[&self.kernel, &self.test, &self.case])
    }

    /// The number of the patch whose kernel this is of, and what it was built as: "patch 3+rust" is (3, "rust"), and in
    /// a lane, "gcc patch 3+c" is (3, "gcc c").
    pub fn patch(&self) -> Option<(usize, String)> {
        let (lane, rest) = self.kernel.split_once("patch ")?;
        let (number, driver) = rest.split_once('+').unwrap_or((rest, ""));
        Some((number.parse().ok()?, format!("{lane}{driver}")))
    }
}

/// As `test` says it: a reason of several lines follows in lines of its own.
impl std::fmt::Display for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}  {}", self.kind.word(), self.name())?;
        match &self.reason {
            reason if reason.is_empty() => Ok(()),
            reason if reason.contains('\n') => write!(f, "\n{reason}"),
            reason => write!(f, ": {reason}"),
        }
    }
}

/// Those that are not empty, with a colon between them.
fn join(parts: &[&str]) -> String {
    let parts: Vec<&str> = parts.iter().copied().filter(|p| !p.is_empty()).collect();
    parts.join(": ")
}

/// A patch of the stack that was tested.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PatchName {
    pub part: String,
    pub subject: String,
    /// Of the patch file.
    pub sha256: String,
}

/// What kernels of a lane were built for, and with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaneTools {
    pub arch: String,
    /// Empty, if it could not be had.
    pub toolchain: String,
}

/// A whole run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The base's name and the git tree that the patches led to.
    pub base: String,
    pub tree: String,
    /// Seconds since 1970.
    pub started: u64,
    pub seconds: u64,
    /// The tools that built and booted, outside of lanes.
    pub toolchain: String,
    /// The lanes that were tested by name: a kernel of one starts with its name, "debug tip+c".
    #[serde(default)]
    pub lanes: BTreeMap<String, LaneTools>,
    /// What programs in guests did in all, as `test` prints it; empty, if they said nothing.
    #[serde(default)]
    pub figures: String,
    /// As `test` prints it last.
    pub sum: String,
    /// All patches in order; `Entry::patch` counts them from 1.
    pub patches: Vec<PatchName>,
    pub entries: Vec<Entry>,
    /// What took the time.
    pub steps: Vec<StepTime>,
}

fn path(ctx: &Context) -> Result<PathBuf> {
    Ok(ctx.cache.dir("report")?.join(format!("{}.json", ctx.id())))
}

/// Forgets the last run: one that ends early must not be taken for it.
pub fn forget(ctx: &Context) -> Result<()> {
    let path = path(ctx)?;
    match fs::remove_file(&path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e).at(&path),
        _ => Ok(()),
    }
}

impl Report {
    pub fn save(&self, ctx: &Context) -> Result<()> {
        self.write(&path(ctx)?)
    }

    fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self).expect("plain data");
        cache::write_whole(path, text.as_bytes())
    }

    fn read(path: &Path) -> Result<Self> {
        let missing = |cause: String| {
            Error::config(path.display(), cause)
                .mend("cargo series test, and let it come to its end")
        };
        let bytes =
            fs::read(path).map_err(|e| missing(format!("no finished run is kept here: {e}")))?;
        serde_json::from_slice(&bytes).map_err(|e| missing(e.to_string()))
    }

    /// How many tests ended like this, as in the sum of `test`.
    fn count(&self, kind: Kind) -> usize {
        let entries = self.entries.iter().filter(|entry| entry.kind == kind);
        entries.map(|entry| entry.tests).sum()
    }

    /// The kernels that something is said about, in order.
    fn kernels(&self) -> Vec<&str> {
        in_order(self.entries.iter().map(|entry| entry.kernel.as_str()))
    }

    /// The lane of a kernel, and its name there: "debug tip+c" is "tip+c" in the lane "debug".
    fn lane<'a>(&self, kernel: &'a str) -> (Option<&LaneTools>, &'a str) {
        let split = kernel.split_once(' ');
        let found = split.and_then(|(lane, rest)| Some((self.lanes.get(lane)?, rest)));
        found.map_or((None, kernel), |(lane, rest)| (Some(lane), rest))
    }

    /// "2026-11-15 00:00:00"
    fn date(&self) -> String {
        crate::clock::date(self.started)
    }
}

/// Each once, where it was first, without the empty one.
fn in_order<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut seen = std::collections::BTreeSet::new();
    names
        .filter(|name| !name.is_empty() && seen.insert(*name))
        .collect()
}

/// For text and attributes of XML and HTML; characters that XML does not have become spaces.
fn escape(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '&' => "&amp;".to_owned(),
            '<' => "&lt;".to_owned(),
            '>' => "&gt;".to_owned(),
            '"' => "&quot;".to_owned(),
            '\n' | '\t' => c.to_string(),
            c if c.is_control() => " ".to_owned(),
            c => c.to_string(),
        })
        .collect()
}

pub fn report(ctx: &Context, args: &ReportArgs) -> Result<Outcome> {
    let report = match &args.from {
        Some(file) => Report::read(file)?,
        None => Report::read(&path(ctx)?)?,
    };
    let text = match args.form {
        Form::Text => text::render(&report),
        Form::Md => markdown::render(&report),
        Form::Junit => junit::render(&report),
        Form::Html => html::render(&report),
        Form::Kcidb => kcidb::render(&report, &args.origin),
    };
    out!("{text}");
    Ok(outcome(&report.entries))
}

/// How a run ends in which this was found: with the worst of it.
pub fn outcome(entries: &[Entry]) -> Outcome {
    let of = |entry: &Entry| match entry.kind {
        Kind::Fail => Outcome::Findings,
        Kind::NotRun => Outcome::NotRun,
        Kind::Pass | Kind::Skip => Outcome::Clean,
    };
    entries.iter().map(of).fold(Outcome::Clean, Outcome::and)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the forms are tested with.
    pub fn sample() -> Report {
        let patch = |part: &str, subject: &str| PatchName {
            part: part.to_owned(),
            subject: subject.to_owned(),
            sha256: "a".repeat(64),
        };
        Report {
            base: "7.3.4".to_owned(),
            tree: "5b1b93321fb4c4dd9c489ce15c4f3caaadd798d7".to_owned(),
            started: 1_794_700_800,
            seconds: 125,
            toolchain: "trixie-0123".to_owned(),
            lanes: BTreeMap::new(),
            figures: "in all: 12 calls, 3 refused".to_owned(),
            sum: "4 passed, 2 failed, 1 skipped".to_owned(),
            patches: vec![
                patch("1-fixes", "mm: <one> & \"two\""),
                patch("2-feature", "mm: three"),
            ],
            entries: vec![
                Entry::pass("", "check", "").because("54 patches"),
                Entry::pass("patch 1+rust", BUILD, "what it touches")
                    .taking(Duration::from_secs(31)),
                Entry::fail("patch 2+rust", BUILD, "whole kernel")
                    .because("error: x\n    \"a\" < b && c\u{1b}[0m"),
                Entry::pass("tip+c", BOOT, "").taking(Duration::from_millis(300)),
                Entry::pass("tip+c", "udmabuf", "test-1"),
                Entry::skip("tip+c", "iommufd", "x: y").because("as on the base"),
                Entry::not_run("tip+rust", BOOT, "").because("the budget is spent"),
            ],
            steps: vec![StepTime {
                name: "booting tip+c".to_owned(),
                seconds: 61.5,
            }],
        }
    }

    #[test]
    fn what_was_kept_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.json");
        let error = Report::read(&path).unwrap_err().to_string();
        assert!(error.contains("cargo series test"), "{error}");
        sample().write(&path).unwrap();
        assert_eq!(Report::read(&path).unwrap(), sample());
    }

    #[test]
    fn an_entry_in_words() {
        let entry = Entry::skip("tip+c", "iommufd", "x: y");
        assert_eq!(entry.to_string(), "skip  tip+c: iommufd: x: y");
        let entry = entry.because("not here ");
        assert_eq!(entry.to_string(), "skip  tip+c: iommufd: x: y: not here");
        let entry = Entry::fail("", "check", "").because("one\ntwo");
        assert_eq!(entry.to_string(), "FAIL  check\none\ntwo");
    }

    #[test]
    fn what_the_machine_lacks_is_no_failure_of_a_patch() {
        let of = |error: Error| Entry::of(&Err::<(), _>(error), "tip+c", BUILD, "").kind;
        assert_eq!(of(Error::finding("mm/gup.c", "x")), Kind::Fail);
        assert_eq!(of(Error::config("series.toml", "x")), Kind::Fail);
        assert_eq!(of(Error::environment("/", "no disk")), Kind::NotRun);
        let passed = Entry::of(&Ok::<_, Error>(()), "tip+c", BUILD, "");
        assert_eq!(passed.kind, Kind::Pass);
    }

    #[test]
    fn the_patch_of_a_kernel() {
        let patch = |kernel: &str| Entry::pass(kernel, "", "").patch();
        assert_eq!(patch("patch 12+rust"), Some((12, "rust".to_owned())));
        assert_eq!(patch("gcc patch 3+c"), Some((3, "gcc c".to_owned())));
        assert_eq!(patch("tip+rust"), None);
    }
}
