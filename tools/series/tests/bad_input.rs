// SPDX-License-Identifier: GPL-2.0
//! What a machine and its owner can do to the tool: it says so, loses nothing, and the next run ends well.

mod toy;

use std::fs;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use toy::{Toy, replace};

#[test]
fn a_wrong_word_in_series_toml_has_a_caret_below_it() {
    let toy = Toy::new();
    let config = toy.repo().join("series.toml");
    let good = fs::read_to_string(&config).unwrap();
    for (old, wrong, word) in [
        ("dir = \"1-fixes\"", "dri = \"1-fixes\"", "dri"),
        ("dir = \"1-fixes\"", "dir = 7", "7"),
        ("base = \"toy\"", "base = toy", "toy"),
        ("[[parts]]", "[[partz]]", "partz"),
        ("dir = \"1-fixes\"", "dir = \"1-fixes", "\"1-fixes"),
        // What toml takes, and the tool does not.
        ("base = \"toy\"", "base = \"toys\"", "\"toys\""),
        ("dir = \"1-fixes\"", "dir = \"1/fixes\"", "\"1/fixes\""),
        ("dir = \"1-fixes\"", "dir = \"3-fixes\"", "\"2-feature\""),
        (
            "dir = \"2-feature\"",
            "dir = \"2-feature\"\nto = [\"a@b\", \"nobody\"]",
            "\"nobody\"",
        ),
        (
            "[[parts]]",
            "[[kernel.lanes]]\nname = \"x y\"\nconfig = []\n[[parts]]",
            "\"x y\"",
        ),
    ] {
        fs::write(&config, &good).unwrap();
        replace(&config, old, wrong);
        let ran = toy.run(&["check", "--no-checkpatch"]);
        assert_eq!(ran.code, 2, "{wrong}: {}", ran.err);
        let lines: Vec<&str> = ran.err.lines().collect();
        let caret = lines.iter().position(|line| line.contains('^')).unwrap();
        let column = lines[caret].find('^').unwrap();
        let shown = lines[caret - 1];
        let word_at = shown.find(word).unwrap();
        assert!(
            (word_at..=word_at + word.len()).contains(&column),
            "{wrong}:\n{shown}\n{}",
            lines[caret]
        );
    }
}

#[test]
fn a_disk_that_takes_no_more_is_named() {
    let toy = Toy::with_stack();
    let out = toy.path("out");
    let mail = ["mail", "--no-b4", "--out", out.to_str().unwrap()];
    let rfc = [&mail[..], &["--rfc"]].concat();
    // Whatever else is written is there already.
    for arguments in [&rfc[..], &mail] {
        assert_eq!(toy.run(arguments).code, 0);
    }
    let mbox = out.join("1-fixes.mbox");
    let before = fs::read(&mbox).unwrap();
    let series = toy.command(&rfc);
    let mut limited = Command::new("sh");
    limited
        .args(["-c", "trap '' XFSZ; ulimit -f 0; exec \"$@\"", "sh"])
        .arg(series.get_program())
        .args(series.get_args())
        .current_dir(toy.repo())
        .env("XDG_CACHE_HOME", toy.path("cache"));
    let output = limited.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("1-fixes.mbox: File too large"), "{said}");
    assert!(fs::read(&mbox).unwrap() == before, "it was cut");
}

