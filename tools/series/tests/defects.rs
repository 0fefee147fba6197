// SPDX-License-Identifier: GPL-2.0
//! Seeded defects: each is caught, for its own reason and for no other.

mod toy;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use toy::{Ran, Toy, replace};

const FIX: &str = "patches/1-fixes/0001-mm-spell-seven.patch";
const ADD: &str = "patches/2-feature/0001-mm-add-pin_fd.patch";
const USE: &str = "patches/2-feature/0002-mm-use-pin_fd.patch";

/// A stack that nothing is wrong with.
fn sound() -> Toy {
    let toy = Toy::with_stack();
    let folder = toy.repo().join("patches/1-fixes");
    let long = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|end| end == "patch"))
        .unwrap();
    // The toy's first subject is too long on purpose.
    let text = fs::read_to_string(&long).unwrap();
    let start = text.find("Subject:").unwrap();
    let end = text.find("MIME-Version").unwrap();
    let text = format!(
        "{}Subject: [PATCH] mm: spell seven\n{}",
        &text[..start],
        &text[end..]
    );
    fs::remove_file(long).unwrap();
    fs::write(toy.repo().join(FIX), text).unwrap();
    let ran = toy.run(&["check", "--no-checkpatch"]);
    assert_eq!(ran.out, "check: 3 patches, 0 findings\n", "{}", ran.err);
    toy
}

/// Everything as it was in `before`.
fn restore(toy: &Toy, before: &std::collections::BTreeMap<PathBuf, (bool, Vec<u8>)>) {
    for path in toy
        .snapshot()
        .into_keys()
        .filter(|path| !before.contains_key(path))
    {
        fs::remove_file(path).unwrap();
    }
    for (path, (executable, bytes)) in before {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
        mode(path, if *executable { 0o755 } else { 0o644 });
    }
    let empty = toy.repo().join("patches/9-other");
    let _ = fs::remove_dir(empty);
}

fn mode(file: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(file, fs::Permissions::from_mode(mode)).unwrap();
}

/// What is done to the repository, and what must be said of it.
type Defect = (&'static str, fn(&Path), &'static str);

fn edit(repo: &Path, file: &str, old: &str, new: &str) {
    replace(&repo.join(file), old, new);
}

