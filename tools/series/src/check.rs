// SPDX-License-Identifier: GPL-2.0
//! `check`.

use crate::cli::CheckArgs;
use crate::context::Context;
use crate::error::{Error, Outcome, Result};

pub fn check(_: &Context, _: &CheckArgs) -> Result<Outcome> {
    Err(Error::not_run("check", "not written yet"))
}
