// SPDX-License-Identifier: GPL-2.0
//! Kernels that are built and booted by tools that only look like them: what `test` makes of each defect.

mod toy;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use toy::kernel::{self, MAKE, QEMU, program};
use toy::{Ran, Toy, append, replace};

const LANES: &str = r#"
[[kernel.lanes]]
name = "primary"
config = ["base"]
drivers = ["c"]

[[kernel.lanes]]
name = "toy"
config = ["base"]
drivers = ["c"]
boots = true
"#;

/// Both lanes; `change` is as in [`kernel::toy`].
fn toy(change: impl Fn(&Path, usize)) -> Toy {
    kernel::toy(LANES, change)
}

fn test(toy: &Toy, arguments: &[&str]) -> Ran {
    run(toy, &[&["test", "--lane", "toy"], arguments].concat())
}

fn run(toy: &Toy, arguments: &[&str]) -> Ran {
    Ran::from(command(toy, arguments).output().unwrap())
}

fn command(toy: &Toy, arguments: &[&str]) -> Command {
    let mut command = toy.command(&["--toolchain", "host"]);
    command.args(arguments).env("PATH", kernel::path(toy));
    command
}

/// The run ends with this code, and says why in this line.
fn ends_with(ran: &Ran, code: i32, line: &str) {
    assert!(ran.out.contains(line), "{line}: {}{}", ran.out, ran.err);
    assert_eq!(ran.code, code, "{}{}", ran.out, ran.err);
}

fn fails_with(ran: &Ran, line: &str) {
    ends_with(ran, 1, line);
}

#[test]
fn a_lane_builds_and_boots_base_and_tip_and_builds_every_patch() {
    let toy = toy(|_, _| ());
    let ran = test(&toy, &["--full"]);
    for line in [
        "pass  toy base+c: build: whole kernel\n",
        "pass  toy base+c: pin: seven: fails, as it must\n",
        "pass  toy base+c: pin: eight\n",
        "pass  toy tip+c: build: whole kernel\n",
        "pass  toy tip+c: pin: seven\n",
        "pass  toy patch 1+c: build: what it touches\n",
        "\nin all: 6 calls, 2 refused\n9 passed, 0 failed\n",
    ] {
        ends_with(&ran, 0, line);
    }
    // Nothing that Kconfig goes by has changed, and the objects of the base were good for all that followed.
    let asked = toy.path("cache/series/build/c-toy/asked");
    assert_eq!(fs::read_to_string(asked).unwrap(), "asked\n");
    let again = test(&toy, &[]);
    assert!(
        again.out.contains("2 guests were not booted again"),
        "{}",
        again.out
    );
}

#[test]
fn a_message_that_is_reworded_builds_and_boots_nothing() {
    let toy = toy(|_, _| ());
    let calls = toy.path("calls");
    let note = |what: &str| format!("echo \"{what}\" >> \"{}\"\n", calls.display());
    for (name, text, line) in [
        ("make", MAKE, "for target in $targets; do\n"),
        ("qemu-system-x86_64", QEMU, "end() {\n"),
    ] {
        let noted = text.replacen(line, &format!("{}{line}", note(name)), 1);
        program(&toy.path("tools").join(name), &noted);
    }
    assert_eq!(test(&toy, &["--full"]).code, 0);
    let made = fs::read_to_string(&calls).unwrap();
    assert!(made.contains("make") && made.contains("qemu"), "{made}");

    fs::remove_file(&calls).unwrap();
    let patches = toy.repo().join("patches/1-fixes");
    replace(
        &patches.join("0001-mm-spell-seven.patch"),
        "Digits are hard to read.",
        "Digits are too short.",
    );
    let ran = test(&toy, &["--full"]);
    ends_with(&ran, 0, "\n9 passed, 0 failed\n");
    ends_with(&ran, 0, "2 guests were not booted again");
    let made = fs::read_to_string(&calls).unwrap_or_default();
    assert_eq!(made, "");
}

#[test]
fn in_a_lane_for_the_tip_no_patch_is_built_by_itself() {
    let toy = toy(|_, _| ());
    let lane = "boots = true\n";
    replace(
        &toy.repo().join("series.toml"),
        lane,
        &format!("{lane}tip_only = true\n"),
    );
    let ran = test(&toy, &["--full"]);
    let line = "\nskip  build: every patch in lane toy: it is for the tip only\n";
    ends_with(&ran, 0, line);
    assert!(ran.out.contains("pass  toy tip+c: build"), "{}", ran.out);
    assert!(!ran.out.contains("toy patch"), "{}", ran.out);
}

