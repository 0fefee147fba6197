// SPDX-License-Identifier: GPL-2.0
//! `refresh`.

use crate::cli::RefreshArgs;
use crate::context::Context;
use crate::error::{Error, Outcome, Result};

pub fn refresh(_: &Context, _: &RefreshArgs) -> Result<Outcome> {
    Err(Error::not_run("refresh", "not written yet"))
}
