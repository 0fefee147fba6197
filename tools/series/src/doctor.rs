// SPDX-License-Identifier: GPL-2.0
//! `doctor`.

use crate::cli::DoctorArgs;
use crate::context::Context;
use crate::error::{Error, Outcome, Result};

pub fn doctor(_: &Context, _: &DoctorArgs) -> Result<Outcome> {
    Err(Error::not_run("doctor", "not written yet"))
}
