// SPDX-License-Identifier: GPL-2.0
//! Consoles of guests, replayed by a stub of QEMU: each must end in the verdicts that its `expected` file holds.
//!
//! The fixtures are tests/console/NAME.{console,results,expected}.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::accel::Accel;
use super::arch::Arch;
use super::qemu::{End, Guest, Ran};
use super::settings::Complaint;
use super::{GuestTest, boot, splat, table};
use crate::error::Result;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/console")
        .join(name)
}

/// What the stub does when it has replayed the guest's output.
enum Then {
    PowersOff,
    Hangs,
    Aborts,
}

fn replay(name: &str, then: Then) -> Result<Ran> {
    let logs = tempfile::tempdir().unwrap();
    let results = logs.path().join("results.log");
    fs::copy(fixture(&format!("{name}.results")), &results).unwrap();
    let end = match then {
        Then::PowersOff => "exit 0",
        // Not a child of the shell: that would keep the console open when the shell is killed.
        Then::Hangs => "exec sleep 1000",
        Then::Aborts => "echo 'error: kvm run failed' >&2; exit 134",
    };
    let stub = Command::new("sh")
        .args(["-c", &format!("cat \"$1\"; {end}"), "stub"])
        .arg(fixture(&format!("{name}.console")))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    Guest {
        machine: Arch::native().machine.unwrap(),
        image: Path::new("/k/bzImage"),
        initrd: Path::new("/i"),
        append: "",
        memory: "3G",
        accel: Accel::Tcg,
        icount: false,
        timeout: match then {
            Then::Hangs => Duration::from_millis(500),
            _ => Duration::from_secs(60),
        },
        logs: logs.path(),
        interactive: false,
        plugin: None,
    }
    .watch(stub, &results)
}

/// The verdicts of a run of one test "a" that has two cases, and in which vivid may be complained about.
fn verdicts(ran: &Ran) -> String {
    let tests = [GuestTest::plain("a", 2)];
    let complaint = Complaint {
        lines: vec![
            "DMA-API: vivid vivid.0: ".to_owned(),
            "WARNING: kernel/dma/debug.c:1231 ".to_owned(),
        ],
        reason: "known".to_owned(),
        until: "2027-05-31".to_owned(),
        tests: vec!["a".to_owned()],
        on_base: false,
    };
    let mut text = format!("{:?}\n", ran.end);
    for result in boot::results(&ran.results, &tests) {
        for case in result.cases {
            text += &format!(
                "{}: {}: {}\n",
                result.test,
                case.name,
                table::word(case.verdict)
            );
        }
    }
    let (splats, excused) = splat::judge(&ran.console, &[complaint], &tests, 0);
    for splat in splats {
        text += &format!("splat in {}: {}\n", splat.test, splat.line);
    }
    for (splat, reason) in excused {
        text += &format!("{reason} in {}: {}\n", splat.test, splat.line);
    }
    text
}

fn check(name: &str, then: Then) {
    let ran = replay(name, then).unwrap();
    let expected = fs::read_to_string(fixture(&format!("{name}.expected"))).unwrap();
    assert_eq!(verdicts(&ran), expected, "{name}");
}

#[test]
fn guests_that_power_off() {
    for name in [
        "pass",
        "fail",
        "skip",
        "cut-off",
        "kasan",
        "lockdep",
        "kmemleak",
        "dma-api",
        "dma-api-known",
        "between",
        "printk",
    ] {
        check(name, Then::PowersOff);
    }
}

#[test]
fn a_guest_that_panics() {
    check("panic", Then::PowersOff);
}

#[test]
fn a_guest_that_hangs_is_killed() {
    check("hang", Then::Hangs);
}

#[test]
fn a_qemu_that_aborts_after_some_output() {
    check("abort", Then::Aborts);
}

#[test]
fn a_qemu_that_does_not_start_says_why() {
    let logs = tempfile::tempdir().unwrap();
    let results = logs.path().join("results.log");
    fs::write(&results, "").unwrap();
    let stub = Command::new("sh")
        .args(["-c", "echo 'qemu: no such machine' >&2; exit 1"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let error = Guest {
        machine: Arch::native().machine.unwrap(),
        image: Path::new("/k/bzImage"),
        initrd: Path::new("/i"),
        append: "",
        memory: "3G",
        accel: Accel::Kvm,
        icount: false,
        timeout: Duration::from_secs(60),
        logs: logs.path(),
        interactive: false,
        plugin: None,
    }
    .watch(stub, &results)
    .unwrap_err();
    assert!(error.to_string().contains("no such machine"), "{error}");
}

#[test]
fn every_end_has_a_fixture() {
    for (name, end) in [
        ("pass", End::PowerOff),
        ("panic", End::Panic),
        ("hang", End::Hang),
        ("abort", End::Qemu),
    ] {
        let expected = fs::read_to_string(fixture(&format!("{name}.expected"))).unwrap();
        assert!(expected.starts_with(&format!("{end:?}\n")), "{name}");
    }
}
