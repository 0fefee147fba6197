// SPDX-License-Identifier: GPL-2.0
//! Applying and refreshing change no byte; what refresh writes is what the worktree holds.

mod toy;

use std::fs;

use toy::{Toy, replace};

#[test]
fn refresh_after_apply_changes_no_byte() {
    let toy = Toy::with_stack();
    let before = toy.snapshot();
    assert_eq!(before.len(), 1 + 2 + 3 + 2, "{:?}", before.keys());

    let tree = toy.applied();
    assert_eq!(toy.run(&["refresh", "--verify"]).code, 0);
    assert_eq!(toy.run(&["refresh"]).code, 0);
    assert_eq!(toy.snapshot(), before);

    // From nothing, in a cache of its own.
    fs::remove_dir_all(toy.path("cache")).unwrap();
    let again = toy.applied();
    assert_eq!(tree, again);
    assert_eq!(toy.run(&["refresh"]).code, 0);
    assert_eq!(toy.snapshot(), before);
}

#[test]
fn commit_ids_repeat() {
    let toy = Toy::with_stack();
    let other = toy.path("other");
    let other = other.to_str().unwrap();
    toy.run(&["apply", "--force"]);
    let first = toy.git(&toy.applied(), &["rev-parse", "HEAD"]);
    fs::remove_dir_all(toy.path("cache")).unwrap();
    assert_eq!(toy.run(&["apply", "--dir", other]).code, 0);
    assert_eq!(toy.git(other.as_ref(), &["rev-parse", "HEAD"]), first);
}

#[test]
fn the_users_configuration_changes_nothing() {
    let toy = Toy::with_stack();
    let before = toy.snapshot();
    fs::write(
        toy.path("gitconfig"),
        "[diff]\n\tnoprefix = true\n\talgorithm = patience\n\trenames = copies\n\tcontext = 9\n\
         [format]\n\tsignature = me\n\tthread = true\n\tsuffix = .txt\n\tsubjectPrefix = RFC\n\tsignOff = true\n\
         [core]\n\tautocrlf = true\n\tabbrev = 5\n[commit]\n\tgpgSign = true\n",
    )
    .unwrap();
    // Settings that the shared repository may have got are harder to avoid.
    let tree = toy.applied();
    toy.git(&tree, &["config", "diff.noprefix", "true"]);
    toy.git(&tree, &["config", "diff.context", "1"]);
    toy.git(&tree, &["config", "format.signature", "me"]);
    toy.git(&tree, &["config", "format.pretty", "oneline"]);
    let ran = toy.run(&["refresh"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert_eq!(toy.snapshot(), before);
}

#[test]
fn plain_git_am_leads_to_the_same_tree() {
    let toy = Toy::with_stack();
    let tree = toy.applied();
    assert_eq!(
        toy.plain_am(),
        toy.git(&tree, &["rev-parse", "HEAD^{tree}"])
    );
}

#[test]
fn an_edit_in_the_worktree_comes_back() {
    let toy = Toy::with_stack();
    let tree = toy.applied();
    replace(&tree.join("mm/pin_fd.c"), "int pin;", "long pin;");
    let ran = toy.run(&["refresh"]);
    assert_eq!(ran.code, 1, "uncommitted changes: {}", ran.err);
    assert!(ran.err.contains("not committed"), "{}", ran.err);

    toy.commit(&tree, "mm: widen pin\n\nIt was narrow.");
    let before = toy.snapshot();
    let ran = toy.run(&["refresh", "--verify"]);
    assert_eq!(ran.code, 1);
    assert!(ran.out.contains("would write mm/pin_fd.c"), "{}", ran.out);
    assert_eq!(toy.snapshot(), before, "--verify writes nothing");

    assert_eq!(toy.run(&["refresh"]).code, 0);
    assert_eq!(
        fs::read_to_string(toy.repo().join("mm/pin_fd.c")).unwrap(),
        "long pin;\n"
    );
    assert!(
        toy.repo()
            .join("patches/2-feature/0003-mm-widen-pin.patch")
            .exists()
    );
    // What was refreshed needs no --force.
    assert_eq!(toy.run(&["apply"]).code, 0);
}

#[test]
fn patches_and_files_that_are_gone_are_deleted() {
    let toy = Toy::with_stack();
    let tree = toy.applied();
    let cover = toy.git(&tree, &["log", "--format=%H", "--grep=^cover: 2-feature"]);
    toy.git(&tree, &["reset", "-q", "--hard", &format!("{cover}^")]);
    let own = toy.repo().join("mm/notes.txt");
    fs::write(&own, "mine\n").unwrap();
    assert_eq!(toy.run(&["refresh"]).code, 0);
    assert!(!toy.repo().join("patches/2-feature").exists());
    assert!(!toy.repo().join("mm/pin_fd.c").exists());
    assert!(own.exists(), "a file of somebody's own stays");
    assert!(toy.repo().join("patches/1-fixes/cover.txt").exists());
}

#[test]
fn a_mirrored_file_that_was_edited_is_not_overwritten() {
    let toy = Toy::with_stack();
    toy.applied();
    let file = toy.repo().join("mm/pin_fd.c");
    fs::write(&file, "int edited;\n").unwrap();
    let ran = toy.run(&["refresh"]);
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert!(ran.err.contains("mm/pin_fd.c"), "{}", ran.err);
    assert_eq!(fs::read_to_string(&file).unwrap(), "int edited;\n");
    assert_eq!(toy.run(&["refresh", "--force"]).code, 0);
    assert_eq!(fs::read_to_string(&file).unwrap(), "int pin;\n");
}

#[test]
fn works_from_a_subfolder_and_with_a_worktree_of_another_repository() {
    let toy = Toy::with_stack();
    let before = toy.snapshot();
    toy.plain_am();
    // Plain git am made no cover commits: the first patch belongs to no part.
    let plain = toy.path("plain");
    let ran = toy.run_in(
        &toy.repo().join("mm"),
        &["refresh", "--dir", plain.to_str().unwrap()],
    );
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert!(ran.err.contains("cover commit"), "{}", ran.err);
    assert_eq!(toy.snapshot(), before);
}
