// SPDX-License-Identifier: GPL-2.0
//! `apply --onto`: commits on somebody's own tree, or that tree as it was.

mod toy;

use std::fs;
use std::path::{Path, PathBuf};

use toy::{Toy, replace};

/// A clone of the toy kernel whose owner git knows.
fn own_tree(toy: &Toy) -> PathBuf {
    let kernel = toy.kernel();
    let own = toy.path("own");
    toy.git(&kernel, &["clone", "-q", ".", own.to_str().unwrap()]);
    toy.git(&own, &["config", "user.name", "Bob"]);
    toy.git(&own, &["config", "user.email", "bob@example.org"]);
    own
}

#[test]
fn on_the_base_and_on_a_tree_that_moved() {
    let toy = Toy::with_stack();
    let own = own_tree(&toy);
    // Next to what the patches change: only a merge that knows the base gets it right.
    replace(&own.join("mm/gup.c"), "line 5\n", "line five\n");
    toy.commit(&own, "five");
    let ran = toy.run(&["apply", "--onto", own.to_str().unwrap()]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let text = fs::read_to_string(own.join("mm/gup.c")).unwrap();
    assert!(text.contains("line five\n") && text.contains("line seven\n"));
    assert_eq!(toy.git(&own, &["rev-list", "--count", "HEAD"]), "5");
    assert_eq!(
        toy.git(&own, &["log", "-1", "--format=%an, %cn"]),
        "Ann Author, Bob"
    );
    toy.git(&own, &["fsck", "--full", "--strict"]);
}

/// A tree that the stack does not apply to, and its commit.
fn tree_in_conflict(toy: &Toy) -> (PathBuf, String) {
    let own = own_tree(toy);
    replace(&own.join("mm/gup.c"), "line 30\n", "line thirty\n");
    toy.commit(&own, "thirty");
    let head = toy.git(&own, &["rev-parse", "HEAD"]);
    (own, head)
}

fn is_as_it_was(toy: &Toy, own: &Path, head: &str) {
    assert_eq!(toy.git(own, &["rev-parse", "HEAD"]), head);
    assert_eq!(toy.git(own, &["status", "--porcelain"]), "");
    assert!(!own.join(".git/rebase-apply").exists());
}

#[test]
fn a_conflict_leaves_the_tree_as_it_was() {
    let toy = Toy::with_stack();
    let (own, head) = tree_in_conflict(&toy);
    let ran = toy.run(&["apply", "--onto", own.to_str().unwrap()]);
    assert_eq!(ran.code, 1, "{}", ran.err);
    for said in [
        "0002-mm-use-pin_fd.patch",
        "patch 3 of 3",
        "mm/gup.c",
        "line thirty",
    ] {
        assert!(ran.err.contains(said), "{said}: {}", ran.err);
    }
    is_as_it_was(&toy, &own, &head);
}

#[test]
fn a_conflict_that_cannot_be_shown_leaves_the_tree_as_it_was_too() {
    let toy = Toy::with_stack();
    let (own, head) = tree_in_conflict(&toy);
    fs::write(own.join(".git/info/attributes"), "*.c diff=broken\n").unwrap();
    toy.git(&own, &["config", "diff.broken.textconv", "false"]);
    let ran = toy.run(&["apply", "--onto", own.to_str().unwrap()]);
    assert_eq!(ran.code, 3, "{}", ran.err);
    assert!(ran.err.contains("is as it was"), "{}", ran.err);
    is_as_it_was(&toy, &own, &head);
}

#[test]
fn what_stands_there_is_shown_where_nothing_can_be_merged() {
    let toy = Toy::with_stack();
    let own = toy.path("own");
    fs::create_dir_all(own.join("mm")).unwrap();
    fs::copy(toy.kernel().join("mm/gup.c"), own.join("mm/gup.c")).unwrap();
    replace(&own.join("mm/gup.c"), "line 30\n", "line thirty\n");
    // A history of its own, and no base: nobody knows what the patches start from.
    toy.git(&own, &["init", "-q"]);
    toy.git(&own, &["config", "user.name", "Bob"]);
    toy.git(&own, &["config", "user.email", "bob@example.org"]);
    toy.commit(&own, "thirty");
    fs::remove_dir_all(toy.path("cache")).unwrap();
    let ran = toy.run(&["apply", "--onto", own.to_str().unwrap()]);
    assert_eq!(ran.code, 1, "{}", ran.err);
    for said in [
        "0002-mm-use-pin_fd.patch",
        "error: patch failed: mm/gup.c:28",
        "30: line thirty",
        "is as it was",
    ] {
        assert!(ran.err.contains(said), "{said}: {}", ran.err);
    }
}

#[test]
fn a_long_conflict_hides_no_other_file() {
    let toy = Toy::with_stack();
    let tree = toy.applied();
    let long = |word: &str| -> String { (0..100).map(|i| format!("{word} {i}\n")).collect() };
    replace(&tree.join("mm/gup.c"), "line 20\n", &long("patch"));
    replace(&tree.join("Makefile"), "VERSION = 7\n", "VERSION = 8\n");
    toy.commit(&tree, "mm: more\n\nWhy.");
    assert_eq!(toy.run(&["refresh"]).code, 0);
    let own = own_tree(&toy);
    replace(&own.join("Makefile"), "VERSION = 7\n", "VERSION = 9\n");
    replace(&own.join("mm/gup.c"), "line 20\n", &long("own"));
    // Before mm/gup.c in a list of paths that differ.
    toy.git(&own, &["config", "diff.orderFile", "order"]);
    fs::write(own.join("order"), "mm/*\nMakefile\n").unwrap();
    toy.commit(&own, "more");
    let ran = toy.run(&["apply", "--onto", own.to_str().unwrap()]);
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert!(ran.err.contains("VERSION = 9"), "{}", ran.err);
    assert!(ran.err.contains(" more lines"), "{}", ran.err);
}

#[test]
fn a_dirty_tree_is_refused() {
    let toy = Toy::with_stack();
    let own = own_tree(&toy);
    replace(&own.join("mm/gup.c"), "line 30\n", "line thirty\n");
    let ran = toy.run(&["apply", "--onto", own.to_str().unwrap()]);
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert!(ran.err.contains("not committed"), "{}", ran.err);
    assert_eq!(toy.git(&own, &["rev-list", "--count", "HEAD"]), "1");

    let nowhere = toy.path("nowhere");
    let ran = toy.run(&["apply", "--onto", nowhere.to_str().unwrap()]);
    assert_eq!(ran.code, 2, "{}", ran.err);
}
