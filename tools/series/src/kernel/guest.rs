// SPDX-License-Identifier: GPL-2.0
//! The guest's user space: busybox, the kernel's selftests built static, and our init script.

use std::fs;
use std::path::{Path, PathBuf};

use super::GuestTest;
use super::arch::Machine;
use super::build::{self, Source, jobs};
use super::own;
use super::userland;
use crate::context::{Context, short_hash};
use crate::error::{At, Error, Result};
use crate::progress;
use crate::run;
use crate::toolchain::Toolchain;
use crate::worktree;

const INIT: &str = include_str!("../../data/init.sh");

/// What of busybox the guest has.
const APPLETS: [&str; 26] = [
    "awk", "cat", "chroot", "cttyhack", "date", "dmesg", "echo", "grep", "head", "id", "ls",
    "mkdir", "mkswap", "mktemp", "mount", "poweroff", "rm", "rmdir", "setsid", "sh", "sleep",
    "stty", "swapoff", "swapon", "timeout", "umount",
];

/// Scripts of the kernel's selftests ask for it, and get a shell that knows a part of its language. For that, `((2 >= 1024))`
/// is a command that is not found: false, as it should be for pages of 2 MiB.
const BASH: &str = "#!/bin/sh\nexec sh \"$@\"\n";

/// So that of libfuse a guest needs the library alone: `fusermount -u FOLDER`.
const FUSERMOUNT: &str = "#!/bin/sh\nexec umount \"$2\"\n";

/// Packs /guest into an initramfs whose bytes depend on its contents alone.
const PACK: &str = "cd /guest && find . -mindepth 1 -exec touch -h -d @0 {} + && \
    find . -mindepth 1 -printf '%P\\n' | LC_ALL=C sort | \
    cpio --quiet --reproducible -o -H newc -R 0:0 | gzip -n -1 > /out/initramfs";

/// How an initramfs and what is in it are made, to the letter: its bytes depend on this beside sources and tools.
pub const HOW: &str = concat!(include_str!("guest.rs"), include_str!("own.rs"));

/// An initramfs that runs nothing and powers off.
pub fn empty(ctx: &Context, toolchain: &Toolchain, machine: &'static Machine) -> Result<PathBuf> {
    let init = init(machine);
    let key = short_hash(format!("empty {} {init} {HOW}", toolchain.id).as_bytes());
    packed(ctx, toolchain, machine, &key, &[], |_| Ok(()))
}

/// An initramfs that runs these tests, built from these sources.
pub fn with_tests(
    ctx: &Context,
    toolchain: &Toolchain,
    machine: &'static Machine,
    source: &Source,
    tests: &[GuestTest],
) -> Result<PathBuf> {
    let own = match tests.iter().any(|test| test.own) {
        true => Some((own::SOURCES, own::SCRIPTS)),
        false => None,
    };
    let init = init(machine);
    let root = match own::need_root(tests) {
        true => Some(userland::archive(ctx, toolchain)?),
        false => None,
    };
    let key = format!(
        "{} {} {init} {tests:?} {own:?} {root:?} {HOW}",
        source.tree, toolchain.id
    );
    let key = short_hash(key.as_bytes());
    let initramfs = packed(ctx, toolchain, machine, &key, tests, |guest| {
        // A kernel that is being built has the same worktree.
        let _lock = ctx.cache.lock("build")?;
        let tree = worktree::at(ctx, &source.commit)?;
        let objects = ctx.cache.dir(format!("build/selftests-{}", machine.arch))?;
        build::claim(&objects, &tree)?;
        let log = ctx.cache.path("log/selftests.log");
        let step = progress::step("building the guest's selftests");
        let make = |arguments: &[&str]| {
            let mut command = toolchain.command(
                &[(&tree, "/src"), (&objects, "/obj"), (guest, "/guest")],
                "make",
            );
            command.arg(format!("-j{}", jobs())).args(arguments);
            run::logged(&mut command, "selftests", &log)
        };
        let arch = format!("ARCH={}", machine.arch);
        make(&["-s", "-C", "/src", "O=/obj", "LLVM=1", &arch, "headers"])?;
        for test in tests {
            let folder = format!("tools/testing/selftests/{}", test.dir);
            for program in test.beside.iter().chain([&test.program]) {
                if test.own {
                    own::build(toolchain, guest, program, &log)?;
                    continue;
                }
                let file = tree.join(&folder).join(program);
                if program.ends_with(".sh") {
                    fs::copy(&file, guest.join("bin").join(program)).at(&file)?;
                    continue;
                }
                make(&[
                    "-s",
                    "-C",
                    &format!("/src/{folder}"),
                    &arch,
                    &format!("CC={}", machine.cc),
                    "OUTPUT=/guest/bin",
                    "KHDR_INCLUDES=-isystem /obj/usr/include",
                    "LDFLAGS=-static",
                    &format!("/guest/bin/{program}"),
                ])?;
            }
        }
        step.done();
        Ok(())
    })?;
    match root {
        Some(root) => userland::behind(&initramfs, &root),
        None => Ok(initramfs),
    }
}

/// An initramfs of busybox, `init.sh` and what `fill` adds.
pub fn packed(
    ctx: &Context,
    toolchain: &Toolchain,
    machine: &Machine,
    key: &str,
    tests: &[GuestTest],
    fill: impl FnOnce(&Path) -> Result<()>,
) -> Result<PathBuf> {
    let dir = ctx.cache.dir(format!("guest/{key}"))?;
    let finished = dir.join("initramfs");
    if finished.exists() {
        return Ok(finished);
    }
    let temporary = tempfile::tempdir().at("temporary folder")?;
    let out = temporary.path();
    let guest = &out.join("guest");
    fs::create_dir(guest).at(guest)?;
    for folder in ["bin", "dev", "proc", "sys", "tmp"] {
        fs::create_dir(guest.join(folder)).at(guest)?;
    }
    let busybox = toolchain.file(machine.busybox);
    fs::copy(&busybox, guest.join("bin/busybox")).map_err(|e| {
        Error::environment(busybox.display(), e)
            .mend("install busybox-static, or leave out --toolchain host")
    })?;
    for applet in APPLETS {
        std::os::unix::fs::symlink("busybox", guest.join("bin").join(applet)).at(guest)?;
    }
    for (name, script) in [("bash", BASH), ("fusermount", FUSERMOUNT)] {
        let path = guest.join("bin").join(name);
        fs::write(&path, script).at(&path)?;
        make_executable(&path)?;
    }
    let list: String = tests.iter().map(GuestTest::lines).collect();
    fs::write(guest.join("tests"), list).at(guest)?;
    let file = guest.join("init");
    fs::write(&file, init(machine)).at(&file)?;
    make_executable(&file)?;
    fill(guest)?;

    let log = ctx.cache.path("log/initramfs.log");
    let mut command = toolchain.command(&[(guest, "/guest"), (out, "/out")], "sh");
    command.args(["-c", PACK]);
    run::logged(&mut command, "initramfs", &log)?;
    // Another process may have packed the same meanwhile.
    fs::rename(out.join("initramfs"), &finished).at(&finished)?;
    Ok(finished)
}

/// The first process, with the name that the second serial port has on this machine.
fn init(machine: &Machine) -> String {
    INIT.replace("RESULTS", machine.results)
}

pub(super) fn make_executable(path: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).at(path)
}
