// SPDX-License-Identifier: GPL-2.0
//! `doctor`: what is set up, and what is not.

use crate::base;
use crate::cli::{DoctorArgs, ToolchainChoice};
use crate::context::Context;
use crate::debootstrap::NEED_GIB;
use crate::error::{Error, Outcome, Result};
use crate::kernel::{accel, own};
use crate::run;
use crate::sandbox::Sandbox;
use crate::toolchain::{Root, Toolchain};

/// The tools that scripts/min-tool-version.sh knows, and how each says its version.
const TOOLS: [(&str, &str); 5] = [
    ("llvm", "clang --version"),
    ("gcc", "gcc --version"),
    ("rustc", "rustc --version"),
    ("bindgen", "bindgen --version"),
    ("binutils", "ld --version"),
];

/// What a kernel needs where all else is set up.
const BUILD_GIB: u64 = 6;

pub fn doctor(ctx: &Context, args: &DoctorArgs) -> Result<Outcome> {
    let mut missing = Vec::new();
    let mut line = |what: &str, state: std::result::Result<String, String>| match state {
        Ok(text) => outln!("ok       {what}: {text}"),
        Err(text) => {
            missing.push(what.to_owned());
            outln!("missing  {what}: {text}");
        }
    };

    let need = need_gib(ctx);
    let free = ctx.cache.free()? >> 30;
    let disk = format!("{free} GiB free in {}", ctx.cache.root().display());
    line(
        "disk",
        if free >= need {
            Ok(disk)
        } else {
            Err(format!("{disk}, {need} are needed"))
        },
    );
    line(
        "right to mount",
        Sandbox::probe()
            .map(|sandbox| format!("{sandbox:?}"))
            .map_err(|e| e.to_string()),
    );

    if args.fix {
        Toolchain::ensure(ctx)?;
        base::ensure(ctx)?;
    }
    let tools = Toolchain::existing(ctx)?;
    let root = Root::Main.path(ctx);
    line(
        "toolchain",
        match &tools {
            Some(tools) => Ok(format!("{} in {}", tools.id, tools.root().display())),
            None => Err(format!(
                "{}: cargo series doctor --fix makes it",
                root.display()
            )),
        },
    );
    for lane_root in Root::ALL.into_iter().filter(|root| *root != Root::Main) {
        outln!("{}", optional_root(ctx, lane_root)?);
    }
    outln!(
        "ok       accelerator: {}",
        accel::known(ctx, tools.as_ref())
    );
    let base = base::existing(ctx)?;
    let (name, _) = ctx.config.base();
    line(
        "base kernel",
        match &base {
            Some(base) => Ok(format!("{name}, tree {}", base.tree)),
            None => Err(format!("{name}: cargo series doctor --fix fetches it")),
        },
    );
    if let (Some(tools), Some(base)) = (tools, base) {
        let script = base.git().run(&[
            "show",
            &format!("{}:scripts/min-tool-version.sh", base.commit),
        ])?;
        for (tool, version) in TOOLS {
            let wanted = run::text(tools.command(&[], "sh").args([
                "-c",
                &script,
                "min-tool-version.sh",
                tool,
            ]))?;
            let have = run::text(tools.command(&[], "sh").args(["-c", version]))?;
            let have = have.lines().next().unwrap_or("").to_owned();
            let text = format!("{have} (at least {})", wanted.trim());
            line(
                tool,
                if at_least(&have, wanted.trim()) {
                    Ok(text)
                } else {
                    Err(text)
                },
            );
        }
    }
    if missing.is_empty() {
        return Ok(Outcome::Clean);
    }
    let cause = format!("lacks {}", missing.join(", "));
    Err(Error::environment("this machine", cause)
        .mend("cargo series doctor --fix, which makes the toolchain and fetches the base kernel")
        .mend("free some disk, or what the lines above say"))
}

/// The free disk that is needed: much of it is used up once all is set up.
fn need_gib(ctx: &Context) -> u64 {
    let tools = ctx.toolchain == ToolchainChoice::Host || Root::Main.path(ctx).exists();
    let all = tools && matches!(base::existing(ctx), Ok(Some(_)));
    if all { BUILD_GIB } else { NEED_GIB }
}

/// A root that only some lanes or guests need: it is no fault that it is not there.
fn optional_root(ctx: &Context, root: Root) -> Result<String> {
    let kernel = &ctx.config.kernel;
    let lanes = kernel.lanes.iter().filter(|lane| lane.root == root);
    let mut users: Vec<String> = lanes.map(|lane| format!("--lane {}", lane.name)).collect();
    if root == Root::Programs {
        let guests = kernel.guests.iter();
        let guests = guests.filter(|guest| own::need_root(&kernel.in_layout(guest)));
        users.extend(guests.map(|guest| format!("--guest {}", guest.name)));
    }
    let what = format!("{} root, for {}", root.name(), users.join(", "));
    Ok(match Toolchain::existing_in(ctx, root)? {
        Some(tools) => format!(
            "ok       {what}: {} in {}",
            tools.id,
            tools.root().display()
        ),
        None => format!("not made {what}, which makes it"),
    })
}

/// Whether the first version number in `text` is `wanted` or newer.
fn at_least(text: &str, wanted: &str) -> bool {
    let numbers = |version: &str| -> Vec<u32> {
        version
            .split('.')
            .map_while(|part| part.parse().ok())
            .collect()
    };
    text.split(|c: char| !c.is_ascii_digit() && c != '.')
        .find(|word| word.contains('.') && word.starts_with(|c: char| c.is_ascii_digit()))
        .is_some_and(|word| numbers(word.trim_end_matches('.')) >= numbers(wanted))
}

#[cfg(test)]
mod tests {
    use super::at_least;

    #[test]
    fn versions() {
        assert!(at_least("rustc 1.85.1 (4eb161250 2025-03-15)", "1.85.0"));
        assert!(at_least("Debian clang version 19.1.7 (3+b1)", "15.0.0"));
        assert!(!at_least("bindgen 0.70.1", "0.71.1"));
        assert!(!at_least("nothing", "1.0"));
    }
}
