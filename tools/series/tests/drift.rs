// SPDX-License-Identifier: GPL-2.0
//! The patches on other bases: clean, by a merge, or in conflict.

mod toy;

use std::fs;

use toy::{Toy, replace};

/// A stack, and two more bases: "near" changed next to what the patches change, "far" changed the same line.
fn with_bases() -> Toy {
    let toy = Toy::with_stack();
    let mut config = fs::read_to_string(toy.repo().join("series.toml")).unwrap();
    let kernel = toy.kernel();
    for (name, old, new) in [
        ("near", "line 5\n", "line five\n"),
        ("far", "line 30\n", "line thirty\n"),
    ] {
        let dir = toy.path(name);
        toy.git(&kernel, &["clone", "-q", ".", dir.to_str().unwrap()]);
        replace(&dir.join("mm/gup.c"), old, new);
        toy.commit(&dir, name);
        config = config.replacen(
            "[[parts]]",
            &format!("[bases.{name}]\ngit = \"{}\"\n[[parts]]", dir.display()),
            1,
        );
    }
    fs::write(toy.repo().join("series.toml"), config).unwrap();
    toy
}

#[test]
fn every_patch_has_its_word_on_every_base() {
    let toy = with_bases();
    let ran = toy.run(&["drift"]);
    assert_eq!(ran.code, 1, "{}", ran.err);
    let rows: Vec<Vec<&str>> = ran
        .out
        .lines()
        .map(|line| line.split_whitespace().skip(1).collect())
        .collect();
    assert_eq!(rows[0], ["far", "near"]);
    assert_eq!(rows[1], ["clean", "3-way"]);
    assert_eq!(rows[2], ["clean", "clean"]);
    assert_eq!(rows[3], ["CONFLICT", "clean"]);
    for said in [
        "far: 2 clean, 0 3-way, 0 there already, 1 in conflict\n  2-feature/0002-mm-use-pin_fd.patch\n    patch failed: mm/gup.c:",
        "\n      <<<<<<< the base\n      line thirty\n      =======\n      line 30\n      pin();\n      >>>>>>> the patch\n",
        "near: 2 clean, 1 3-way, 0 there already, 0 in conflict\n",
    ] {
        assert!(ran.out.contains(said), "{said}\nin\n{}", ran.out);
    }
    assert_eq!(toy.run(&["drift", "--base", "near"]).code, 0);
}

#[test]
fn patches_behind_a_conflict_are_tried_on_those_before_it() {
    let toy = with_bases();
    let tree = toy.applied();
    // The third patch conflicts; this one needs the second.
    replace(&tree.join("mm/pin_fd.c"), "int pin;", "long pin;");
    toy.commit(&tree, "mm: widen pin\n\nIt was narrow.");
    assert_eq!(toy.run(&["refresh"]).code, 0);
    let ran = toy.run(&["drift", "--base", "far"]);
    let words: Vec<&str> = ran
        .out
        .lines()
        .skip(1)
        .take(4)
        .filter_map(|line| line.split_whitespace().last())
        .collect();
    assert_eq!(words, ["clean", "clean", "CONFLICT", "clean"]);
}

#[test]
fn what_another_base_has_already_is_said() {
    let toy = with_bases();
    let near = toy.path("near");
    replace(&near.join("mm/gup.c"), "line 7\n", "line seven\n");
    toy.commit(&near, "seven");
    let ran = toy.run(&["drift", "--base", "near"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let sum = "near: 2 clean, 0 3-way, 1 there already, 0 in conflict\n";
    assert!(ran.out.ends_with(sum), "{}", ran.out);
}

#[test]
fn apply_on_another_base_has_a_worktree_of_its_own() {
    let toy = with_bases();
    let own = toy.applied();
    let ran = toy.run(&["apply", "--base", "near"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let near = std::path::PathBuf::from(ran.out.trim());
    assert_ne!(near, own);
    let text = fs::read_to_string(near.join("mm/gup.c")).unwrap();
    assert!(
        text.contains("line five\n") && text.contains("line seven\n"),
        "{text}"
    );
    assert!(
        !fs::read_to_string(own.join("mm/gup.c"))
            .unwrap()
            .contains("line five")
    );
    // Its commits are of another base, and never become the patches.
    let before = toy.snapshot();
    let ran = toy.run(&["refresh", "--dir", near.to_str().unwrap()]);
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert_eq!(toy.snapshot(), before);

    let ran = toy.run(&["apply", "--base", "far"]);
    assert_eq!(ran.code, 1, "{}", ran.err);
    for said in [
        "0002-mm-use-pin_fd.patch",
        "line thirty\n",
        "mend: the patches are for another base: cargo series apply --onto a checkout of far",
    ] {
        assert!(ran.err.contains(said), "{said}: {}", ran.err);
    }
    assert!(!ran.err.contains("base = in series.toml"), "{}", ran.err);
}

#[test]
fn a_base_that_moved_is_another_base() {
    let toy = with_bases();
    let ends = |sum: &str| {
        let ran = toy.run(&["drift", "--base", "near"]);
        assert!(ran.out.ends_with(sum), "{}{}", ran.out, ran.err);
    };
    ends("near: 2 clean, 1 3-way, 0 there already, 0 in conflict\n");
    let near = toy.path("near");
    replace(&near.join("mm/gup.c"), "line 7\n", "line seven\n");
    toy.commit(&near, "seven");
    ends("near: 2 clean, 0 3-way, 1 there already, 0 in conflict\n");
    let other = toy.path("other");
    toy.git(
        &toy.kernel(),
        &["clone", "-q", ".", other.to_str().unwrap()],
    );
    replace(
        &toy.repo().join("series.toml"),
        near.to_str().unwrap(),
        other.to_str().unwrap(),
    );
    ends("near: 3 clean, 0 3-way, 0 there already, 0 in conflict\n");
    // What has a whole id needs no tree any more.
    let id = toy.git(&other, &["rev-parse", "HEAD"]);
    let config = toy.repo().join("series.toml");
    replace(
        &config,
        "[bases.near]",
        &format!("[bases.near]\ncommit = \"{id}\""),
    );
    ends("near: 3 clean, 0 3-way, 0 there already, 0 in conflict\n");
    fs::remove_dir_all(other).unwrap();
    ends("near: 3 clean, 0 3-way, 0 there already, 0 in conflict\n");
}

#[test]
fn bases_that_are_not_there() {
    let toy = Toy::with_stack();
    let ran = toy.run(&["drift"]);
    assert_eq!(ran.code, 2, "{}", ran.err);
    assert!(ran.err.contains("no other base"), "{}", ran.err);
    for command in ["drift", "apply"] {
        let ran = toy.run(&[command, "--base", "7.9"]);
        assert_eq!(ran.code, 2, "{}", ran.err);
        assert!(
            ran.err.contains("--base 7.9") && ran.err.contains("one of toy"),
            "{}",
            ran.err
        );
    }
}
