// SPDX-License-Identifier: GPL-2.0
//! The commands that README shows, typed into a shell as they stand there, block by block: each ends as README says, and
//! does what the comment behind it says. Kernels, guests and b4 are those of a toy.

mod toy;

use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use toy::kernel::{self, program};
use toy::{Ran, Toy, append, replace};

const README: &str = include_str!("../../../README.md");

/// What a reader puts in the place of something, as the toy has it.
const REPLACED: [(&str, &str); 2] = [
    // What apply printed: there is one worktree.
    ("worktree/...", "worktree/*"),
    // Wherever the reader has the repository, beside the kernel here.
    ("/path/to/patches", "../repo/patches"),
];

/// The lanes that README names, one that is for the tip only, and those of `bench`.
const LANES: &str = r#"
[[kernel.lanes]]
name = "primary"
config = ["base"]
drivers = ["rust", "c"]

[[kernel.lanes]]
name = "gcc"
compiler = "gcc"
config = ["base"]
drivers = ["c"]

[[kernel.lanes]]
name = "gcc-no-shmem"
compiler = "gcc"
config = ["base"]
drivers = ["c"]
tip_only = true

[[kernel.lanes]]
name = "arm64"
arch = "arm64"
config = ["base"]
drivers = ["c"]

[[kernel.lanes]]
name = "bench"
config = ["base"]

[[kernel.lanes]]
name = "latency"
config = ["base"]
"#;

/// Knows the alias where cargo does, and says that the tool's own tests pass.
const CARGO: &str = r#"#!/bin/sh
case $1 in
series)
	[ -e series.toml ] || exit 101
	shift
	exec "$SERIES" --toolchain host "$@"
	;;
test) echo "test result: ok. 1 passed; 0 failed" ;;
esac
"#;

/// Refuses every example.
const RUSTC: &str = r#"#!/bin/sh
case "$*" in *example*) echo "error[E0277]: no" >&2; exit 1 ;; esac
echo a toy
"#;

/// What it is asked for is there.
const GCC: &str = r#"#!/bin/sh
while [ $# -gt 1 ]; do
	[ "$1" = -o ] && : > "$2"
	shift
done
"#;

const NM: &str = "#!/bin/sh\necho '1000 T bench_begin'\necho '2000 T bench_end'\n";

/// Takes each mailbox for a whole series, and reads of a branch what it is asked for.
const B4: &str = r#"#!/bin/sh
cover() {
	git log -1 --grep=b4-submit-tracking --format="$1" "$2"
}
case "$*" in
*" am "*)
	mkdir /mail/out
	cp /mail/series.mbox /mail/out/series.mbx
	mails=$(grep -c "^From mboxrd" /mail/series.mbox)
	echo "Total patches: $((mails - 1))"
	;;
*--show-info*) cover %B named | sed -n 's/.*"change-id": "\(.*\)",/change-id: \1/p' ;;
*--format-patch*) git format-patch -q -o /mail "$(cover %H HEAD)" ;;
esac
"#;

/// What finds nothing says nothing.
const SILENT: &str = "#!/bin/sh\n";

/// What must not compile.
const EXAMPLE: &str = "/// ```ignore,compile_fail,E0277\n/// pin();\n/// ```\npub fn pin() {}\n";

/// A repository whose last commit has the tag v1: fixes, and a new file mm/pin_fd.c.
fn repository() -> Toy {
    let toy = kernel::toy(LANES, |tree, n| match n {
        0 => base(tree),
        2 => write(tree, "mm/pin_fd.c", "int pin;\n"),
        _ => (),
    });
    for (name, text) in [
        ("cargo", CARGO),
        ("rustc", RUSTC),
        ("gcc", GCC),
        ("nm", NM),
        ("b4", B4),
        ("codespell", SILENT),
    ] {
        program(&toy.path("tools").join(name), text);
    }
    let identity = "[user]\n\tname = Sam Signer\n\temail = sam@example.org\n";
    fs::write(toy.path("gitconfig"), identity).unwrap();
    toy.commit(&toy.repo(), "first");
    toy.git(&toy.repo(), &["tag", "v1"]);
    toy
}

