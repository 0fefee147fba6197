// SPDX-License-Identifier: GPL-2.0
//! An edited mirrored file goes into the patch that adds it, and a tag shows what changed since.

mod toy;

use std::fs;

use toy::{Toy, replace};

/// A stack whose last patch does not touch what the second one adds, in a repository with a tag.
fn tagged() -> Toy {
    let toy = Toy::with_stack();
    toy.commit(&toy.repo(), "first");
    toy.git(&toy.repo(), &["tag", "v1"]);
    toy
}

#[test]
fn a_fold_changes_one_patch_and_later_trees() {
    let toy = tagged();
    let tree = toy.applied();
    let before = toy.snapshot();
    let file = toy.repo().join("mm/pin_fd.c");
    fs::write(&file, "int pin;\nint edited;\n").unwrap();

    let ran = toy.run(&["refresh", "--verify", "--fold", "mm/pin_fd.c"]);
    assert_eq!(ran.code, 1, "{}", ran.err);
    let ran = toy.run_in(&toy.repo().join("mm"), &["refresh", "--fold", "pin_fd.c"]);
    assert_eq!(ran.code, 0, "{}", ran.err);

    let changed: Vec<String> = toy
        .snapshot()
        .into_iter()
        .filter(|(path, state)| before.get(path) != Some(state))
        .map(|(path, _)| path.file_name().unwrap().to_string_lossy().into_owned())
        .collect();
    assert_eq!(changed, ["pin_fd.c", "0001-mm-add-pin_fd.patch"]);
    // The worktree followed, and refresh has nothing to add.
    assert_eq!(
        fs::read_to_string(tree.join("mm/pin_fd.c")).unwrap(),
        "int pin;\nint edited;\n"
    );
    assert_eq!(toy.run(&["refresh", "--verify"]).code, 0);
    let check = toy.run(&["check", "--no-checkpatch"]);
    assert!(!check.out.contains("pin_fd.c"), "{}", check.out);
    let author = toy.git(&tree, &["log", "-2", "--format=%an"]);
    assert_eq!(author, "Ann Author\nAnn Author");
    assert_eq!(
        toy.plain_am(),
        toy.git(&tree, &["rev-parse", "HEAD^{tree}"])
    );
}

#[test]
fn two_files_are_folded_at_once() {
    let toy = tagged();
    fs::write(toy.repo().join("mm/pin_fd.c"), "int two;\n").unwrap();
    fs::write(toy.repo().join("mm/run.sh"), "#!/bin/sh\ntrue\n").unwrap();
    let one = toy.run(&["refresh", "--fold", "mm/pin_fd.c"]);
    assert_eq!(one.code, 1, "the other edit would be lost: {}", one.err);
    assert!(one.err.contains("--fold mm/run.sh"), "{}", one.err);
    let both = toy.run(&["refresh", "--fold", "mm/pin_fd.c", "--fold", "mm/run.sh"]);
    assert_eq!(both.code, 0, "{}", both.err);
    let check = toy.run(&["check", "--no-checkpatch"]);
    assert!(!check.out.contains("is not what"), "{}", check.out);
}

#[test]
fn a_fold_loses_no_work() {
    let toy = tagged();
    let tree = toy.applied();
    replace(&tree.join("mm/gup.c"), "line 1\n", "line one\n");
    toy.commit(&tree, "mm: one\n\nWhy.");
    fs::write(toy.repo().join("mm/pin_fd.c"), "int edited;\n").unwrap();
    let before = toy.snapshot();
    let ran = toy.run(&["refresh", "--fold", "mm/pin_fd.c"]);
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert!(ran.err.contains("cargo series refresh"), "{}", ran.err);
    assert_eq!(toy.snapshot(), before);
}

#[test]
fn what_cannot_be_folded() {
    let toy = tagged();
    fs::write(toy.repo().join("mm/mine.c"), "int mine;\n").unwrap();
    for (path, said) in [
        ("mm/mine.c", "no patch adds it"),
        ("mm/gone.c", "mm/gone.c"),
        (
            "/etc/passwd",
            "outside of the repository\n  mend: name a mirrored file",
        ),
    ] {
        let ran = toy.run(&["refresh", "--fold", path]);
        assert_eq!(ran.code, 2, "{path}: {}", ran.err);
        assert!(ran.err.contains(said), "{path}: {}", ran.err);
    }
    // A later patch changes it too.
    let tree = toy.applied();
    replace(&tree.join("mm/pin_fd.c"), "int pin;", "long pin;");
    toy.commit(&tree, "mm: widen pin\n\nIt was narrow.");
    fs::remove_file(toy.repo().join("mm/mine.c")).unwrap();
    assert_eq!(toy.run(&["refresh"]).code, 0);
    fs::write(toy.repo().join("mm/pin_fd.c"), "char pin;\n").unwrap();
    let ran = toy.run(&["refresh", "--fold", "mm/pin_fd.c"]);
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert!(ran.err.contains("0003-mm-widen-pin.patch"), "{}", ran.err);
}

#[test]
fn diff_lists_what_changed_since_a_tag() {
    let toy = tagged();
    let ran = toy.run(&["diff", "v1"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.out.ends_with("No changes since v1.\n"), "{}", ran.out);

    fs::write(toy.repo().join("mm/pin_fd.c"), "int edited;\n").unwrap();
    assert_eq!(toy.run(&["refresh", "--fold", "mm/pin_fd.c"]).code, 0);
    let tree = toy.applied();
    replace(&tree.join("mm/gup.c"), "line 1\n", "line one\n");
    toy.commit(&tree, "mm: one\n\nWhy.");
    assert_eq!(toy.run(&["refresh"]).code, 0);
    let ran = toy.run(&["diff", "v1"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let end = "Changes since v1:\n- mm: add pin_fd: changed:\n- mm: one: new\n";
    assert!(ran.out.ends_with(end), "{}", ran.out);

    let ran = toy.run(&["diff", "v9"]);
    assert_eq!(ran.code, 2, "{}", ran.err);
    assert!(ran.err.contains("v9"), "{}", ran.err);
}
