// SPDX-License-Identifier: GPL-2.0
//! Makes a Debian root with mmdebstrap.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::context::Context;
use crate::error::{At, Error, Result};
use crate::progress;
use crate::run;
use crate::sandbox::Sandbox;
use crate::toolchain::{MANIFEST, Root};

/// What a first run needs in all: the root, the base, a checkout and a build.
pub const NEED_GIB: u64 = 12;

/// Names another mirror than mmdebstrap's default.
const MIRROR: &str = "SERIES_MIRROR";

/// The machine's own architecture, as Debian calls it.
const HOST: &str = "amd64";

/// The guest's shell, for another architecture: unpacked to /opt, because both cannot be installed.
const FOREIGN_BUSYBOX: &str = include_str!("../data/foreign-busybox.sh");

/// Makes the root, unless it is there, under a temporary name and renames it when it is complete.
pub fn make(ctx: &Context, sandbox: Sandbox, kind: Root) -> Result<()> {
    let _lock = ctx.cache.lock("toolchain")?;
    let root = kind.path(ctx);
    let suite = kind.suite();
    if root.exists() {
        return Ok(());
    }
    ctx.cache.need_free(NEED_GIB, "the first set-up")?;
    let log = ctx.cache.path("log/toolchain.log");
    let _ = fs::remove_file(&log);
    need_mmdebstrap(&log)?;

    let dir = ctx.cache.dir("toolchain")?;
    remove_leftovers(sandbox, &dir)?;
    let new = dir.join(format!(".new-{}", std::process::id()));
    let step = progress::step(format_args!(
        "making the {} root (Debian {suite}, {} packages, 1 to 4 minutes)",
        kind.name(),
        kind.packages().len()
    ));
    let mut command = sandbox.command("mmdebstrap");
    command.args(["--mode=root", "--variant=minbase"]);
    command.arg(format!("--include={}", kind.packages().join(",")));
    for unused in ["doc", "man", "info", "locale"] {
        command.arg(format!("--dpkgopt=path-exclude=/usr/share/{unused}/*"));
    }
    if suite == Root::Latest.suite() {
        // A mirror that stands still for weeks is new enough; signatures are checked all the same.
        command.arg("--aptopt=Acquire::Check-Valid-Until \"false\"");
    }
    if let Some(foreign) = kind.foreign() {
        command.arg(format!("--architectures={HOST},{foreign}"));
        let hook = dir.join("foreign-busybox.sh");
        fs::write(&hook, FOREIGN_BUSYBOX).at(&hook)?;
        command.arg(format!(
            "--customize-hook=sh '{}' \"$1\" {foreign}",
            hook.display()
        ));
    }
    command.arg(format!(
        "--customize-hook=chroot \"$1\" dpkg-query -W > \"$1/{MANIFEST}\""
    ));
    command.arg(suite).arg(&new);
    if let Ok(mirror) = std::env::var(MIRROR) {
        command.arg(mirror);
    }
    let status = run::log_status(&mut command, &log)?;
    if !status.success() {
        drop(step);
        remove_leftovers(sandbox, &dir)?;
        return Err(failed(&log, suite)?);
    }
    fs::rename(&new, &root).at(&root)?;
    step.done();
    Ok(())
}

/// Says why mmdebstrap failed, as far as its log tells.
fn failed(log: &Path, suite: &str) -> Result<Error> {
    let said = run::end_of(log)?;
    let errors: Vec<&str> = said
        .lines()
        .filter(|line| line.starts_with("E: ") || line.starts_with("Err:"))
        .collect();
    let place = "toolchain root";
    let missing: Vec<&str> = said
        .lines()
        .filter_map(|line| line.strip_prefix("E: Unable to locate package "))
        .collect();
    let error = if !missing.is_empty() {
        Error::environment(
            place,
            format!("Debian {suite} has no package {}", missing.join(", ")),
        )
        .mend("correct tools/series/data/packages*.txt")
    } else if ["resolv", "onnect", "Failed to fetch", "unreachable"]
        .iter()
        .any(|word| said.contains(word))
    {
        Error::environment(place, "no network: the Debian mirror cannot be reached")
            .detail(errors.join("\n"))
            .mend("check the network or http_proxy, then run this again")
            .mend(format!(
                "export {MIRROR}=URL of a Debian mirror that can be reached"
            ))
    } else if said.contains("No space left") {
        Error::environment(place, "the disk is full").mend("free some disk, then run this again")
    } else {
        Error::environment(place, "mmdebstrap failed").detail(run::tail(&said))
    };
    Ok(error.mend(format!("read {}", log.display())))
}

/// Removes what a run that was killed left behind. The lock is held: nobody else works there.
fn remove_leftovers(sandbox: Sandbox, dir: &Path) -> Result<()> {
    for entry in fs::read_dir(dir).at(dir)? {
        let path = entry.at(dir)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with(".new-") {
            // In the sandbox, because files may belong to other users of a user namespace.
            let mut command = sandbox.command("rm");
            run::text(command.args(["-rf", "--one-file-system"]).arg(&path))?;
        }
    }
    Ok(())
}

/// Installs mmdebstrap if it is missing and we may.
fn need_mmdebstrap(log: &Path) -> Result<()> {
    let there = |program: &str| {
        run::capture(Command::new(program).arg("--version")).is_ok_and(|o| o.status.success())
    };
    if there("mmdebstrap") {
        return Ok(());
    }
    let missing = Error::environment("toolchain root", "mmdebstrap is not installed");
    if !there("apt-get") {
        return Err(missing
            .mend("install mmdebstrap with your package manager, then run this again")
            .mend("use the tools of this machine: cargo series --toolchain host ..."));
    }
    if !rustix::process::geteuid().is_root() {
        return Err(missing.mend("sudo apt-get install mmdebstrap uidmap"));
    }
    let step = progress::step("installing mmdebstrap on this machine with apt-get");
    let apt = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        command
            .args(arguments)
            .env("DEBIAN_FRONTEND", "noninteractive");
        command
    };
    // An index that cannot be refreshed may still know mmdebstrap.
    run::log_status(&mut apt(&["update"]), log)?;
    run::logged(
        &mut apt(&["install", "-y", "mmdebstrap"]),
        "apt-get install mmdebstrap",
        log,
    )?;
    step.done();
    Ok(())
}