/// What Linux has, and `check`, `bench` and the examples need.
fn base(tree: &Path) {
    write(tree, "scripts/get_maintainer.pl", "");
    program(&tree.join("scripts/kernel-doc"), SILENT);
    write(tree, "drivers/dma-buf/Makefile", "obj-y := dma-buf.o\n");
    write(tree, "rust/kernel/pin.rs", EXAMPLE);
}

fn write(tree: &Path, name: &str, text: &str) {
    let path = tree.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// The sections of README that show commands, each with its commands. What programs print is indented too.
fn sections() -> Vec<(&'static str, Vec<&'static str>)> {
    let starts = ["    cargo ", "    cd ", "    git "];
    let is_command = |line: &str| starts.iter().any(|start| line.starts_with(start));
    let is_typed = |block: &&str| block.lines().any(is_command);
    let section = |text: &'static str| {
        let (heading, text) = text.split_once('\n')?;
        let lines = text.split("\n\n").filter(is_typed).flat_map(str::lines);
        Some((heading, lines.map(str::trim).collect()))
    };
    let all = README.split("\n## ").filter_map(section);
    all.filter(|(_, lines): &(_, Vec<_>)| !lines.is_empty())
        .collect()
}

/// Somebody in front of a shell.
struct Reader {
    toy: Toy,
    /// The current folder, and the one before.
    folders: RefCell<(PathBuf, PathBuf)>,
}

impl Reader {
    /// In the top folder of the repository.
    fn new() -> Self {
        let toy = repository();
        let repo = toy.repo();
        let folders = RefCell::new((repo.clone(), repo));
        Reader { toy, folders }
    }

    /// Types a line, and is where it leads to.
    fn types(&self, line: &str) -> Ran {
        let home = self.toy.path("home");
        fs::create_dir_all(&home).unwrap();
        let (here, before) = self.folders.borrow().clone();
        let output = Command::new("sh")
            .arg("-c")
            .arg(format!("{line}\nended=$?\npwd > ~/folder\nexit $ended"))
            .current_dir(&here)
            .env_remove("CARGO")
            .env_remove("XDG_CACHE_HOME")
            .env("HOME", &home)
            .env("OLDPWD", before)
            .env("PATH", kernel::path(&self.toy))
            .env("SERIES", env!("CARGO_BIN_EXE_series"))
            .env("GIT_CONFIG_GLOBAL", self.toy.path("gitconfig"))
            .output()
            .unwrap();
        let folder = PathBuf::from(fs::read_to_string(home.join("folder")).unwrap().trim());
        if folder != here {
            self.folders.replace((folder, here));
        }
        Ran::from(output)
    }

    fn here(&self) -> PathBuf {
        self.folders.borrow().0.clone()
    }

    fn repo(&self, name: &str) -> PathBuf {
        self.toy.repo().join(name)
    }

    /// Types what a section shows, in its order. `known` has for each command how it ends and what is looked at then, or
    /// done before the next one; any other one has to end with 0.
    fn follows(&self, heading: &str, known: &[(&str, i32, Then)]) {
        let sections = sections();
        let section = sections.iter().find(|(other, _)| *other == heading);
        let (_, lines) = section.unwrap_or_else(|| panic!("README has no commands in {heading:?}"));
        let command = |line: &str| line.split(" # ").next().unwrap().trim().to_owned();
        for (gone, ..) in known {
            let is_there = lines.iter().any(|line| command(line) == *gone);
            assert!(is_there, "README has no {gone:?} in {heading:?}");
        }
        for line in lines {
            let mut typed = (*line).to_owned();
            for (from, to) in REPLACED {
                typed = typed.replace(from, to);
            }
            let ran = self.types(&typed);
            let known = known.iter().find(|(known, ..)| *known == command(line));
            let code = known.map_or(0, |(_, code, _)| *code);
            assert_eq!(ran.code, code, "{line}\n{}{}", ran.out, ran.err);
            if let Some((.., then)) = known {
                then(self, &ran);
            }
        }
    }
}

