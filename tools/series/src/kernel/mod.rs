// SPDX-License-Identifier: GPL-2.0
//! The kernel half: configuration, build, image, guest, verdicts.

pub mod accel;
mod boot;
pub mod build;
mod examples;
pub mod guest;
pub mod kconfig;
mod kept;
mod ktap;
mod own;
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

pub use boot::boot;
pub use settings::{GuestTest, Settings};
pub use test::test;

use crate::cli::{Driver, ImageArgs};
use crate::context::Context;
use crate::error::{Outcome, Result};
use crate::toolchain::Toolchain;
use crate::{patches, stack};

use build::{Kernel, Source};

pub fn build(ctx: &Context, args: &ImageArgs) -> Result<Outcome> {
    selected(ctx, args)?;
    Ok(Outcome::Clean)
}

pub fn image(ctx: &Context, args: &ImageArgs) -> Result<Outcome> {
    let (_, kernel) = selected(ctx, args)?;
    println!("{}", kernel.image.display());
    Ok(Outcome::Clean)
}

/// The kernel that these arguments ask for, built now if it has to be.
fn selected(ctx: &Context, args: &ImageArgs) -> Result<(Toolchain, Kernel)> {
    let lane = kconfig::Lane::named(args.lane.as_deref())?;
    if let Some(n) = args.patch {
        patches::need(ctx, n)?;
    }
    let toolchain = Toolchain::ensure(ctx)?;
    let stack = stack::ensure(ctx)?;
    let source = match (args.base, args.patch) {
        (true, _) => Source::base(&stack),
        (_, Some(n)) => Source::patch(&stack, n),
        _ => Source::tip(&stack),
    };
    // The base has the C driver only.
    let driver = if args.base { Driver::C } else { args.driver };
    let kernel = build::kernel(ctx, &toolchain, &source, driver, lane)?;
    Ok((toolchain, kernel))
}
