// SPDX-License-Identifier: GPL-2.0
//! The tool is tested too: its own tests, its form, and what clippy says of it. That is done with the cargo that built it;
//! what such a machine need not have is skipped, and that is said.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use super::tally::Tally;
use crate::context::Context;
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

pub fn test(ctx: &Context, tally: &mut Tally) {
    let cargo = Cargo {
        program: std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()),
        manifest: ctx.repo.join("tools/series/Cargo.toml"),
    };
    own_tests(&cargo, tally);
    for (component, arguments) in COMPONENTS {
        let start = Instant::now();
        let step = progress::step(format_args!("cargo {component} on the tool"));
        let entry = cargo.ask(component, arguments);
        step.done();
        tally.add(entry.taking(start.elapsed()));
    }
}

struct Cargo {
    program: OsString,
    manifest: PathBuf,
}

impl Cargo {
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
fn own_tests(cargo: &Cargo, tally: &mut Tally) {
    let mut command = cargo.command(&["test", "--quiet", "--release"]);
    let start = Instant::now();
    let step = progress::step("the tool's own tests");
    let what = "the tool's own tests";
    let output = match run::capture(&mut command) {
        Ok(output) => output,
        Err(e) => return tally.add(Entry::not_run("", what, "").because(e)),
    };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (passed, failed) = count_cargo(&text);
    step.done();
    if output.status.success() && passed > 0 {
        let entry = Entry::pass("", what, "").because(passed);
        return tally.add(entry.taking(start.elapsed()).standing_for(passed));
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let entry = Entry::fail("", what, "").because(format_args!(
        "cargo test --manifest-path tools/series/Cargo.toml\n{}\n{}",
        run::tail(&text),
        run::tail(&said)
    ));
    if passed > 0 {
        let others = Entry::pass("", what, "").because(format_args!("{passed} others"));
        tally.add(others.standing_for(passed));
    }
    tally.add(entry.standing_for(failed.max(1)));
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