type Then = fn(&Reader, &Ran);

fn says(ran: &Ran, text: &str) {
    assert!(ran.out.contains(text), "{text}: {}{}", ran.out, ran.err);
}

/// The file whose path is the last line.
fn last_path(ran: &Ran) -> PathBuf {
    let path = PathBuf::from(ran.out.lines().last().unwrap());
    assert!(path.exists(), "{}", ran.out);
    path
}

#[test]
fn every_section_with_commands_is_followed() {
    let headings: Vec<&str> = sections().iter().map(|(heading, _)| *heading).collect();
    let followed = [
        "Two commands",
        "Other compilers, architectures and configurations",
        "The patches without the tool",
        "Your own tests on our kernel",
        "What it costs",
        "Working on the patches",
        "Mailing the patches",
    ];
    assert_eq!(headings, followed);
    for (from, _) in REPLACED {
        assert!(README.contains(from), "README has no {from}");
    }
}

#[test]
fn two_commands() {
    Reader::new().follows(
        "Two commands",
        &[
            ("cargo series boot", 0, |_, ran| {
                says(ran, "tip+rust");
                says(ran, "\n2 passed, 0 failed, 0 skipped\n");
            }),
            ("cargo series test", 0, |_, ran| {
                for line in [
                    "pass  the tool's own tests",
                    "pass  check: checkpatch\n",
                    "pass  base+c: pin: seven: fails, as it must\n",
                    "pass  tip+rust: pin: seven\n",
                    "only --full builds",
                ] {
                    says(ran, line);
                }
            }),
        ],
    );
}

#[test]
fn other_compilers_architectures_and_configurations() {
    Reader::new().follows(
        "Other compilers, architectures and configurations",
        &[
            ("cargo series test --lane gcc", 0, |_, ran| {
                says(
                    ran,
                    "pass  gcc tip+c: build: whole kernel\n1 passed, 0 failed\n",
                );
            }),
            ("cargo series boot --lane arm64", 0, |reader, ran| {
                says(ran, "\n2 passed, 0 failed, 0 skipped\n");
                let image = last_path(&reader.types("cargo series image --lane arm64"));
                assert!(image.ends_with("Image"), "{}", image.display());
            }),
            ("cargo series test --lane gcc --full", 0, |_, ran| {
                says(ran, "pass  gcc patch 1+c: build: what it touches\n");
            }),
            ("cargo series test --full", 0, |_, ran| {
                says(ran, "skip  build: every patch in lane gcc-no-shmem: it is");
                says(ran, "pass  arm64 tip+c: build: whole kernel\n");
                let (before, _) = ran.out.split_once("pass  gcc tip+c").unwrap();
                assert!(before.contains("pass  patch 1+rust: build"), "{before}");
            }),
        ],
    );
}

#[test]
fn the_patches_without_the_tool() {
    let reader = Reader::new();
    reader.types("cd .. && git clone -q kernel linux-7.3.4");
    reader.follows(
        "The patches without the tool",
        &[(
            "cd linux-7.3.4 && git am /path/to/patches/*/*.patch",
            0,
            |reader, _| {
                let tree = |dir: &Path| reader.toy.git(dir, &["rev-parse", "HEAD^{tree}"]);
                assert_eq!(tree(&reader.here()), tree(&reader.toy.applied()));
            },
        )],
    );
}

#[test]
fn your_own_tests_on_our_kernel() {
    let reader = Reader::new();
    reader.types("echo '@ mine' | gzip > my.cpio.gz");
    reader.follows(
        "Your own tests on our kernel",
        &[
            ("cargo series image", 0, |_, ran| {
                assert!(last_path(ran).ends_with("bzImage"), "{}", ran.out);
            }),
            (
                "cargo series boot --initrd my.cpio.gz --append \"my.option=1\" --memory 3G",
                0,
                |_, ran| {
                    says(ran, " my.option=1\n");
                    says(ran, "series: begin mine\n");
                },
            ),
        ],
    );
}