#[test]
fn a_warning_that_a_later_patch_takes_back_is_seen_at_its_patch() {
    let toy = toy(|tree, n| match n {
        1 => append(&tree.join("mm/gup.c"), "#warning spell it\n"),
        2 => replace(&tree.join("mm/gup.c"), "#warning spell it\n", ""),
        _ => (),
    });
    let ran = test(&toy, &[]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    let ran = test(&toy, &["--full"]);
    fails_with(&ran, "FAIL  toy patch 1+c: build: what it touches");
    fails_with(&ran, "spell it");
}

#[test]
fn what_the_base_complains_about_is_compiled_in_place() {
    let toy = toy(|tree, n| {
        if n == 0 {
            append(&tree.join("mm/gup.c"), "#warning spell it\n");
        }
    });
    let ran = test(&toy, &["--full"]);
    ends_with(&ran, 0, "pass  toy patch 1+c: build: what it touches\n");
    // Behind the walk there is what was built before it.
    let image = toy.path("cache/series/build/c-toy/arch/x86/boot/bzImage");
    assert!(image.exists());
}

#[test]
fn a_new_warning_beside_one_of_the_base_is_seen_at_each_tip() {
    let toy = toy(|tree, n| match n {
        0 => append(&tree.join("mm/gup.c"), "#warning of the base\n"),
        2 => append(&tree.join("mm/pin.c"), "#warning of a patch\n"),
        _ => (),
    });
    for time in ["first", "second", "third"] {
        let ran = test(&toy, &["--full"]);
        for kernel in [
            "tip+c: build: whole kernel",
            "patch 2+c: build: what it touches",
        ] {
            let line = format!("FAIL  toy {kernel}\nerror: toy ");
            fails_with(&ran, &line);
        }
        fails_with(&ran, "mm/pin.c: of a patch");
        assert!(!ran.out.contains("of the base"), "{}", ran.out);
        let tree = toy.applied();
        append(&tree.join("mm/gup.c"), &format!("{time} line\n"));
        toy.commit(&tree, &format!("mm: add the {time} line\n\nIt is missing."));
        assert_eq!(toy.run(&["refresh"]).code, 0);
    }
}

#[test]
fn what_a_build_left_that_was_killed_is_not_relied_upon() {
    let toy = toy(|tree, n| {
        if n == 2 {
            append(&tree.join("mm/gup.c"), "#warning spell it\n");
        }
    });
    fails_with(&test(&toy, &[]), "FAIL  toy tip+c: build: whole kernel");

    // The object is there, and its check goes on until somebody loses patience.
    let reached = toy.path("reached");
    let hang = format!(
        "for file; do\n\t\tgrep -q '^#warning ' \"$file\" && : > \"$objects/${{file%.c}}.o\" && : > \"{}\" && sleep 600\n",
        reached.display()
    );
    let make = toy.path("tools/make");
    program(&make, &MAKE.replacen("for file; do\n", &hang, 1));
    let mut killed = command(&toy, &["test", "--lane", "toy", "--full"]);
    let mut killed = killed
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    while !reached.exists() {
        assert!(killed.try_wait().unwrap().is_none(), "it ended by itself");
        thread::sleep(Duration::from_millis(20));
    }
    killed.kill().unwrap();
    killed.wait().unwrap();

    program(&make, MAKE);
    let ran = test(&toy, &["--full"]);
    fails_with(&ran, "FAIL  toy patch 2+c: build: what it touches");
}

#[test]
fn every_patch_is_built_with_one_driver_before_the_other() {
    let toy = toy(|tree, n| {
        if n == 2 {
            append(&tree.join("mm/gup.c"), "line 41\n");
        }
    });
    replace(
        &toy.repo().join("series.toml"),
        "drivers = [\"c\"]\nboots",
        "drivers = [\"c\", \"rust\"]\nboots",
    );
    let ran = test(&toy, &["--full"]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    let built = ran.out.lines().filter_map(|line| {
        let (kernel, _) = line.split_once(": build: what it touches")?;
        kernel.strip_prefix("pass  toy ")
    });
    let expected = ["patch 1+c", "patch 2+c", "patch 1+rust", "patch 2+rust"];
    assert_eq!(built.collect::<Vec<_>>(), expected, "{}", ran.out);
}

#[test]
fn a_new_warning_is_seen_at_the_tip() {
    let toy = toy(|tree, n| {
        if n == 2 {
            append(&tree.join("mm/gup.c"), "#warning spell it\n");
        }
    });
    fails_with(&test(&toy, &[]), "FAIL  toy tip+c: build: whole kernel");
}

#[test]
fn what_does_not_compile_is_shown() {
    let toy = toy(|tree, n| {
        if n == 2 {
            append(&tree.join("mm/gup.c"), "#error no such thing\n");
        }
    });
    let ran = test(&toy, &[]);
    fails_with(&ran, "FAIL  toy tip+c: build: whole kernel");
    fails_with(&ran, "error: no such thing");
}

#[test]
fn a_kernel_that_complains_fails_the_test_that_ran() {
    let toy = toy(|tree, n| {
        if n == 2 {
            append(&tree.join("mm/gup.c"), "splat WARNING: mm/gup.c:7 at pin\n");
        }
    });
    fails_with(
        &test(&toy, &[]),
        "FAIL  toy tip+c: pin: splat: WARNING: mm/gup.c:7 at pin",
    );
}

#[test]
fn a_guest_that_is_reset_behind_its_tests_is_a_failure() {
    let toy = toy(|tree, n| {
        if n == 2 {
            append(&tree.join("mm/gup.c"), "reset\n");
        }
    });
    let ran = test(&toy, &[]);
    fails_with(&ran, "FAIL  toy tip+c: boot\nthe guest was reset");
    assert!(ran.out.contains("pass  toy base+c: boot"), "{}", ran.out);
}

#[test]
fn a_file_that_nothing_compiles_is_a_failure() {
    let toy = toy(|tree, n| {
        if n == 1 {
            fs::create_dir(tree.join("lost")).unwrap();
            fs::write(tree.join("lost/found.c"), "int found;\n").unwrap();
        }
    });
    let ran = test(&toy, &["--full"]);
    fails_with(&ran, "FAIL  toy patch 1+c: build: what it touches");
    fails_with(&ran, "lost/found.c: lies in no folder with a Makefile");
}

#[test]
fn a_folder_that_only_one_patch_changes_is_built_at_it() {
    let toy = toy(|tree, n| {
        let media = tree.join("media");
        match n {
            0 => {
                fs::create_dir(&media).unwrap();
                fs::write(media.join("Makefile"), "obj-y := core.o\n").unwrap();
                fs::write(media.join("core.c"), "int core;\n").unwrap();
            }
            1 => append(&media.join("core.c"), "#warning spell it\n"),
            _ => replace(&media.join("core.c"), "#warning spell it\n", ""),
        }
    });
    let ran = test(&toy, &["--full"]);
    fails_with(&ran, "FAIL  toy patch 1+c: build: what it touches");
    fails_with(&ran, "spell it");
}

#[test]
fn a_case_that_fails_is_a_failure() {
    let toy = toy(|tree, n| {
        if n == 2 {
            replace(&tree.join("mm/gup.c"), "line 8\n", "line eight\n");
        }
    });
    for _ in 0..2 {
        let ran = test(&toy, &[]);
        fails_with(&ran, "FAIL  toy tip+c: pin: eight: FAIL");
        // The base, which it was held against, is not relied upon.
        assert!(!ran.err.contains("not booted"), "{}", ran.err);
    }
}

#[test]
fn a_defect_that_the_base_does_not_show_in_a_lane_is_a_skip() {
    let toy = toy(|_, _| ());
    replace(
        &toy.repo().join("series.toml"),
        r#"["seven"]"#,
        r#"["seven", "eight"]"#,
    );
    let line =
        "skip  toy base+c: pin: eight: pass here; that it fails is shown in the primary lane";
    ends_with(&test(&toy, &[]), 0, line);
}

#[test]
fn what_the_base_may_complain_about_has_to_be_known() {
    let splat = "splat WARNING: mm/gup.c:7 at pin\n";
    let toy = toy(|tree, n| match n {
        0 => append(&tree.join("mm/gup.c"), splat),
        1 => replace(&tree.join("mm/gup.c"), splat, ""),
        _ => (),
    });
    fails_with(&test(&toy, &[]), "FAIL  toy base+c: pin: splat: WARNING");
    replace(
        &toy.repo().join("series.toml"),
        r#"fails_on_base = ["seven"]"#,
        r#"fails_on_base = ["seven"]

[[kernel.complaints]]
lines = ["WARNING: mm/gup.c"]
reason = "it is mended"
until = "2126-11-15"
tests = ["pin"]
on_base = true
"#,
    );
    let line = "skip  toy base+c: pin: splat: WARNING: mm/gup.c:7 at pin (it is mended)";
    ends_with(&test(&toy, &[]), 0, line);
}

#[test]
fn runs_that_differ_are_booted_again() {
    let toy = toy(|tree, n| {
        if n == 2 {
            append(&tree.join("mm/gup.c"), "differs\n");
        }
    });
    toy.configure(
        r#"
[[kernel.guests]]
name = "own"
append = ""
memory = "1G"
tests = { pin = 0 }
with_base = true
"#,
    );
    for again in [false, true] {
        let ran = run(&toy, &["test"]);
        fails_with(
            &ran,
            "FAIL  tip+c own: pin: eight-here: pass here, no verdict in base+c own",
        );
        let is_kept = |name: &str| ran.err.contains(&format!("series: {name}: not booted"));
        assert_eq!(is_kept("base+c"), again, "{}", ran.err);
        for name in ["base+c own", "tip+c own", "tip+rust own"] {
            assert!(!is_kept(name), "{name}: {}", ran.err);
        }
    }
}

#[test]
fn the_primary_lane_boots_the_guests_too() {
    let toy = toy(|_, _| ());
    for (name, only_full) in [("own", false), ("long", true)] {
        toy.configure(&format!(
            r#"
[[kernel.guests]]
name = "{name}"
append = ""
memory = "1G"
tests = {{ pin = 0 }}
only_full = {only_full}
"#
        ));
    }
    for arguments in [&[][..], &["--full"]] {
        let ran = run(&toy, &[&["test", "--lane", "primary"], arguments].concat());
        ends_with(&ran, 0, "pass  tip+c own: pin: eight\n");
        let is_long = ran.out.contains("pass  tip+c long: pin: eight\n");
        assert_eq!(is_long, !arguments.is_empty(), "{}", ran.out);
    }
    // Another lane boots those that it names.
    assert!(!test(&toy, &["--full"]).out.contains("own: pin"));
}

#[test]
fn what_is_done_to_patches_meanwhile_does_not_matter() {
    let toy = toy(|_, _| ());
    let patch = toy.repo().join("patches/1-fixes/0009-mm-later.patch");
    let edit = format!("bzImage)\n\t\techo no mail > \"{}\"\n", patch.display());
    program(
        &toy.path("tools/make"),
        &MAKE.replacen("bzImage)\n", &edit, 1),
    );
    let ran = test(&toy, &[]);
    ends_with(&ran, 0, "\n8 passed, 0 failed\n");
    assert!(patch.exists());
    let report = toy.run(&["report", "--form", "html"]).out;
    assert!(report.contains("2 patches on Linux toy"), "{report}");
}

#[test]
fn a_boot_of_a_patch_runs_the_tests_that_are_there_then() {
    let toy = toy(|_, _| ());
    let boot = |arguments: &[&str]| run(&toy, &[&["boot", "--lane", "toy"], arguments].concat());
    ends_with(
        &boot(&["--patch", "2"]),
        0,
        "2 passed, 0 failed, 0 skipped\n",
    );
    let early = boot(&["--patch", "1"]);
    assert_eq!(early.code, 2, "{}{}", early.out, early.err);
    assert!(early.err.contains("is there yet"), "{}", early.err);
    let named = boot(&["--patch", "1", "--test", "pin"]);
    assert!(
        named.err.contains("--test pin is not there yet"),
        "{}",
        named.err
    );
    // What the boots found out.
    let known = run(&toy, &["doctor"]);
    let line = "ok       accelerator: TCG: QEMU does not start with KVM (";
    assert!(known.out.contains(line), "{}", known.out);
    let never = boot(&["--repeat", "0"]);
    assert_eq!(never.code, 2, "{}", never.err);
}