#[test]
fn nobody_reads_what_is_printed() {
    let toy = Toy::with_stack();
    let sample = toy.path("sample.json");
    let entry = r#"{"kind":"pass","kernel":"k","test":"t","case":"c","reason":"","seconds":null}"#;
    let entries = vec![entry; 20_000].join(",");
    let text = format!(
        r#"{{"base":"b","tree":"t","started":0,"seconds":3,"toolchain":"t","sum":"s","patches":[],"steps":[],"entries":[{entries}]}}"#
    );
    fs::write(&sample, text).unwrap();
    let report = ["report", "--from", sample.to_str().unwrap()];
    let run = |arguments: &[&str], to: Stdio, bytes: &mut [u8]| {
        let mut child = toy
            .command(arguments)
            .stdout(to)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        if let Some(mut out) = child.stdout.take() {
            // As head does.
            out.read_exact(bytes).unwrap();
        }
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), said)
    };
    let full = || {
        fs::OpenOptions::new()
            .write(true)
            .open("/dev/full")
            .unwrap()
            .into()
    };
    for (arguments, verdict) in [
        (&report[..], 0),
        (&["apply"], 0),
        (&["check", "--no-checkpatch"], 1),
    ] {
        let (code, said) = run(arguments, full(), &mut []);
        assert_eq!(code, Some(3), "{arguments:?}: {said}");
        assert!(said.contains("standard output: No space left"), "{said}");
        let (code, said) = run(arguments, Stdio::piped(), &mut []);
        assert_eq!(code, Some(verdict), "{arguments:?}: {said}");
    }
    let (code, said) = run(&report, Stdio::piped(), &mut [0; 10]);
    assert_eq!((code, said.as_str()), (Some(0), ""));
}

