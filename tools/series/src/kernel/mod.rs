// SPDX-License-Identifier: GPL-2.0
//! The kernel half: configuration, build, image, guest, verdicts.

pub mod accel;
mod ahead;
pub mod arch;
mod boot;
pub mod build;
mod examples;
mod figures;
pub mod guest;
mod itself;
mod kconfig;
mod kept;
mod ktap;
pub mod lane;
pub mod own;
mod plan;
pub mod qemu;
#[cfg(test)]
mod replay;
mod same;
mod settings;
mod splat;
mod steps;
mod table;
mod tally;
mod test;
mod tip;
mod userland;
mod warnings;

pub use boot::boot;
pub use settings::{GuestTest, Settings};
pub use test::test;

use crate::cli::{Driver, ImageArgs};
use crate::context::Context;
use crate::error::{Error, Outcome, Result};
use crate::toolchain::Toolchain;
use crate::{patches, stack};

use build::{Kernel, Source};

pub fn build(ctx: &Context, args: &ImageArgs) -> Result<Outcome> {
    selected(ctx, args)?;
    Ok(Outcome::Clean)
}

pub fn image(ctx: &Context, args: &ImageArgs) -> Result<Outcome> {
    let (_, kernel) = selected(ctx, args)?;
    outln!("{}", kernel.image.display());
    Ok(Outcome::Clean)
}

/// The kernel that these arguments ask for, built now if it has to be.
fn selected(ctx: &Context, args: &ImageArgs) -> Result<(Toolchain, Kernel)> {
    let lane = ctx.config.kernel.lane(args.lane.as_deref())?;
    let driver = driver(ctx, args)?;
    if lane.objects_only {
        return Err(Error::config(
            format!("--lane {}", lane.name),
            "compiles what the stack touches, and links no kernel",
        )
        .mend(format!("cargo series test --lane {}", lane.name)));
    }
    if let Some(n) = args.patch {
        patches::need(ctx, n)?;
    }
    let toolchain = Toolchain::ensure_in(ctx, lane.root)?;
    let stack = stack::ensure(ctx)?;
    let source = match (args.base, args.patch) {
        (true, _) => Source::base(&stack),
        (_, Some(n)) => Source::patch(&stack, n),
        _ => Source::tip(&stack),
    };
    let kernel = build::kernel(ctx, &toolchain, &source, driver, lane)?;
    Ok((toolchain, kernel))
}

/// The driver that these arguments ask for. The base has the C driver only: a lane's base is built as its first driver,
/// with or without Rust.
fn driver(ctx: &Context, args: &ImageArgs) -> Result<Driver> {
    let lane = ctx.config.kernel.lane(args.lane.as_deref())?;
    match (args.base, args.driver) {
        (true, Some(Driver::Rust)) => Err(Error::config(
            "--driver rust",
            "the base has the C driver only",
        )
        .mend("leave out --driver, or --base")),
        (true, _) => Ok(lane.base_driver()),
        (false, driver) => lane.driver(driver),
    }
}
