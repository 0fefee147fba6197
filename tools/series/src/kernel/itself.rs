// SPDX-License-Identifier: GPL-2.0
//! The tool is tested too: its own tests, its form, and what clippy says of it. That is done with the cargo that built it;
//! what such a machine need not have is skipped, and that is said.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use sha2::{Digest, Sha256};

use crate::cache;
use crate::clock;
use crate::context::{Context, hex};
use crate::error::{At, Result};
use crate::progress;
use crate::report::Entry;
use crate::run;

/// Components of cargo that many machines lack, and what they are asked.
const COMPONENTS: [(&str, &[&str]); 2] = [
    ("fmt", &["--check"]),
    (
        "clippy",
        &[
            "--quiet",
            "--release",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ],
    ),
];

/// What came of it, or what came of it earlier with the same sources, if all was well.
pub fn test(ctx: &Context, use_kept: bool) -> Result<Vec<Entry>> {
    let cargo = Cargo {
        program: std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()),
        manifest: ctx.repo.join("tools/series/Cargo.toml"),
    };
    let folder = ctx.cache.dir("own-tests")?;
    // What cannot be read is not kept.
    let key = || sources(&ctx.repo, &cargo.versions()).ok();
    let before = key();
    if let (true, Some(key)) = (use_kept, &before)
        && let Some(entries) = find(&folder.join(key))
    {
        return Ok(entries);
    }
    let entries = ask(&cargo);
    // Somebody may have edited them meanwhile.
    if let Some(key) = before.filter(|before| key().as_ref() == Some(before))
        && !entries.iter().any(Entry::failed)
    {
        let text = serde_json::to_string(&entries).expect("plain data");
        cache::write_whole(&folder.join(key), text.as_bytes())?;
    }
    Ok(entries)
}

/// What was kept, dated; nothing, if it cannot be read.
fn find(kept: &Path) -> Option<Vec<Entry>> {
    let written = fs::metadata(kept).and_then(|meta| meta.modified()).ok()?;
    let date = clock::date(clock::seconds(written));
    let entries: Vec<Entry> = serde_json::from_slice(&fs::read(kept).ok()?).ok()?;
    let dated = |entry: Entry| Entry {
        reason: format!("{}, as on {date} UTC with the same sources", entry.reason),
        seconds: None,
        ..entry
    };
    Some(entries.into_iter().map(dated).collect())
}

/// Stands for all that the tool is made of and what its tests read, and for the tools that this is asked with.
fn sources(repo: &Path, versions: &str) -> Result<String> {
    let mut hash = Sha256::new();
    hash.update(versions);
    let places = [
        "README.md",
        "series.toml",
        "rustfmt.toml",
        "clippy.toml",
        "rust-toolchain.toml",
        ".cargo",
        "tools/series",
    ];
    let mut places = places
        .into_iter()
        .map(|name| repo.join(name))
        .collect::<Vec<_>>();
    while let Some(place) = places.pop() {
        if place == repo.join("tools/series/target") || !place.exists() {
            continue;
        }
        if place.is_dir() {
            let entries = fs::read_dir(&place).at(&place)?;
            let inside = entries.map(|entry| Ok(entry.at(&place)?.path()));
            let mut inside = inside.collect::<Result<Vec<PathBuf>>>()?;
            inside.sort();
            places.append(&mut inside);
            continue;
        }
        let name = place.strip_prefix(repo).unwrap_or(&place);
        hash.update(name.as_os_str().as_encoded_bytes());
        hash.update([0]);
        hash.update(Sha256::digest(fs::read(&place).at(&place)?));
    }
    Ok(hex(&hash.finalize()))
}

fn ask(cargo: &Cargo) -> Vec<Entry> {
    let mut entries = own_tests(cargo);
    for (component, arguments) in COMPONENTS {
        let start = Instant::now();
        let step = progress::step(format_args!("cargo {component} on the tool"));
        let entry = cargo.ask(component, arguments);
        step.done();
        entries.push(entry.taking(start.elapsed()));
    }
    entries
}

struct Cargo {
    program: OsString,
    manifest: PathBuf,
}

impl Cargo {
    /// Of all that the tests are made and run with.
    fn versions(&self) -> String {
        let asked: [&[&str]; 3] = [&["-vV"], &["fmt", "--version"], &["clippy", "--version"]];
        let cargo = asked.map(|asked| run::text(Command::new(&self.program).args(asked)));
        let others = ["rustc", "git"].map(|name| run::text(Command::new(name).arg("--version")));
        let flags = ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS"].map(std::env::var_os);
        format!("{cargo:?} {others:?} {flags:?}")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let (first, rest) = arguments.split_first().expect("a command of cargo");
        let mut command = Command::new(&self.program);
        command
            .arg(first)
            .arg("--manifest-path")
            .arg(&self.manifest)
            .args(rest);
        command
    }

