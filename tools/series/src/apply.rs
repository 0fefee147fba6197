// SPDX-License-Identifier: GPL-2.0
//! `apply`.

use crate::cli::ApplyArgs;
use crate::context::Context;
use crate::error::{Error, Outcome, Result};

pub fn apply(_: &Context, _: &ApplyArgs) -> Result<Outcome> {
    Err(Error::not_run("apply", "not written yet"))
}
