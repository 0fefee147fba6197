// SPDX-License-Identifier: GPL-2.0
//! Mailboxes: the same bytes each time, the same tree as the patches, and a proof that fails when a mail is missing.

mod toy;

use std::fs;
use std::path::PathBuf;

use toy::{Ran, Toy, replace};

fn mail(toy: &Toy, more: &[&str]) -> Ran {
    let out = toy.path("out");
    let mut arguments = vec!["mail", "--no-b4", "--out", out.to_str().unwrap()];
    arguments.extend(more);
    toy.run(&arguments)
}

fn mbox(toy: &Toy, part: &str) -> PathBuf {
    toy.path("out").join(format!("{part}.mbox"))
}

fn read(toy: &Toy, part: &str) -> String {
    fs::read_to_string(mbox(toy, part)).unwrap()
}

/// The mailbox without its mail number `n`, counted from 0.
fn without(text: &str, n: usize) -> String {
    let mut left = String::new();
    let starts: Vec<usize> = text
        .match_indices("From mboxrd@z ")
        .map(|(at, _)| at)
        .collect();
    for (i, &start) in starts.iter().enumerate() {
        let end = starts.get(i + 1).copied().unwrap_or(text.len());
        if i != n {
            left += &text[start..end];
        }
    }
    left
}