const IN_PATCHES: [Defect; 29] = [
    (
        "a subject without a prefix",
        |repo| edit(repo, USE, "[PATCH] mm: use", "[PATCH] use"),
        "has no subsystem prefix",
    ),
    (
        "a subject with a prefix that nobody uses",
        |repo| {
            edit(repo, "series.toml", "base =", "prefixes = [\"mm\"]\nbase =");
            edit(repo, USE, "[PATCH] mm: use", "[PATCH] Mm: use");
        },
        "prefix \"Mm\" is none of the prefixes in series.toml",
    ),
    (
        "a subject that is too long",
        |repo| {
            edit(
                repo,
                USE,
                "mm: use",
                &format!("mm: {} use", "long ".repeat(15)),
            )
        },
        "subject is longer than 75 characters",
    ),
    (
        "a subject that ends like a sentence",
        |repo| edit(repo, USE, "use pin_fd\n", "use pin_fd.\n"),
        "subject ends with a full stop",
    ),
    (
        "a patch without a message",
        |repo| edit(repo, USE, "Why it is used.\n", ""),
        "no message below the subject",
    ),
    (
        "a signature that nobody gave",
        |repo| {
            edit(
                repo,
                USE,
                "used.\n",
                "used.\n\nSigned-off-by: A <a@b.org>\n",
            )
        },
        "Signed-off-by: is for the person who gives it",
    ),
    (
        "a review that nobody gave",
        |repo| edit(repo, USE, "used.\n", "used.\n\nReviewed-by: A <a@b.org>\n"),
        "Reviewed-by: is for the person who gives it",
    ),
    (
        "a Fixes: without the subject",
        |repo| edit(repo, USE, "used.\n", "used.\n\nFixes: 0123456789ab\n"),
        "is not Fixes: <12 digits>",
    ),
    (
        "a Fixes: without a blank and in another case",
        |repo| edit(repo, USE, "used.\n", "used.\n\nfixes:0123 x\n"),
        "is not Fixes: <12 digits>",
    ),
    (
        "a signature in another case",
        |repo| edit(repo, USE, "used.\n", "used.\n\nSigned-Off-By: x\n"),
        "Signed-off-by: is for the person who gives it",
    ),
    (
        "a line of a new file that was edited in its patch",
        |repo| edit(repo, ADD, "+int pin;", "+int pun;"),
        "0001-mm-add-pin_fd.patch: mm/pin_fd.c: its lines are blob ",
    ),
    (
        "a line of a changed file that was edited in its patch",
        |repo| edit(repo, USE, "+pin();", "+pun();"),
        "0002-mm-use-pin_fd.patch: mm/gup.c becomes ",
    ),
    (
        "a patch that does not apply",
        |repo| edit(repo, USE, " line 31\n", " line 13\n"),
        "0002-mm-use-pin_fd.patch: does not apply",
    ),
    (
        "a blob id that is cut short",
        |repo| cut_ids(&repo.join(ADD), "mm/pin_fd.c"),
        "mm/pin_fd.c: no whole blob id",
    ),
    (
        "a patch without blob ids",
        |repo| without_ids(&repo.join(USE)),
        "mm/gup.c: no whole blob id",
    ),
    (
        "a patch that starts from something else",
        |repo| other_start(&repo.join(USE)),
        "the patch before it leaves",
    ),
    (
        "a patch that starts from something else than the base",
        |repo| other_start(&repo.join(FIX)),
        "0001-mm-spell-seven.patch: mm/gup.c starts from ",
    ),
    (
        "a patch that is there twice",
        |repo| {
            let again = repo.join("patches/2-feature/0003-mm-use-pin_fd.patch");
            fs::copy(repo.join(USE), again).unwrap();
        },
        "the patch before it leaves",
    ),
    (
        "a rename",
        |repo| {
            edit(
                repo,
                USE,
                "index ",
                "rename from mm/a.c\nrename to mm/gup.c\nindex ",
            )
        },
        "renames are not used here",
    ),
    (
        "a mail without a subject",
        |repo| edit(repo, USE, "Subject: [PATCH] mm: use pin_fd\n", ""),
        "no Subject: header",
    ),
    (
        "a mail without an author",
        |repo| edit(repo, USE, "From: Ann Author <ann@example.org>\n", ""),
        "no From: header",
    ),
    (
        "a mail that is cut off in its headers",
        |repo| cut(&repo.join(USE), "\nSubject"),
        "no empty line after the mail's headers",
    ),
    (
        "a mail that is cut off before its patch",
        |repo| cut(&repo.join(USE), "diff --git"),
        "changes no file",
    ),
    (
        "a mirrored file that was edited",
        |repo| edit(repo, "mm/pin_fd.c", "int pin", "long pin"),
        "mm/pin_fd.c: is not what the patches add",
    ),
    (
        "a mirrored file that is gone",
        |repo| fs::remove_file(repo.join("mm/run.sh")).unwrap(),
        "mm/run.sh: the patches add it, and it is not here",
    ),
    (
        "a program that cannot be executed",
        |repo| mode(&repo.join("mm/run.sh"), 0o644),
        "mm/run.sh: is a program in the patches, and not executable here",
    ),
    (
        "a source that can be executed",
        |repo| mode(&repo.join("mm/pin_fd.c"), 0o755),
        "mm/pin_fd.c: is executable here, and no program in the patches",
    ),
    (
        "a file that no patch adds",
        |repo| fs::write(repo.join("mm/more.c"), "int more;\n").unwrap(),
        "mm/more.c: no patch adds it",
    ),
    (
        "a part that series.toml does not name",
        |repo| fs::create_dir(repo.join("patches/9-other")).unwrap(),
        "patches/9-other: series.toml names no such part",
    ),
];

/// `check` needs no kernel for these.
#[test]
fn in_patches_and_mirrored_files() {
    let toy = sound();
    let before = toy.snapshot();
    for (what, seed, said) in IN_PATCHES {
        seed(&toy.repo());
        let ran = toy.run(&["check", "--no-checkpatch"]);
        caught(what, &ran, said);
        restore(&toy, &before);
    }
    assert_eq!(toy.run(&["check", "--no-checkpatch"]).code, 0);
    fs::remove_dir_all(toy.path("cache")).unwrap();
    let ran = toy.run(&["check", "--no-checkpatch"]);
    assert_eq!(ran.code, 4, "{}", ran.out);
    let said = "not run: what patches make of the base: the base is not here";
    assert!(ran.out.contains(said), "{}", ran.out);
}

