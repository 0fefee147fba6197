// SPDX-License-Identifier: GPL-2.0
//! The kernel half: configuration, build, image, guest, verdicts.

use crate::cli::{BootArgs, ImageArgs, TestArgs};
use crate::context::Context;
use crate::error::{Error, Outcome, Result};

/// The `[kernel]` table of `series.toml`.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {}

pub fn build(_: &Context, _: &ImageArgs) -> Result<Outcome> {
    Err(Error::not_run("build", "not written yet"))
}

pub fn image(_: &Context, _: &ImageArgs) -> Result<Outcome> {
    Err(Error::not_run("image", "not written yet"))
}

pub fn boot(_: &Context, _: &BootArgs) -> Result<Outcome> {
    Err(Error::not_run("boot", "not written yet"))
}

pub fn test(_: &Context, _: &TestArgs) -> Result<Outcome> {
    Err(Error::not_run("test", "not written yet"))
}