/// Runs the tool, and kills it with all that it started after so many milliseconds.
fn killed(toy: &Toy, arguments: &[&str], after: u64) {
    let mut child = toy
        .command(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .unwrap();
    thread::sleep(Duration::from_millis(after));
    let group = format!("-{}", child.id());
    let _ = Command::new("kill").args(["-KILL", "--", &group]).output();
    child.wait().unwrap();
}

const MOMENTS: [u64; 8] = [3, 10, 25, 50, 80, 120, 180, 260];

#[test]
fn apply_that_was_killed_is_run_again() {
    let toy = Toy::with_stack();
    let tip = toy.git(&toy.applied(), &["rev-parse", "HEAD"]);
    for after in MOMENTS {
        fs::remove_dir_all(toy.path("cache")).unwrap();
        killed(&toy, &["apply"], after);
        let ran = toy.run(&["apply"]);
        assert_eq!(ran.code, 0, "killed after {after} ms: {}", ran.err);
        let tree = Path::new(ran.out.trim());
        assert_eq!(toy.git(tree, &["rev-parse", "HEAD"]), tip);
        assert_eq!(toy.git(tree, &["status", "--porcelain"]), "");
    }
}

#[test]
fn a_worktree_that_was_left_half_made_is_made_again() {
    let toy = Toy::with_stack();
    let tree = toy.applied();
    // As a kill in the middle of a checkout leaves it.
    let cache = toy.path("cache").join("series");
    let hash = "printf %s \"$1\" | sha256sum | cut -c-12";
    let name = Command::new("sh")
        .args(["-c", hash, "hash", tree.to_str().unwrap()])
        .output()
        .unwrap();
    let name = String::from_utf8(name.stdout).unwrap();
    let marks = cache.join("worktree-new");
    assert!(marks.is_dir(), "apply marks what it makes");
    let branch = toy.git(&tree, &["branch", "--show-current"]);
    // What git notes of it is locked until it is done, and a file of that can be empty.
    for file in ["none", "commondir", "gitdir"] {
        fs::write(marks.join(name.trim()), "").unwrap();
        fs::remove_file(tree.join("mm/gup.c")).unwrap();
        for entry in fs::read_dir(cache.join("linux.git/worktrees")).unwrap() {
            let noted = entry.unwrap().path();
            fs::write(noted.join("locked"), "initializing\n").unwrap();
            fs::write(noted.join(file), "").unwrap();
        }
        let lock = format!("linux.git/refs/heads/{branch}.lock");
        fs::write(cache.join(lock), "").unwrap();
        let ran = toy.run(&["apply"]);
        assert_eq!(ran.code, 0, "{file}: {}", ran.err);
        assert!(ran.err.contains("was left half made"), "{}", ran.err);
        assert_eq!(toy.git(&tree, &["status", "--porcelain"]), "");
    }
    // Work in a worktree that was finished is never taken for that.
    replace(&tree.join("mm/gup.c"), "line 1\n", "line one\n");
    assert_eq!(toy.run(&["apply"]).code, 1, "it is not committed");
    let kept = fs::read_to_string(tree.join("mm/gup.c")).unwrap();
    assert!(kept.contains("line one"));
}

#[test]
fn refresh_that_was_killed_is_run_again() {
    let toy = Toy::with_stack();
    let tree = toy.applied();
    replace(&tree.join("mm/pin_fd.c"), "int pin;", "long pin;");
    toy.git(&tree, &["commit", "-q", "-a", "--fixup=HEAD~1"]);
    toy.git(
        &tree,
        &[
            "-c",
            "sequence.editor=true",
            "rebase",
            "-q",
            "-i",
            "--autosquash",
            "--keep-empty",
            "HEAD~3",
        ],
    );
    let before = toy.snapshot();
    assert_eq!(toy.run(&["refresh"]).code, 0);
    let after_it = toy.snapshot();
    assert_ne!(before, after_it);
    for after in MOMENTS {
        for (path, (_, bytes)) in &before {
            fs::write(path, bytes).unwrap();
        }
        killed(&toy, &["refresh"], after);
        let ran = toy.run(&["refresh"]);
        assert_eq!(ran.code, 0, "killed after {after} ms: {}", ran.err);
        let now = toy.snapshot();
        let paths = now.keys().chain(after_it.keys());
        let other: Vec<_> = paths
            .filter(|path| now.get(*path) != after_it.get(*path))
            .collect();
        assert!(other.is_empty(), "killed after {after} ms: {other:?}");
    }
}

#[test]
fn refresh_that_ended_in_the_middle_needs_no_force() {
    let toy = Toy::with_stack();
    let tree = toy.applied();
    fs::create_dir(tree.join("virt")).unwrap();
    fs::write(tree.join("virt/pin.c"), "int virt;\n").unwrap();
    toy.commit(&tree, "virt: add pin\n\nWhy.");
    assert_eq!(toy.run(&["refresh"]).code, 0);
    // The file changes together with its patch, and something between the two cannot be written.
    replace(&tree.join("virt/pin.c"), "int virt;", "long virt;");
    toy.git(&tree, &["commit", "-q", "-a", "--amend", "--no-edit"]);
    fs::create_dir(tree.join("scripts")).unwrap();
    fs::write(tree.join("scripts/pin.pl"), "1;\n").unwrap();
    toy.commit(&tree, "scripts: add pin\n\nWhy.");
    let blocked = toy.repo().join("scripts");
    fs::write(&blocked, "no folder\n").unwrap();
    let ran = toy.run(&["refresh"]);
    assert_eq!(ran.code, 3, "{}", ran.err);
    assert!(ran.err.contains("scripts"), "{}", ran.err);
    fs::remove_file(blocked).unwrap();
    let ran = toy.run(&["refresh"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert_eq!(toy.run(&["refresh", "--verify"]).code, 0);
}

#[test]
fn two_runs_at_once_end_as_one() {
    let toy = Toy::with_stack();
    let tip = toy.git(&toy.applied(), &["rev-parse", "HEAD"]);
    for _ in 0..3 {
        fs::remove_dir_all(toy.path("cache")).unwrap();
        thread::scope(|scope| {
            let runs: Vec<_> = (0..3)
                .map(|_| scope.spawn(|| toy.run(&["apply"])))
                .collect();
            for run in runs {
                let ran = run.join().unwrap();
                assert_eq!(ran.code, 0, "{}", ran.err);
            }
        });
        assert_eq!(toy.git(&toy.applied(), &["rev-parse", "HEAD"]), tip);
    }
}

#[test]
fn who_waits_says_for_whom() {
    let toy = Toy::with_stack();
    fs::remove_dir_all(toy.path("cache")).unwrap();
    let cache = toy.path("cache").join("series");
    fs::create_dir_all(&cache).unwrap();
    let lock = cache.join("base.lock");
    fs::write(&lock, "4242\n").unwrap();
    let mut holder = Command::new("flock")
        .arg(&lock)
        .args(["-c", "echo held; sleep 1"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = [0; 5];
    holder.stdout.take().unwrap().read_exact(&mut said).unwrap();
    let ran = toy.run(&["apply"]);
    holder.wait().unwrap();
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(
        ran.err.contains("waiting for process 4242 that holds"),
        "{}",
        ran.err
    );
}

#[test]
fn a_clock_that_moved_changes_nothing() {
    let toy = Toy::with_stack();
    let before = toy.snapshot();
    let tree = toy.applied();
    for date in ["1980-01-02", "2100-01-02"] {
        for dir in [toy.repo(), tree.clone(), toy.kernel(), toy.path("cache")] {
            let touch = "find \"$1\" -exec touch -h -d \"$2\" {} +";
            let touched = Command::new("sh")
                .args(["-c", touch, "touch"])
                .args([dir.to_str().unwrap(), date])
                .status();
            assert!(touched.unwrap().success());
        }
        assert_eq!(toy.applied(), tree);
        assert_eq!(toy.run(&["refresh", "--verify"]).code, 0, "{date}");
        assert_eq!(toy.snapshot(), before, "{date}");
    }
    // An edit whose time is that of the file before is an edit all the same.
    let file = tree.join("mm/gup.c");
    let time = fs::metadata(&file).unwrap().modified().unwrap();
    replace(&file, "line 1\n", "line I\n");
    fs::File::options()
        .write(true)
        .open(&file)
        .unwrap()
        .set_modified(time)
        .unwrap();
    let ran = toy.run(&["refresh"]);
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert!(ran.err.contains("not committed"), "{}", ran.err);
}

#[test]
fn what_is_not_committed_in_the_base_is_not_in_the_base() {
    let toy = Toy::with_stack();
    let tip = toy.git(&toy.applied(), &["rev-parse", "HEAD"]);
    fs::remove_dir_all(toy.path("cache")).unwrap();
    let file = toy.kernel().join("mm/gup.c");
    replace(&file, "line 30\n", "line thirty\n");
    fs::write(toy.kernel().join("mm/new.c"), "int new;\n").unwrap();
    let tree = toy.applied();
    assert_eq!(toy.git(&tree, &["rev-parse", "HEAD"]), tip);
    assert!(!tree.join("mm/new.c").exists());
    assert!(fs::read_to_string(&file).unwrap().contains("line thirty"));
}

#[test]
fn files_whose_names_have_blanks() {
    let toy = Toy::with_stack();
    assert!(
        toy.repo().to_str().unwrap().contains(' '),
        "all of a toy lies in such a path"
    );
    let tree = toy.applied();
    for name in ["a b.c", " b", "ä ö.c", "it's.c", "a b/b c.c"] {
        let file = tree.join("mm").join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, "int blank;\n").unwrap();
    }
    toy.commit(&tree, "mm: add blanks\n\nWhy.");
    let ran = toy.run(&["refresh"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(toy.repo().join("mm/a b/b c.c").exists());
    let check = toy.run(&["check", "--no-checkpatch"]);
    assert!(
        !check.out.contains("blank") && !check.out.contains("mm/a"),
        "{}",
        check.out
    );
    let tip = toy.git(&tree, &["rev-parse", "HEAD^{tree}"]);
    fs::remove_dir_all(toy.path("cache")).unwrap();
    let again = toy.applied();
    assert_eq!(toy.git(&again, &["rev-parse", "HEAD^{tree}"]), tip);
    assert_eq!(toy.plain_am(), tip);
    assert_eq!(toy.run(&["refresh", "--verify"]).code, 0);
    let out = toy.path("out");
    let ran = toy.run(&["mail", "--no-b4", "--out", out.to_str().unwrap()]);
    assert_eq!(ran.code, 0, "{}", ran.err);
}