/// Plain `git am` fails, whether the tool has merged it before or not.
#[test]
fn in_a_base_that_changed_around_a_patch() {
    let toy = sound();
    replace(&toy.kernel().join("mm/gup.c"), "line 5\n", "line five\n");
    toy.commit(&toy.kernel(), "five");
    let merged = toy.run(&["apply"]).err;
    assert!(merged.contains("by a 3-way merge only"), "{merged}");
    let ran = toy.run(&["check", "--no-checkpatch"]);
    let said = "0001-mm-spell-seven.patch: mm/gup.c starts from ";
    caught("a 3-way merge", &ran, said);
}

/// A patch that was edited is named, and not the one behind it that applies no more.
#[test]
fn in_a_patch_that_another_builds_on() {
    let toy = sound();
    let tree = toy.applied();
    replace(&tree.join("mm/gup.c"), "line seven\n", "line VII\n");
    toy.commit(&tree, "mm: roman seven\n\nIt was long.");
    assert_eq!(toy.run(&["refresh"]).code, 0);
    edit(&toy.repo(), FIX, "+line seven", "+line sevem");
    let ran = toy.run(&["check", "--no-checkpatch"]);
    caught(
        "an edit before",
        &ran,
        "0001-mm-spell-seven.patch: mm/gup.c becomes ",
    );
}

