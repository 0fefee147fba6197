// SPDX-License-Identifier: GPL-2.0
//! With the machine's own tools, which are only looked alike here: what is said of them, and of what is not there.

mod toy;

use std::fs;
use std::path::Path;

use toy::{Ran, Toy, executable};

fn tool(toy: &Toy, name: &str, says: &str) {
    let path = toy.path("tools").join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, format!("#!/bin/sh\necho '{says}'\n")).unwrap();
    executable(&path);
}

fn run(toy: &Toy, arguments: &[&str]) -> Ran {
    for name in [
        "clang", "ld.lld", "rustc", "bindgen", "make", "flex", "bison", "bc", "cpio",
    ] {
        tool(toy, name, "a toy");
    }
    // Silent, as checkpatch and codespell are where they find nothing.
    tool(toy, "perl", "");
    tool(toy, "codespell", "");
    let path = std::env::var("PATH").unwrap();
    let mut command = toy.command(&[&["--toolchain", "host"], arguments].concat());
    command.env("PATH", format!("{}:{path}", toy.path("tools").display()));
    Ran::from(command.output().unwrap())
}

#[test]
fn another_gcc_or_qemu_is_another_toolchain() {
    let toy = Toy::new();
    let id = || {
        let ran = run(&toy, &["doctor"]);
        let line = ran
            .out
            .lines()
            .find(|line| line.contains("toolchain: host-"));
        line.unwrap_or_else(|| panic!("{}{}", ran.out, ran.err))
            .to_owned()
    };
    let before = id();
    assert_eq!(id(), before);
    for name in ["gcc", "ld", "sparse", "busybox", "qemu-system-x86_64"] {
        tool(&toy, name, "1.0");
        let first = id();
        tool(&toy, name, "1.1");
        assert_ne!(id(), first, "{name}");
    }
}

#[test]
fn what_the_machine_lacks_is_no_finding() {
    let toy = Toy::new();
    let ran = run(&toy, &["doctor"]);
    assert_eq!(ran.code, 3, "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("missing  base kernel: toy"), "{}", ran.out);
    assert!(
        ran.err.contains("base kernel") && ran.err.contains("doctor --fix"),
        "{}",
        ran.err
    );
}

#[test]
fn a_root_that_is_not_whole_is_to_be_removed() {
    let toy = Toy::new();
    let ran = toy.run(&["doctor"]);
    let line = ran
        .out
        .lines()
        .find(|line| line.starts_with("missing  toolchain: "));
    let path = line.unwrap().trim_start_matches("missing  toolchain: ");
    let path = Path::new(path.split_once(": cargo").unwrap().0);
    fs::create_dir_all(path).unwrap();
    let ran = toy.run(&["doctor", "--fix"]);
    assert_eq!(ran.code, 3, "{}", ran.err);
    let mend = format!("mend: rm -rf '{}'", path.display());
    assert!(ran.err.contains(&mend), "{}", ran.err);
}

#[test]
fn a_script_that_the_base_has_not_is_not_run() {
    let toy = Toy::with_stack();
    let ran = run(&toy, &["check"]);
    for said in [
        "not run: kernel-doc: the base has no scripts/kernel-doc\n",
        "not run: recipients: the base has no scripts/get_maintainer.pl\n",
    ] {
        assert!(ran.out.contains(said), "{}{}", ran.out, ran.err);
    }
}