    fn ask(&self, component: &str, arguments: &[&str]) -> Entry {
        let what = format!("cargo {component}");
        let version = run::text(Command::new(&self.program).args([component, "--version"]));
        let Ok(version) = version else {
            return Entry::skip("", &what, "").because("is not installed here");
        };
        let mut command = self.command(&[&[component], arguments].concat());
        let output = match run::capture(&mut command) {
            Ok(output) => output,
            Err(e) => return Entry::broken(&e, "", &what, ""),
        };
        if output.status.success() {
            return Entry::pass("", &what, "").because(version);
        }
        let said = [output.stdout, output.stderr].concat();
        Entry::fail("", &what, "").because(format_args!(
            "{}cargo {component} --manifest-path tools/series/Cargo.toml {}\n{}",
            version,
            arguments.join(" "),
            run::tail(&String::from_utf8_lossy(&said))
        ))
    }
}

/// The tool's own tests, counted one by one.
fn own_tests(cargo: &Cargo) -> Vec<Entry> {
    let mut command = cargo.command(&["test", "--quiet", "--release"]);
    let start = Instant::now();
    let step = progress::step("the tool's own tests");
    let what = "the tool's own tests";
    let output = match run::capture(&mut command) {
        Ok(output) => output,
        Err(e) => return vec![Entry::not_run("", what, "").because(e)],
    };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (passed, failed) = count_cargo(&text);
    step.done();
    if output.status.success() && passed > 0 {
        let entry = Entry::pass("", what, "").because(passed);
        return vec![entry.taking(start.elapsed()).standing_for(passed)];
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let entry = Entry::fail("", what, "").because(format_args!(
        "cargo test --manifest-path tools/series/Cargo.toml\n{}\n{}",
        run::tail(&text),
        run::tail(&said)
    ));
    let others = Entry::pass("", what, "").because(format_args!("{passed} others"));
    let others = (passed > 0).then(|| others.standing_for(passed));
    others
        .into_iter()
        .chain([entry.standing_for(failed.max(1))])
        .collect()
}

/// The sums of "test result: ok. 12 passed; 0 failed; ...".
fn count_cargo(text: &str) -> (usize, usize) {
    let number = |line: &str, word: &str| -> usize {
        line.split(word)
            .next()
            .and_then(|before| before.trim().rsplit(' ').next())
            .and_then(|digits| digits.parse().ok())
            .unwrap_or(0)
    };
    text.lines()
        .filter(|line| line.starts_with("test result:"))
        .fold((0, 0), |(passed, failed), line| {
            (
                passed + number(line, " passed"),
                failed + number(line, " failed"),
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Kind;

    #[test]
    fn what_passed_is_kept_until_a_source_changes() {
        let dir = tempfile::tempdir().unwrap();
        let repo = dir.path();
        let write = |name: &str, text: &str| {
            let path = repo.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
            sources(repo, "cargo 1").unwrap()
        };
        let first = write("tools/series/src/main.rs", "one");
        assert_eq!(write("tools/series/target/release/series", "x"), first);
        assert_eq!(write("patches/1/0001-x.patch", "x"), first);
        assert_ne!(write("tools/series/src/main.rs", "two"), first);
        assert_eq!(write("tools/series/src/main.rs", "one"), first);
        assert_ne!(sources(repo, "cargo 2").unwrap(), first);
        assert_ne!(write("series.toml", "x"), first);

        let kept = repo.join("kept");
        assert!(find(&kept).is_none());
        let entries = [Entry::pass("", "own tests", "").because("12")];
        fs::write(&kept, serde_json::to_string(&entries).unwrap()).unwrap();
        let found = find(&kept).unwrap();
        assert!(found[0].reason.starts_with("12, as on 20"), "{found:?}");
    }

    #[test]
    fn cargo_results_are_added_up() {
        let text = "\ntest result: ok. 12 passed; 0 failed; 0 ignored\nx\ntest result: FAILED. 3 passed; 2 failed; 0 ignored\n";
        assert_eq!(count_cargo(text), (15, 2));
        assert_eq!(count_cargo(""), (0, 0));
    }

    #[test]
    fn a_component_passes_fails_or_is_skipped() {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("cargo");
        // What it says of its version, and what it finds.
        let ask = |version: &str, found: &str| {
            let script = format!(
                "#!/bin/sh\ncase \"$*\" in\n'fmt --version') {version};;\n\
                'fmt --manifest-path m --check') {found};;\n*) exit 9;;\nesac\n"
            );
            // By another process: no child of this one has it open for writing, in which case it could not be started.
            let write = Command::new("sh")
                .args(["-c", "printf %s \"$1\" > \"$2\" && chmod 755 \"$2\"", "sh"])
                .arg(script)
                .arg(&program)
                .status();
            assert!(write.unwrap().success());
            let cargo = Cargo {
                program: program.clone().into(),
                manifest: "m".into(),
            };
            cargo.ask("fmt", &["--check"])
        };
        assert_eq!(ask("exit 101", "exit 0").kind, Kind::Skip);
        assert_eq!(ask("echo fmt 1", "exit 0").kind, Kind::Pass);
        let failed = ask("echo fmt 1", "echo Diff; exit 1");
        assert_eq!(failed.kind, Kind::Fail);
        assert!(
            failed.reason.starts_with("fmt 1\ncargo fmt") && failed.reason.ends_with("Diff"),
            "{}",
            failed.reason
        );
    }
}