/// A mail by itself, as b4 gives it to an external command: the array that its documentation describes.
#[test]
fn in_a_mail_for_b4() {
    let toy = sound();
    let out = toy.path("out");
    let mail = ["mail", "--no-b4", "--rfc", "--out", out.to_str().unwrap()];
    assert_eq!(toy.run(&mail).code, 0);
    let mbox = fs::read_to_string(out.join("2-feature.mbox")).unwrap();
    let mails: Vec<&str> = mbox.split_inclusive("From mboxrd@z ").skip(1).collect();
    let checked = |mail: &str| {
        let mut child = toy
            .command(&["check", "--b4-json", "--no-checkpatch"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let bytes = format!("From mboxrd@z {mail}");
        child
            .stdin
            .take()
            .unwrap()
            .write_all(bytes.as_bytes())
            .unwrap();
        let output = child.wait_with_output().unwrap();
        let results: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        (output.status.code().unwrap(), results)
    };
    let (code, results) = checked(mails[0]);
    assert_eq!(
        (code, results),
        (0, serde_json::json!([])),
        "a cover letter"
    );
    let signed = mails[1].replace("is there.\n", "is there.\n\nSigned-off-by: A <a@b.org>\n");
    let (code, results) = checked(&signed);
    assert_eq!(code, 0, "{results}");
    let passed = |tool: &str| serde_json::json!({ "tool": tool, "status": "pass" });
    let all = [passed("series: messages"), passed("series: index lines")];
    assert_eq!(results.as_array().unwrap()[..], all);
    let (code, results) = checked(&signed.replace("+int pin;", "+int pun;"));
    assert_eq!(code, 1, "{results}");
    assert_eq!(results[0], all[0]);
    assert_eq!(results[1]["status"], "fail");
    let details = results[1]["details"].as_str().unwrap();
    assert!(
        details.starts_with("mm: add pin_fd: mm/pin_fd.c: its lines"),
        "{details}"
    );
    // As others mail, without --full-index.
    let short = toy.path("short");
    fs::write(&short, &signed).unwrap();
    cut_ids(&short, "mm/pin_fd.c");
    let (code, results) = checked(&fs::read_to_string(&short).unwrap());
    assert_eq!((code, &results.as_array().unwrap()[..]), (0, &all[..]));
    let (code, results) = checked(&signed.replace("Subject: ", "Object: "));
    assert_eq!(code, 1, "{results}");
    assert_eq!(results[0]["status"], "fail");
    assert_eq!(results[0]["details"], "mail: no Subject: header");
}

/// What only applying can tell: the error's first line names the patch and the cause.
const IN_DIFFS: [Defect; 7] = [
    (
        "a patch that was left out",
        |repo| fs::remove_file(repo.join(ADD)).unwrap(),
        "mm/pin_fd.c: does not exist in index",
    ),
    (
        "a line of context that is not there",
        |repo| edit(repo, USE, " line 30\n", " line thirty\n"),
        "patch failed: mm/gup.c:28\n      28: line 28\n      29: line 29\n      30: line 30\n",
    ),
    (
        "a hunk that is cut off",
        |repo| cut(&repo.join(USE), " line 31\n"),
        "corrupt patch",
    ),
    (
        "a hunk whose header counts wrong",
        |repo| edit(repo, USE, "+pin();\n", "+pin();\n+pin();\n"),
        "corrupt patch",
    ),
    (
        "a file that is added twice",
        |repo| {
            let again = repo.join("patches/2-feature/0003-mm-add-pin_fd.patch");
            fs::copy(repo.join(ADD), again).unwrap();
        },
        "0003-mm-add-pin_fd.patch: changes nothing",
    ),
    (
        "patches in the wrong order",
        |repo| {
            let widen = "patches/2-feature/0003-mm-widen-pin.patch";
            fs::rename(
                repo.join(widen),
                repo.join("patches/2-feature/0000-mm-widen-pin.patch"),
            )
            .unwrap();
        },
        "mm/pin_fd.c: does not exist in index",
    ),
    (
        "a message without a date",
        |repo| edit(repo, USE, "Date: ", "Dated: "),
        "the mail has no date",
    ),
];

#[test]
fn in_diffs() {
    let toy = sound();
    let tree = toy.applied();
    replace(&tree.join("mm/pin_fd.c"), "int pin;", "long pin;");
    toy.commit(&tree, "mm: widen pin\n\nIt was narrow.");
    assert_eq!(toy.run(&["refresh"]).code, 0);
    let before = toy.snapshot();
    for (what, seed, said) in IN_DIFFS {
        seed(&toy.repo());
        let ran = toy.run(&["apply"]);
        assert_eq!(ran.code, 1, "{what}: {}", ran.err);
        assert!(ran.err.contains(said), "{what}: {}", ran.err);
        assert!(ran.err.contains("error: patches/"), "{what}: {}", ran.err);
        restore(&toy, &before);
    }
    assert_eq!(toy.run(&["apply"]).code, 0);
}

/// What is done to a mailbox that was written, and what the proof says.
type Forgery = (&'static str, fn(&str) -> String, &'static str);

const IN_MAILBOXES: [Forgery; 6] = [
    (
        "a changed line",
        |text| text.replacen("+pin();", "+pun();", 1),
        "leads to tree",
    ),
    (
        "a changed line of context",
        |text| text.replacen("\n line 30\n", "\n line 03\n", 1),
        "git am does not apply it",
    ),
    (
        "an end that was cut off",
        |text| text[..text.rfind(" line 31").unwrap()].to_owned(),
        "git am does not apply it",
    ),
    (
        "a mail that is missing",
        |text| text[..text.rfind("From mboxrd@z ").unwrap()].to_owned(),
        "git am of its 1 patches leads to tree",
    ),
    (
        "a mail that is there twice",
        |text| format!("{text}{}", &text[text.rfind("From mboxrd@z ").unwrap()..]),
        "git am",
    ),
    (
        "nothing at all",
        |_| String::new(),
        "git am does not apply it",
    ),
];

#[test]
fn in_mailboxes() {
    let toy = sound();
    let out = toy.path("out");
    let arguments = [
        "mail",
        "--no-b4",
        "--part",
        "2",
        "--out",
        out.to_str().unwrap(),
    ];
    assert_eq!(toy.run(&arguments).code, 0);
    let mbox = out.join("2-feature.mbox");
    let good = fs::read_to_string(&mbox).unwrap();
    for (what, forge, said) in IN_MAILBOXES {
        let forged = forge(&good);
        assert_ne!(forged, good, "{what}");
        fs::write(&mbox, forged).unwrap();
        let ran = toy.run(&[&arguments[..], &["--verify"]].concat());
        assert_eq!(ran.code, 1, "{what}: {}", ran.err);
        assert!(ran.err.contains(said), "{what}: {}", ran.err);
        assert!(ran.err.contains("2-feature.mbox"), "{what}: {}", ran.err);
    }
}

/// What is done to the commits of a worktree, and what `refresh` says.
type Rewrite = (&'static str, fn(&Toy, &Path), &'static str);

const IN_WORKTREES: [Rewrite; 4] = [
    (
        "a merge",
        |toy, tree| {
            toy.git(tree, &["checkout", "-q", "-b", "side", "HEAD~1"]);
            fs::write(tree.join("mm/side.c"), "int side;\n").unwrap();
            toy.commit(tree, "mm: side\n\nWhy.");
            toy.git(tree, &["checkout", "-q", "-"]);
            toy.git(tree, &["merge", "-q", "--no-ff", "-m", "mm: merge", "side"]);
            toy.git(tree, &["branch", "-q", "-D", "side"]);
        },
        "is a merge",
    ),
    (
        "a patch of no part",
        |toy, tree| {
            toy.git(tree, &["reset", "-q", "--hard", "HEAD~5"]);
            replace(&tree.join("mm/gup.c"), "line 1\n", "line one\n");
            toy.commit(tree, "mm: one\n\nWhy.");
        },
        "stands before the first part's cover commit",
    ),
    (
        "a cover letter that changes files",
        |toy, tree| {
            toy.git(tree, &["reset", "-q", "--hard", "HEAD~3"]);
            replace(&tree.join("mm/gup.c"), "line 1\n", "line one\n");
            toy.commit(tree, "cover: 2-feature\n\nA feature.");
        },
        "is a cover commit and changes files",
    ),
    (
        "a history without the base",
        |toy, tree| {
            toy.git(tree, &["checkout", "-q", "--orphan", "other"]);
            fs::write(tree.join("mm/gup.c"), "another kernel\n").unwrap();
            toy.commit(tree, "mm: another\n\nWhy.");
        },
        "does not contain the base",
    ),
];

#[test]
fn in_worktrees() {
    for (what, rewrite, said) in IN_WORKTREES {
        let toy = sound();
        let tree = toy.applied();
        let before = toy.snapshot();
        rewrite(&toy, &tree);
        let ran = toy.run(&["refresh"]);
        assert_eq!(ran.code, 1, "{what}: {}", ran.err);
        assert!(ran.err.contains(said), "{what}: {}", ran.err);
        assert_eq!(toy.snapshot(), before, "{what}");
    }
}

fn caught(what: &str, ran: &Ran, said: &str) {
    assert_eq!(ran.code, 1, "{what}: {}{}", ran.out, ran.err);
    let of_one = |line: &&str| {
        !["mend: ", "check: ", "not run: ", " "]
            .iter()
            .any(|s| line.starts_with(s))
    };
    let findings: Vec<&str> = ran.out.lines().filter(of_one).collect();
    assert!(!findings.is_empty(), "{what}: {}", ran.out);
    for finding in &findings {
        assert!(finding.contains(said), "{what}: {finding}");
    }
    let sum = format!(" patches, {} findings\n", findings.len());
    assert!(ran.out.ends_with(&sum), "{what}: {}", ran.out);
}

/// Shortens the ids of one file's diff.
fn cut_ids(patch: &Path, file: &str) {
    let text = fs::read_to_string(patch).unwrap();
    let at = text.find(&format!("diff --git a/{file}")).unwrap();
    let start = at + text[at..].find("index ").unwrap();
    let end = start + text[start..].find('\n').unwrap();
    let (old, new) = text[start + 6..end].split_once("..").unwrap();
    let short = format!("index {}..{}", &old[..12], &new[..12]);
    fs::write(patch, format!("{}{short}{}", &text[..start], &text[end..])).unwrap();
}

fn without_ids(patch: &Path) {
    let text = fs::read_to_string(patch).unwrap();
    let kept: Vec<&str> = text
        .lines()
        .filter(|line| !line.starts_with("index "))
        .collect();
    fs::write(patch, kept.join("\n") + "\n").unwrap();
}

fn other_start(patch: &Path) {
    let text = fs::read_to_string(patch).unwrap();
    let start = text.find("index ").unwrap() + 6;
    let zeroes = "1".repeat(40);
    fs::write(
        patch,
        format!("{}{zeroes}{}", &text[..start], &text[start + 40..]),
    )
    .unwrap();
}

/// The file without what starts with this.
fn cut(file: &Path, from: &str) {
    let text = fs::read_to_string(file).unwrap();
    fs::write(file, &text[..text.find(from).unwrap()]).unwrap();
}
