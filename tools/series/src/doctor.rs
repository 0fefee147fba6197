// SPDX-License-Identifier: GPL-2.0
//! `doctor`: what is set up, and what is not.

use crate::cli::DoctorArgs;
use crate::context::Context;
use crate::error::{Outcome, Result};
use crate::run;
use crate::toolchain::Toolchain;

pub fn doctor(ctx: &Context, _: &DoctorArgs) -> Result<Outcome> {
    println!("{:?}", crate::base::ensure(ctx)?);
    let t = Toolchain::ensure(ctx)?;
    println!("{} {}", t.root().display(), t.id);
    println!(
        "{}",
        run::text(
            t.command(&[(&ctx.repo, "/src")], "sh")
                .args(["-c", "ls /src; rustc --version; id; pwd; ps ax; env"])
        )?
    );
    Ok(Outcome::Clean)
}