#[test]
fn mailed_twice_the_bytes_are_the_same() {
    let toy = Toy::with_stack();
    let ran = mail(&toy, &[]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let first = (read(&toy, "1-fixes"), read(&toy, "2-feature"));
    fs::remove_dir_all(toy.path("cache")).unwrap();
    fs::remove_dir_all(toy.path("out")).unwrap();
    assert_eq!(mail(&toy, &[]).code, 0);
    assert_eq!((read(&toy, "1-fixes"), read(&toy, "2-feature")), first);
}

/// The cover letter of a part with this below it.
fn add_to_cover(toy: &Toy, part: &str, text: &str) {
    let cover = toy.repo().join("patches").join(part).join("cover.txt");
    let letter = fs::read_to_string(&cover).unwrap();
    fs::write(cover, format!("{letter}\n{text}")).unwrap();
}

#[test]
fn a_thread_with_a_cover_letter() {
    let toy = Toy::with_stack();
    for part in ["1-fixes", "2-feature"] {
        add_to_cover(&toy, part, "Changes since v1:\n- all\n");
    }
    assert_eq!(mail(&toy, &["--version", "v2", "--rfc"]).code, 0);
    let text = read(&toy, "2-feature");
    for part in [
        "Subject: [RFC PATCH v2 0/2] A feature.\n",
        "Subject: [RFC PATCH v2 2/2] mm: use pin_fd\n",
        "Ann Author (2):\n  mm: add pin_fd\n  mm: use pin_fd\n",
        " 3 files changed, ",
        "\nBased on Linux toy\nbase-tree: ",
        "\nchange-id: feature-",
        "\nprerequisite-change-id: fixes-",
        "\nprerequisite-patch-id: ",
    ] {
        assert!(text.contains(part), "{part:?} in {text}");
    }
    assert!(!text.contains("base-commit"), "{text}");
    assert!(
        !read(&toy, "1-fixes").contains("prerequisite"),
        "no part comes before it"
    );
}

#[test]
fn plain_git_am_of_the_mailboxes_leads_to_the_same_tree() {
    let toy = Toy::with_stack();
    let tree = toy.applied();
    assert_eq!(mail(&toy, &["--signoff"]).code, 2, "git has no identity");
    toy.git(&toy.repo(), &["config", "user.name", "Sam Signer"]);
    toy.git(&toy.repo(), &["config", "user.email", "sam@example.org"]);
    let ran = mail(&toy, &["--signoff"]);
    assert_eq!(ran.code, 0, "{}", ran.err);

    let clone = toy.path("clone");
    let kernel = toy.kernel();
    toy.git(
        &kernel,
        &[
            "clone",
            "-q",
            kernel.to_str().unwrap(),
            clone.to_str().unwrap(),
        ],
    );
    for part in ["1-fixes", "2-feature"] {
        toy.git(
            &clone,
            &[
                "am",
                "-q",
                "--empty=drop",
                mbox(&toy, part).to_str().unwrap(),
            ],
        );
    }
    assert_eq!(
        toy.git(&clone, &["rev-parse", "HEAD^{tree}"]),
        toy.git(&tree, &["rev-parse", "HEAD^{tree}"])
    );
    let log = toy.git(&clone, &["log", "-3", "--format=%an%n%b"]);
    assert_eq!(
        log.matches("Signed-off-by: Sam Signer <sam@example.org>")
            .count(),
        3
    );
    assert_eq!(log.matches("Ann Author\n").count(), 3);
}

#[test]
fn a_missing_mail_is_noticed() {
    let toy = Toy::with_stack();
    assert_eq!(mail(&toy, &[]).code, 0);
    assert_eq!(mail(&toy, &["--verify"]).code, 0);
    let whole = read(&toy, "2-feature");
    for n in [1, 2] {
        let less = without(&whole, n);
        fs::write(mbox(&toy, "2-feature"), &less).unwrap();
        let ran = mail(&toy, &["--verify"]);
        assert_eq!(ran.code, 1, "{n}: {}", ran.err);
        assert!(ran.err.contains("2-feature.mbox"), "{}", ran.err);
        assert_eq!(read(&toy, "2-feature"), less, "--verify writes nothing");
    }
}

#[test]
fn recipients_come_from_series_toml() {
    let toy = Toy::with_stack();
    let config = toy.repo().join("series.toml");
    let dir = "dir = \"2-feature\"";
    let good = format!("{dir}\nto = [\"linux-mm@kvack.org\"]\ncc = [\"a@x.org\", \"b@x.org\"]");
    replace(&config, dir, &good);
    assert_eq!(mail(&toy, &["--part", "2"]).code, 0);
    let text = read(&toy, "2-feature");
    assert_eq!(text.matches("\nTo: linux-mm@kvack.org\n").count(), 3);
    assert_eq!(text.matches("\nCc: a@x.org, b@x.org\n").count(), 3);
    assert!(!mbox(&toy, "1-fixes").exists(), "--part 2 is one part");
    replace(&config, "linux-mm@kvack.org", "nobody");
    let ran = mail(&toy, &[]);
    assert_eq!(ran.code, 2, "{}", ran.err);
    assert!(ran.err.contains("nobody"), "{}", ran.err);
}

#[test]
fn names_that_are_not_ascii_arrive() {
    let toy = Toy::with_stack();
    toy.git(&toy.repo(), &["config", "user.name", "Zoë Äß"]);
    toy.git(&toy.repo(), &["config", "user.email", "zoe@example.org"]);
    let dir = "dir = \"1-fixes\"";
    let to = format!("{dir}\nto = [\"Jürgen Groß <j@x.org>\"]");
    replace(&toy.repo().join("series.toml"), dir, &to);
    let cover = toy.repo().join("patches/1-fixes/cover.txt");
    fs::write(cover, "mm: Änderungen über ßß\n\nText.\n").unwrap();
    let ran = mail(&toy, &["--part", "1", "--signoff"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let text = read(&toy, "1-fixes");
    let (head, _) = text.split_once("\n\n").unwrap();
    assert!(head.is_ascii(), "{head}");
    let to = "\nTo: =?UTF-8?q?J=C3=BCrgen=20Gro=C3=9F?= <j@x.org>\n";
    assert!(head.contains(to), "{head}");
    // git decodes it with a reader of its own.
    let letter = toy.path("letter");
    fs::write(&letter, format!("{head}\n\nText.\n")).unwrap();
    let read = std::process::Command::new("git")
        .args(["mailinfo", "--encoding=UTF-8", "/dev/null", "/dev/null"])
        .stdin(fs::File::open(letter).unwrap())
        .output()
        .unwrap();
    let read = String::from_utf8(read.stdout).unwrap();
    for line in ["Author: Zoë Äß\n", "Subject: mm: Änderungen über ßß\n"] {
        assert!(read.contains(line), "{read}");
    }
}

#[test]
fn a_base_commit_is_never_invented() {
    let toy = Toy::with_stack();
    let base = toy.git(&toy.kernel(), &["rev-parse", "HEAD"]);
    assert_eq!(mail(&toy, &["--base-commit", &base]).code, 0);
    let text = read(&toy, "1-fixes");
    assert!(text.contains(&format!("\nbase-commit: {base}\n")), "{text}");
    assert!(!text.contains("base-tree"), "{text}");

    let other = toy.git(&toy.applied(), &["rev-parse", "HEAD"]);
    for (wrong, said) in [("v7.3", "no whole commit id"), (&other, "another tree")] {
        let ran = mail(&toy, &["--base-commit", wrong]);
        assert_eq!(ran.code, 2, "{wrong}: {}", ran.err);
        assert!(ran.err.contains(said), "{wrong}: {}", ran.err);
    }
}

#[test]
fn a_later_version_says_what_changed() {
    let toy = Toy::with_stack();
    let ran = mail(&toy, &["--part", "2", "--version", "v2"]);
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert!(
        ran.err
            .contains("2-feature/cover.txt: has no lines \"Changes since v1:\" for v2")
            && ran.err.contains("cargo series diff"),
        "{}",
        ran.err
    );
    add_to_cover(&toy, "2-feature", "Changes since v2:\n- all\n");
    let ran = mail(&toy, &["--part", "2"]);
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert!(ran.err.contains("is of v3"), "{}", ran.err);
    assert_eq!(mail(&toy, &["--part", "2", "--version", "v3"]).code, 0);
    // The part before it was sent once.
    let text = read(&toy, "2-feature");
    let before = text
        .lines()
        .find(|line| line.starts_with("prerequisite-change-id: fixes-"));
    assert!(before.is_some_and(|line| line.ends_with(":v1")), "{text}");
}

#[test]
fn what_somebody_else_wrote_is_not_replaced() {
    let toy = Toy::with_stack();
    let mine = mbox(&toy, "2-feature");
    let kept = |said: &str| {
        let before = fs::read(&mine).unwrap();
        let ran = mail(&toy, &["--rfc"]);
        assert_eq!(ran.code, 1, "{}", ran.err);
        assert!(
            ran.err.contains(said) && ran.err.contains("--force"),
            "{}",
            ran.err
        );
        assert_eq!(fs::read(&mine).unwrap(), before);
    };
    fs::create_dir(toy.path("out")).unwrap();
    fs::write(&mine, "my letters\n").unwrap();
    kept("2-feature.mbox: is not as this tool left it");
    assert!(!mbox(&toy, "1-fixes").exists(), "all of them or none");
    assert_eq!(mail(&toy, &["--force"]).code, 0);
    // What the tool wrote it replaces, also when it is not what it would write now.
    assert_eq!(mail(&toy, &["--rfc"]).code, 0);
    assert_eq!(mail(&toy, &[]).code, 0);
    replace(&mine, "A feature.", "A small feature.");
    assert_eq!(mail(&toy, &["--verify"]).code, 0);
    kept("2-feature.mbox: is not as this tool left it");
    fs::remove_file(&mine).unwrap();
    std::os::unix::fs::symlink("/dev/null", &mine).unwrap();
    kept("2-feature.mbox: is there, and is no plain file");
}

#[test]
fn what_cannot_be_mailed_says_why() {
    let toy = Toy::with_stack();
    let ran = mail(&toy, &["--part", "3"]);
    assert_eq!(ran.code, 2, "{}", ran.err);
    fs::remove_file(toy.repo().join("patches/1-fixes/cover.txt")).unwrap();
    let ran = mail(&toy, &["--part", "1"]);
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert!(ran.err.contains("1-fixes/cover.txt"), "{}", ran.err);
}

/// A repository whose owner git knows.
fn with_identity() -> Toy {
    let toy = Toy::with_stack();
    toy.git(&toy.repo(), &["config", "user.name", "Sam Signer"]);
    toy.git(&toy.repo(), &["config", "user.email", "sam@example.org"]);
    toy
}

#[test]
fn a_branch_for_b4() {
    let toy = with_identity();
    let config = toy.repo().join("series.toml");
    let dir = "dir = \"2-feature\"";
    replace(
        &config,
        dir,
        &format!("{dir}\nto = [\"linux-mm@kvack.org\"]"),
    );
    for part in ["1-fixes", "2-feature"] {
        add_to_cover(&toy, part, "Changes since v1:\n- all\n");
    }
    let tree = toy.applied();
    let tested = toy.git(&tree, &["rev-parse", "HEAD^{tree}"]);
    let ran = toy.run(&[
        "mail",
        "--no-b4",
        "--b4-branch",
        "--signoff",
        "--version",
        "v2",
    ]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert_eq!(ran.out, "b4/fixes\nb4/feature\n");
    let show = |format: &str, commit: &str| {
        toy.git(
            &tree,
            &["show", "-s", &format!("--format={format}"), commit],
        )
    };
    assert_eq!(show("%T", "b4/feature"), tested);
    // The first part's patch, the cover letter, two patches.
    let log = toy.git(&tree, &["log", "--format=%an|%cn|%s", "-3", "b4/feature"]);
    assert_eq!(
        log,
        "Ann Author|Sam Signer|mm: use pin_fd\nAnn Author|Sam Signer|mm: add pin_fd\n\
         Sam Signer|Sam Signer|A feature."
    );
    assert!(show("%b", "b4/feature").contains("Signed-off-by: Sam Signer <sam@example.org>"));
    assert_eq!(show("%T", "b4/feature~2"), show("%T", "b4/feature~3"));
    assert!(show("%s", "b4/feature~3").starts_with("mm: spell seven"));

    let cover = show("%B", "b4/feature~2");
    assert!(cover.contains("\nTo: linux-mm@kvack.org\n"), "{cover}");
    let (_, tracking) = cover.split_once("\n--- b4-submit-tracking ---\n").unwrap();
    let json = &tracking[tracking.find('{').unwrap()..];
    let tracking: serde_json::Value = serde_json::from_str(json).unwrap();
    let series = &tracking["series"];
    assert_eq!(series["revision"], 2);
    assert!(
        series["change-id"]
            .as_str()
            .unwrap()
            .starts_with("feature-")
    );
    let before = series["prerequisites"].as_array().unwrap();
    assert!(
        before[0].as_str().unwrap().starts_with("change-id: fixes-"),
        "{before:?}"
    );
    assert!(
        before[1].as_str().unwrap().starts_with("patch-id: "),
        "{before:?}"
    );
    assert_eq!(before.len(), 2);
}

#[test]
fn a_branch_with_work_in_it_is_not_replaced() {
    let toy = with_identity();
    let tree = toy.applied();
    let make = ["mail", "--no-b4", "--part", "2", "--b4-branch", "mine"];
    assert_eq!(toy.run(&make).code, 0);
    assert_eq!(toy.run(&make).code, 0, "what the tool left it replaces");

    toy.git(&tree, &["checkout", "-q", "mine"]);
    let ran = toy.run(&make);
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert!(ran.err.contains("is checked out in"), "{}", ran.err);
    replace(&tree.join("mm/gup.c"), "line 1\n", "line one\n");
    toy.commit(&tree, "mm: one\n\nWhy.");
    let mine = toy.git(&tree, &["rev-parse", "mine"]);
    let ran = toy.run(&make);
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert!(ran.err.contains("it may hold work of yours"), "{}", ran.err);
    assert_eq!(toy.git(&tree, &["rev-parse", "mine"]), mine);
}

#[test]
fn what_no_branch_can_be_made_of_says_why() {
    let toy = Toy::with_stack();
    let ran = toy.run(&["mail", "--no-b4", "--b4-branch"]);
    assert_eq!(ran.code, 2, "b4 goes by the committer: {}", ran.err);
    assert!(ran.err.contains("git has no user."), "{}", ran.err);
    let toy = with_identity();
    for (name, said) in [("one", "is one name for 2 parts"), ("a..b", "no name")] {
        let part: &[&str] = if name == "one" { &[] } else { &["--part", "1"] };
        let ran = toy.run(&[&["mail", "--no-b4", "--b4-branch", name][..], part].concat());
        assert_eq!(ran.code, 2, "{}", ran.err);
        assert!(ran.err.contains(said), "{}", ran.err);
    }
}
