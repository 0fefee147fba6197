// SPDX-License-Identifier: GPL-2.0
//! A toy kernel, a toy repository of patches on it, and a cache, all in one temporary folder.

// Each test program uses its own share of it.
#![allow(dead_code)]

pub mod kernel;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

pub struct Toy {
    dir: TempDir,
}

/// What a run of the tool gave.
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

pub const SERIES_TOML: &str = r#"
base = "toy"

[bases.toy]
git = "KERNEL"

[[parts]]
dir = "1-fixes"

[[parts]]
dir = "2-feature"
"#;

impl Toy {
    /// A kernel of a few files, a repository without patches.
    pub fn new() -> Self {
        let toy = Toy {
            dir: tempfile::Builder::new()
                .prefix("a toy's ")
                .tempdir()
                .unwrap(),
        };
        let kernel = toy.kernel();
        fs::create_dir_all(kernel.join("mm")).unwrap();
        let mut numbered: String = (1..=40).map(|i| format!("line {i}\n")).collect();
        // A label: only with .gitattributes it is no function that a hunk header names.
        numbered = numbered.replace("line 27\n", "out:\n");
        fs::write(kernel.join("mm/gup.c"), numbered).unwrap();
        fs::write(kernel.join("Makefile"), "VERSION = 7\n").unwrap();
        // Kernel trees have this: it decides what hunk headers say.
        fs::write(kernel.join(".gitattributes"), "*.c diff=cpp\n").unwrap();
        toy.git(&kernel, &["init", "-q"]);
        toy.commit(&kernel, "base");
        fs::create_dir_all(toy.repo()).unwrap();
        toy.git(&toy.repo(), &["init", "-q"]);
        let config = SERIES_TOML.replace("KERNEL", kernel.to_str().unwrap());
        fs::write(toy.repo().join("series.toml"), config).unwrap();
        toy
    }

    /// The same with two parts, three patches, cover letters and mirrored files.
    pub fn with_stack() -> Self {
        let toy = Toy::new();
        let tree = toy.applied();
        toy.cover(
            &tree,
            "1-fixes",
            "Fixes that stand alone.\n\nThey are small.",
        );
        replace(&tree.join("mm/gup.c"), "line 7\n", "line seven\n");
        toy.commit(
            &tree,
            "mm: spell seven in a way that nobody can mistake for a digit, whatever font they use\n\n\
             Digits are hard to read.  Zoë said so.\n\n # not a comment\n",
        );
        toy.cover(&tree, "2-feature", "A feature.");
        fs::write(tree.join("mm/pin_fd.c"), "int pin;\n").unwrap();
        fs::write(tree.join("mm/run.sh"), "#!/bin/sh\n").unwrap();
        executable(&tree.join("mm/run.sh"));
        toy.commit(&tree, "mm: add pin_fd\n\nWhy it is there.");
        replace(&tree.join("mm/gup.c"), "line 30\n", "line 30\npin();\n");
        toy.commit(&tree, "mm: use pin_fd\n\nWhy it is used.");
        assert_eq!(toy.run(&["refresh"]).code, 0);
        toy
    }

    /// Adds to series.toml.
    pub fn configure(&self, text: &str) {
        append(&self.repo().join("series.toml"), text);
    }

    pub fn kernel(&self) -> PathBuf {
        self.dir.path().join("kernel")
    }

    pub fn repo(&self) -> PathBuf {
        self.dir.path().join("repo")
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The tool, in the repository.
    pub fn run(&self, arguments: &[&str]) -> Ran {
        self.run_in(&self.repo(), arguments)
    }

    pub fn run_in(&self, dir: &Path, arguments: &[&str]) -> Ran {
        let output = self.command(arguments).current_dir(dir).output().unwrap();
        let ran = Ran::from(output);
        assert!(
            (0..=4).contains(&ran.code),
            "{arguments:?}: {}\n{}",
            ran.code,
            ran.err
        );
        ran
    }

    /// The tool in the repository, to be run.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_series"));
        command
            .args(arguments)
            .current_dir(self.repo())
            .env("XDG_CACHE_HOME", self.path("cache"))
            .env("GIT_CONFIG_GLOBAL", self.path("gitconfig"));
        command
    }

    /// Applies, and returns the worktree.
    pub fn applied(&self) -> PathBuf {
        let ran = self.run(&["apply"]);
        assert_eq!(ran.code, 0, "{}", ran.err);
        PathBuf::from(ran.out.trim())
    }

    pub fn git(&self, dir: &Path, arguments: &[&str]) -> String {
        let output = Command::new("git")
            .arg("-C")
            .arg(dir)
            .args(arguments)
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_AUTHOR_NAME", "Ann Author")
            .env("GIT_AUTHOR_EMAIL", "ann@example.org")
            .env("GIT_COMMITTER_NAME", "Ann Author")
            .env("GIT_COMMITTER_EMAIL", "ann@example.org")
            .output()
            .unwrap();
        let ran = Ran::from(output);
        assert_eq!(ran.code, 0, "git {arguments:?}: {}{}", ran.out, ran.err);
        ran.out.trim().to_owned()
    }

    pub fn commit(&self, dir: &Path, message: &str) {
        self.git(dir, &["add", "-A"]);
        self.git(dir, &["commit", "-q", "--cleanup=verbatim", "-m", message]);
    }

    pub fn cover(&self, dir: &Path, part: &str, text: &str) {
        let message = format!("cover: {part}\n\n{text}");
        self.git(dir, &["commit", "-q", "--allow-empty", "-m", &message]);
    }

    /// Every file of the repository, with its mode and bytes.
    pub fn snapshot(&self) -> BTreeMap<PathBuf, (bool, Vec<u8>)> {
        let mut files = BTreeMap::new();
        walk(&self.repo(), &mut files);
        files
    }

    /// The tip's tree, applied by plain git in a new clone.
    pub fn plain_am(&self) -> String {
        let clone = self.path("plain");
        let _ = fs::remove_dir_all(&clone);
        let kernel = self.kernel();
        self.git(
            self.dir.path(),
            &["clone", "-q", kernel.to_str().unwrap(), "plain"],
        );
        let output = Command::new("sh")
            .arg("-c")
            .arg("git am -q \"$1\"/patches/*/*.patch")
            .args(["am", self.repo().to_str().unwrap()])
            .current_dir(&clone)
            .env("GIT_COMMITTER_NAME", "Bob")
            .env("GIT_COMMITTER_EMAIL", "bob@example.org")
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        self.git(&clone, &["rev-parse", "HEAD^{tree}"])
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Ran {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

pub fn replace(file: &Path, old: &str, new: &str) {
    let text = fs::read_to_string(file).unwrap();
    assert!(text.contains(old), "{} has no {old:?}", file.display());
    fs::write(file, text.replacen(old, new, 1)).unwrap();
}

pub fn append(file: &Path, text: &str) {
    let whole = fs::read_to_string(file).unwrap() + text;
    fs::write(file, whole).unwrap();
}

pub fn executable(file: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(file, fs::Permissions::from_mode(0o755)).unwrap();
}

fn walk(dir: &Path, files: &mut BTreeMap<PathBuf, (bool, Vec<u8>)>) {
    use std::os::unix::fs::PermissionsExt;
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.ends_with(".git") {
            continue;
        }
        let meta = fs::symlink_metadata(&path).unwrap();
        if meta.is_dir() {
            walk(&path, files);
        } else {
            let mode = meta.permissions().mode() & 0o100 != 0;
            files.insert(path.clone(), (mode, fs::read(&path).unwrap()));
        }
    }
}