#[test]
fn what_it_costs() {
    Reader::new().follows(
        "What it costs",
        &[
            ("cargo series bench", 0, |reader, ran| {
                says(ran, "  create /page               390.6          0       390.6          0       390.6 ");
                let counts = ran
                    .out
                    .lines()
                    .find_map(|line| line.strip_prefix("counts: "));
                let counts = Path::new(counts.unwrap());
                for picture in ["bars.svg", "growth.png"] {
                    assert!(counts.with_file_name(picture).exists(), "{}", ran.out);
                }
                // An earlier run, which was recorded.
                let text = fs::read_to_string(counts).unwrap();
                for copy in ["FILE", "tools/series/bench/baseline.json"] {
                    write(&reader.toy.repo(), copy, &text);
                }
            }),
            ("cargo series bench --profile create/shmem", 0, |_, ran| {
                says(ran, "100.0 %  pin\n");
            }),
            ("cargo series bench --check", 0, |_, ran| {
                says(ran, "are at most 2 % above the recorded ones\n");
            }),
            ("cargo series bench --from FILE --form md", 0, |_, ran| {
                says(ran, "| create /page |");
            }),
            ("cargo series bench --latency", 0, |_, ran| {
                says(ran, "with interrupts or preemption off");
            }),
            // No accelerator works here.
            ("cargo series bench --wall", 4, |_, ran| {
                says(ran, "NOT RUN, no accelerator works here");
            }),
        ],
    );
}

#[test]
fn working_on_the_patches() {
    Reader::new().follows(
        "Working on the patches",
        &[
            ("cargo series apply", 0, |_, ran| {
                assert!(last_path(ran).join("mm/pin_fd.c").exists());
            }),
            ("cd ~/.cache/series/worktree/...", 0, |reader, _| {
                let tree = reader.here();
                replace(&tree.join("mm/gup.c"), "line 1\n", "line one\n");
                let toy = &reader.toy;
                toy.commit(&tree, "mm: spell one\n\nDigits are hard to read.");
            }),
            ("cargo series refresh", 0, |reader, _| {
                let patch = reader.repo("patches/1-fixes/0003-mm-spell-one.patch");
                assert!(patch.exists());
            }),
            ("cargo series check", 0, |reader, ran| {
                says(ran, "check: 3 patches, 0 findings\n");
                append(&reader.repo("mm/pin_fd.c"), "int edited;\n");
            }),
            (
                "cargo series refresh --fold mm/pin_fd.c",
                0,
                |reader, _| {
                    let patch = reader.repo("patches/1-fixes/0002-selftests-mm-read-seven.patch");
                    let text = fs::read_to_string(patch).unwrap();
                    assert!(text.contains("\n+int edited;\n"), "{text}");
                },
            ),
            ("cargo series diff v1", 0, |_, ran| {
                let changelog = "\nChanges since v1:\n- selftests/mm: read seven: changed:\n- mm: spell one: new\n";
                says(ran, changelog);
            }),
        ],
    );
}

#[test]
fn mailing_the_patches() {
    Reader::new().follows(
        "Mailing the patches",
        &[
            ("cargo series mail --signoff", 0, |_, ran| {
                let mbox = mailbox(ran);
                let text = fs::read_to_string(&mbox).unwrap();
                let signed = "\nSigned-off-by: Sam Signer <sam@example.org>\n";
                assert_eq!(text.matches(signed).count(), 2, "{text}");
                replace(&mbox, "They are small.", "They are tiny.");
            }),
            ("cargo series mail --verify", 0, |_, ran| {
                let text = fs::read_to_string(mailbox(ran)).unwrap();
                assert!(text.contains("They are tiny."), "{text}");
            }),
            ("cargo series mail --force", 0, |_, ran| {
                let text = fs::read_to_string(mailbox(ran)).unwrap();
                assert!(text.contains("They are small."), "{text}");
            }),
            ("cargo series mail --b4-branch", 0, |_, ran| {
                assert_eq!(ran.out, "b4/fixes\n");
            }),
        ],
    );
}

/// Of the only part that has patches.
fn mailbox(ran: &Ran) -> PathBuf {
    PathBuf::from(ran.out.lines().next().unwrap())
}
