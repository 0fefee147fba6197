// SPDX-License-Identifier: GPL-2.0
//! `series`: where does a stack of kernel patches apply, does it build, boot and pass its tests at every patch.

#[macro_use]
mod output;

mod apply;
mod base;
mod bench;
mod cache;
mod check;
mod cli;
mod clock;
mod config;
mod conflict;
mod context;
mod debootstrap;
mod diff;
mod doctor;
mod drift;
mod error;
mod fold;
mod format;
mod git;
mod header;
mod history;
mod import;
mod kernel;
mod mail;
mod mirror;
mod onto;
mod package;
mod patches;
mod progress;
mod refresh;
mod report;
mod run;
mod sandbox;
mod scripts;
mod stack;
mod toolchain;
mod worktree;
mod written;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command};
use crate::context::Context;
use crate::error::{Outcome, Result};

fn main() -> ExitCode {
    let cli = Cli::parse();
    match dispatch(&cli).and_then(|outcome| output::arrived().map(|()| outcome)) {
        Ok(outcome) => outcome.exit_code().into(),
        Err(e) => {
            eprintln!("{e}");
            e.exit_code().into()
        }
    }
}

fn dispatch(cli: &Cli) -> Result<Outcome> {
    let ctx = Context::find(&cli.global)?;
    let (temporary, _running) = ctx.cache.temporary()?;
    // The first folder stays, and this is the first.
    let _ = tempfile::env::override_temp_dir(&temporary);
    history::keep_in(ctx.cache.dir("durations")?);
    match &cli.command {
        Command::Doctor(args) => doctor::doctor(&ctx, args),
        Command::Apply(args) => apply::apply(&ctx, args),
        Command::Drift(args) => drift::drift(&ctx, args),
        Command::Refresh(args) => refresh::refresh(&ctx, args),
        Command::Check(args) => check::check(&ctx, args),
        Command::Build(args) => kernel::build(&ctx, args),
        Command::Image(args) => kernel::image(&ctx, args),
        Command::Boot(args) => kernel::boot(&ctx, args),
        Command::Test(args) => kernel::test(&ctx, args),
        Command::Report(args) => report::report(&ctx, args),
        Command::Diff(args) => diff::diff(&ctx, args),
        Command::Mail(args) => mail::mail(&ctx, args),
        Command::Bench(args) => bench::bench(&ctx, args),
    }
}
