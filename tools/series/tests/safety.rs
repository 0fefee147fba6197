// SPDX-License-Identifier: GPL-2.0
//! Bad input ends with one clear error, and nothing of the user's is touched.

mod toy;

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use rustix::fs::{FlockOperation, flock};

use toy::{Toy, replace};

#[test]
fn apply_does_not_overwrite_work() {
    let toy = Toy::with_stack();
    let tree = toy.applied();
    let tip = toy.git(&tree, &["rev-parse", "HEAD"]);

    replace(&tree.join("mm/gup.c"), "line 1\n", "line one\n");
    fs::remove_dir_all(toy.repo().join("patches/2-feature")).unwrap();
    let ran = toy.run(&["apply"]);
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert!(ran.err.contains("not committed"), "{}", ran.err);

    toy.commit(&tree, "mm: one\n\nWhy.");
    let mine = toy.git(&tree, &["rev-parse", "HEAD"]);
    let ran = toy.run(&["apply"]);
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert!(ran.err.contains("cargo series refresh"), "{}", ran.err);
    assert_eq!(toy.git(&tree, &["rev-parse", "HEAD"]), mine);

    replace(&tree.join("mm/gup.c"), "line 2\n", "line two\n");
    let ran = toy.run(&["apply", "--force"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert_ne!(toy.git(&tree, &["rev-parse", "HEAD"]), tip);
    let kept = toy.git(
        &tree,
        &[
            "for-each-ref",
            "--format=%(objectname)",
            "refs/series/backup",
        ],
    );
    assert!(kept.contains(&mine), "{kept}");
    let saved = kept.lines().any(|id| {
        toy.git(&tree, &["show", &format!("{id}:mm/gup.c")])
            .contains("line two")
    });
    assert!(saved, "uncommitted work is kept too: {kept}");
}

#[test]
fn one_refresh_waits_for_another() {
    let toy = Toy::with_stack();
    let locks = fs::read_dir(toy.path("cache/series")).unwrap();
    let is_one = |path: &PathBuf| path.to_string_lossy().contains("/refresh-");
    let lock = locks.map(|entry| entry.unwrap().path()).find(is_one);
    let held = fs::File::open(lock.expect("a refresh leaves its lock")).unwrap();
    flock(&held, FlockOperation::NonBlockingLockExclusive).unwrap();

    let mut command = toy.command(&["refresh"]);
    let mut second = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(second.stderr.take().unwrap());
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    assert!(line.contains("waiting for process"), "{line}");
    assert!(second.try_wait().unwrap().is_none());
    drop(held);
    said.read_to_string(&mut line).unwrap();
    assert!(second.wait().unwrap().success(), "{line}");
}

#[test]
fn apply_updates_a_worktree_without_work() {
    let toy = Toy::with_stack();
    let tree = toy.applied();
    fs::remove_dir_all(toy.repo().join("patches/2-feature")).unwrap();
    assert_eq!(toy.applied(), tree);
    assert!(!tree.join("mm/pin_fd.c").exists());
}

#[test]
fn a_worktree_that_was_deleted_is_made_again_and_its_commits_are_kept() {
    let toy = Toy::with_stack();
    let tree = toy.applied();
    replace(&tree.join("mm/gup.c"), "line 1\n", "line one\n");
    toy.commit(&tree, "mm: one\n\nWhy.");
    let mine = toy.git(&tree, &["rev-parse", "HEAD"]);
    fs::remove_dir_all(&tree).unwrap();
    assert_eq!(toy.applied(), tree);
    let kept = toy.git(
        &tree,
        &[
            "for-each-ref",
            "--format=%(objectname)",
            "refs/series/backup",
        ],
    );
    assert!(kept.contains(&mine), "{kept}");
}

/// What apply kept, each commit behind its number.
fn backups(toy: &Toy, tree: &Path) -> String {
    let format = "--format=%(refname:lstrip=-1) %(objectname)";
    toy.git(tree, &["for-each-ref", format, "refs/series/backup"])
}

fn commit(toy: &Toy, tree: &Path, old: &str, new: &str) -> String {
    replace(&tree.join("mm/gup.c"), old, new);
    toy.commit(tree, "mm: spell it\n\nWhy.");
    toy.git(tree, &["rev-parse", "HEAD"])
}

#[test]
fn commits_on_the_series_branch_are_kept_when_another_one_is_checked_out() {
    let toy = Toy::with_stack();
    let tree = toy.applied();
    let mine = commit(&toy, &tree, "line 1\n", "line one\n");
    toy.git(&tree, &["checkout", "-q", "-b", "b4/feature", "HEAD~1"]);
    let there = commit(&toy, &tree, "line 2\n", "line two\n");
    let ran = toy.run(&["apply", "--force"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let kept = backups(&toy, &tree);
    assert!(kept.contains(&mine) && kept.contains(&there), "{kept}");
}

#[test]
fn no_backup_is_overwritten() {
    let toy = Toy::with_stack();
    let tree = toy.applied();
    for new in ["line one\n", "line ONE\n", "line 1.\n"] {
        commit(&toy, &tree, "line 1\n", new);
        assert_eq!(toy.run(&["apply", "--force"]).code, 0);
    }
    let before = backups(&toy, &tree);
    let (first, others) = before.split_once('\n').unwrap();
    assert!(first.starts_with("1 ") && others.contains('\n'), "{before}");
    let all = toy.git(
        &tree,
        &["for-each-ref", "--format=%(refname)", "refs/series/backup"],
    );
    toy.git(&tree, &["update-ref", "-d", all.lines().next().unwrap()]);
    commit(&toy, &tree, "line 2\n", "line two\n");
    assert_eq!(toy.run(&["apply", "--force"]).code, 0);
    let kept = backups(&toy, &tree);
    assert!(
        kept.starts_with(others) && kept != others,
        "{before}\n{kept}"
    );
}

#[test]
fn apply_overwrites_no_ignored_file() {
    let toy = Toy::with_stack();
    let part = toy.repo().join("patches/2-feature");
    let aside = toy.path("aside");
    fs::rename(&part, &aside).unwrap();
    let tree = toy.applied();
    let exclude = toy.path("cache/series/linux.git/info/exclude");
    fs::write(exclude, "pin_fd.c\n").unwrap();
    let file = tree.join("mm/pin_fd.c");
    fs::write(&file, "int mine;\n").unwrap();
    fs::rename(&aside, &part).unwrap();
    let ran = toy.run(&["apply"]);
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert!(ran.err.contains("mm/pin_fd.c"), "{}", ran.err);
    assert_eq!(fs::read_to_string(&file).unwrap(), "int mine;\n");
    fs::remove_file(&file).unwrap();
    assert_eq!(toy.run(&["apply"]).code, 0);
}

#[test]
fn refresh_loses_nothing_that_was_edited_in_patches() {
    let toy = Toy::with_stack();
    let tree = toy.applied();
    let patches = toy.repo().join("patches/2-feature");
    let cover = patches.join("cover.txt");
    let more = patches.join("0003-mm-more.patch");
    let refused = |file: &str| {
        let before = toy.snapshot();
        let ran = toy.run(&["refresh"]);
        assert_eq!(ran.code, 1, "{file}: {}", ran.err);
        assert!(
            ran.err.contains(file) && ran.err.contains("cargo series apply"),
            "{}",
            ran.err
        );
        assert_eq!(ran.out, "", "nothing was written or deleted");
        assert_eq!(toy.snapshot(), before, "{file}");
    };
    commit(&toy, &tree, "line 1\n", "line one\n");
    let good = fs::read_to_string(&cover).unwrap();
    fs::write(&cover, "An edit.\n").unwrap();
    refused("2-feature/cover.txt");
    fs::write(&cover, &good).unwrap();
    fs::copy(patches.join("0002-mm-use-pin_fd.patch"), &more).unwrap();
    refused("2-feature/0003-mm-more.patch");
    // What git has can be had back.
    toy.commit(&toy.repo(), "mine");
    assert_eq!(toy.run(&["refresh"]).code, 0);
    assert!(!more.exists());

    // What refresh wrote it replaces, and what apply took; nothing of that is committed.
    commit(&toy, &tree, "line 2\n", "line two\n");
    assert_eq!(toy.run(&["refresh"]).code, 0);
    toy.git(&tree, &["commit", "-q", "--amend", "-m", "mm: two\n\nWhy."]);
    assert_eq!(toy.run(&["refresh"]).code, 0);
    fs::write(&cover, "An edit.\n").unwrap();
    let two = patches.join("0004-mm-two.patch");
    replace(&two, "Why.", "Why not.");
    toy.applied();
    toy.git(
        &tree,
        &["commit", "-q", "--amend", "-m", "mm: two\n\nBecause."],
    );
    assert_eq!(toy.run(&["refresh"]).code, 0);
    assert!(fs::read_to_string(&two).unwrap().contains("Because."));
    commit(&toy, &tree, "line 3\n", "line three\n");
    assert_eq!(toy.run(&["refresh"]).code, 0);
    assert_eq!(fs::read_to_string(&cover).unwrap(), "An edit.\n");
    fs::write(&cover, "Another one.\n").unwrap();
    refused("2-feature/cover.txt");
    assert_eq!(toy.run(&["refresh", "--force"]).code, 0);
    assert_eq!(fs::read_to_string(&cover).unwrap(), "An edit.\n");

    // What stands below the message's end is in no commit.
    replace(&two, "\n---\n", "\n---\nv2: a word.\n\n");
    toy.applied();
    refused("0004-mm-two.patch");
}

#[test]
fn apply_refuses_folders_that_are_not_its_own() {
    let toy = Toy::with_stack();
    let full = toy.path("full");
    fs::create_dir(&full).unwrap();
    fs::write(full.join("thesis.txt"), "all my work\n").unwrap();
    let kernel = toy.kernel();
    for dir in [full.to_str().unwrap(), kernel.to_str().unwrap()] {
        let ran = toy.run(&["apply", "--dir", dir]);
        assert_eq!(ran.code, 2, "{dir}: {}", ran.err);
    }
    assert_eq!(
        fs::read_to_string(full.join("thesis.txt")).unwrap(),
        "all my work\n"
    );
}

#[test]
fn a_patch_that_does_not_apply() {
    let toy = Toy::with_stack();
    let patch = toy
        .repo()
        .join("patches/2-feature/0002-mm-use-pin_fd.patch");
    replace(&patch, " line 30\n", " line thirty\n");
    let ran = toy.run(&["apply"]);
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert!(
        ran.err.contains("2-feature/0002-mm-use-pin_fd.patch"),
        "{}",
        ran.err
    );
    assert!(ran.err.contains("mm/gup.c"), "{}", ran.err);
}

const ANOTHER_TREE: &str = "0123456789012345678901234567890123456789";

/// Names that tree for the base, which is another one.
fn refuses_another_tree(toy: &Toy) {
    replace(
        &toy.repo().join("series.toml"),
        "[[parts]]",
        &format!("tree = \"{ANOTHER_TREE}\"\n[[parts]]"),
    );
    let ran = toy.run(&["apply"]);
    assert_eq!(ran.code, 2, "{}", ran.err);
    assert!(ran.err.contains(ANOTHER_TREE), "{}", ran.err);
}

#[test]
fn a_base_that_does_not_match() {
    let toy = Toy::new();
    refuses_another_tree(&toy);

    replace(
        &toy.repo().join("series.toml"),
        &format!("tree = \"{ANOTHER_TREE}\""),
        "commit = \"nonsense\"",
    );
    let ran = toy.run(&["apply"]);
    assert_eq!(ran.code, 2, "{}", ran.err);
    assert!(ran.err.contains("nonsense"), "{}", ran.err);
}

#[test]
fn a_base_that_is_here_is_compared_too() {
    refuses_another_tree(&Toy::with_stack());
}

#[test]
fn a_relative_base_starts_at_series_toml() {
    let toy = Toy::with_stack();
    let kernel = toy.kernel();
    let config = toy.repo().join("series.toml");
    replace(&config, kernel.to_str().unwrap(), "../kernel");
    let ran = toy.run_in(&toy.repo().join("patches"), &["apply"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
}

#[test]
fn a_wrong_configuration_is_shown_with_its_line() {
    let toy = Toy::new();
    let config = toy.repo().join("series.toml");
    let good = fs::read_to_string(&config).unwrap();
    for (old, new, said) in [
        ("dir = \"1-fixes\"", "dri = \"1-fixes\"", "dri"),
        ("base = \"toy\"", "base = \"toys\"", "toys"),
        ("dir = \"1-fixes\"", "dir = \"../1\"", "../1"),
        ("dir = \"1-fixes\"", "dir = \"3-fixes\"", "sort"),
        ("base = \"toy\"", "base = toy", "base = toy"),
        ("git = ", "got = ", "unknown field `got`"),
    ] {
        fs::write(&config, &good).unwrap();
        replace(&config, old, new);
        let ran = toy.run(&["apply"]);
        assert_eq!(ran.code, 2, "{new}: {}", ran.err);
        assert!(ran.err.contains(said), "{new}: {}", ran.err);
        assert!(ran.err.contains("series.toml"), "{new}: {}", ran.err);
    }
}

#[test]
fn outside_of_a_repository() {
    let toy = Toy::new();
    let ran = toy.run_in(&toy.kernel(), &["apply"]);
    assert_eq!(ran.code, 2, "{}", ran.err);
    assert!(ran.err.contains("no series.toml"), "{}", ran.err);
}

#[test]
fn refresh_refuses_what_it_could_not_write_back() {
    let toy = Toy::with_stack();
    let before = toy.snapshot();
    let tree = toy.applied();
    let tip = toy.git(&tree, &["rev-parse", "HEAD"]);
    let refuses = |said: &str| {
        let ran = toy.run(&["refresh"]);
        assert!(ran.code == 1 || ran.code == 2, "{said}: {}", ran.err);
        assert!(ran.err.contains(said), "{said}: {}", ran.err);
        assert_eq!(toy.snapshot(), before, "{said}");
        toy.git(&tree, &["reset", "-q", "--hard", &tip]);
    };
    toy.git(
        &tree,
        &["commit", "-q", "--allow-empty", "-m", "mm: nothing"],
    );
    refuses("changes nothing");
    toy.cover(&tree, "9-unknown", "text");
    refuses("9-unknown");
    toy.cover(&tree, "1-fixes", "text");
    refuses("order");
    replace(&tree.join("mm/gup.c"), "line 1\n", "line one\n");
    toy.commit(
        &tree,
        "mm: a message that looks like a diff\n\nSee\n---\ndiff --git a/x b/x\n",
    );
    refuses("do not survive");
}
