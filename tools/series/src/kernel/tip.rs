// SPDX-License-Identifier: GPL-2.0
//! The tip in the lanes of `series.toml`. What its tools complain about there is held against the base, and so are its
//! tests where it is booted.

use std::collections::BTreeSet;
use std::time::Instant;

use super::boot::{self, Run};
use super::build::{self, Kernel, Source};
use super::lane::Lane;
use super::plan;
use super::settings::{Layout, on_base};
use super::test::{Session, boot_args};
use super::{GuestTest, Settings, table, warnings};
use crate::cli::Driver;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::report::{BOOT, BUILD, Entry, LaneTools};
use crate::stack::Stack;
use crate::toolchain::Toolchain;

/// The lanes of these names.
pub fn chosen<'a>(ctx: &'a Context, names: &[String]) -> Result<Vec<&'a Lane>> {
    let find = |name: &String| {
        let lane = ctx.config.kernel.lane(Some(name))?;
        if lane.drivers.is_empty() {
            return Err(Error::config(
                format!("--lane {name}"),
                "is for figures, and not tested by itself",
            )
            .mend("cargo series bench"));
        }
        Ok(lane)
    };
    names.iter().map(find).collect()
}

/// What a build in a lane gave: a kernel if there is one, and what the tools complained about.
struct Built {
    kernel: Option<Kernel>,
    warnings: BTreeSet<String>,
}

impl Session<'_> {
    /// Every lane but the primary one, in which all else was done.
    pub(super) fn other_lanes(&mut self) -> Result<()> {
        for lane in &self.ctx.config.kernel.lanes {
            if lane.is_compared() || lane.base.is_some() {
                self.lane(lane)?;
            }
        }
        Ok(())
    }

    /// The tip in this lane: it builds with each driver, no tool complains about what it does not complain about at the
    /// base, and where the lane is booted, every test ends as it must.
    pub(super) fn lane(&mut self, lane: &Lane) -> Result<()> {
        self.options(lane);
        let toolchain = match self.tools(lane) {
            Ok(toolchain) => toolchain,
            Err(e) => {
                for &driver in &lane.drivers {
                    let name = tip_name(lane, driver);
                    self.tally.add(Entry::not_run(&name, BUILD, "").because(&e));
                }
                return Ok(());
            }
        };
        // What is booted is compared with a base that is. It is built first: the tip goes on from its objects.
        let booted = lane.boots && lane.base.is_none();
        let base = booted.then(|| self.base(lane, &toolchain));
        let mut tips = Vec::new();
        for &driver in &lane.drivers {
            let name = tip_name(lane, driver);
            if !self.in_time(&name, BUILD) {
                continue;
            }
            let start = Instant::now();
            let tip = Source::tip(&self.stack);
            let built = build(self.ctx, &toolchain, &self.stack, &tip, driver, lane);
            let what = what_is_built(lane);
            let entry = match (&built, &base) {
                (Err(e), _) => Entry::broken(e, &name, BUILD, what),
                // That the base was not built was said and counted.
                (Ok(_), Some(None)) => Entry::pass(&name, BUILD, what),
                (Ok(built), base) => {
                    let judged = match base {
                        Some(Some(base)) => {
                            warnings::none_new(&name, &base.warnings, &built.warnings)
                        }
                        _ => self.no_new_in(lane, &toolchain, &name, &built.warnings),
                    };
                    Entry::of(&judged, &name, BUILD, what)
                }
            };
            self.tally.add(entry.taking(start.elapsed()));
            tips.extend(built.ok().and_then(|built| Some((name, built.kernel?))));
        }
        if lane.boots {
            let base = base.flatten().and_then(|base| base.kernel);
            self.boot_lane(lane, &toolchain, base, tips)?;
        }
        if self.full && lane.tip_only {
            let what = format!("every patch in lane {}", lane.name);
            let skip = Entry::skip("", BUILD, &what);
            self.tally.add(skip.because("it is for the tip only"));
        } else if self.full {
            self.walk_in(lane, &toolchain)?;
        }
        Ok(())
    }

    /// What the stack touches, built in this lane at every patch that changes it: at all of them with one driver, then with
    /// the other, as in [`plan::walk`].
    fn walk_in(&mut self, lane: &Lane, toolchain: &Toolchain) -> Result<()> {
        for &driver in &lane.drivers {
            for n in 1..=self.stack.commits.len() {
                let source = Source::patch(&self.stack, n);
                let name = patch_name(lane, n, driver);
                if !plan::is_built(&self.stack, n, driver)? || !self.in_time(&name, BUILD) {
                    continue;
                }
                let start = Instant::now();
                let judged =
                    build::objects(self.ctx, toolchain, &self.stack, &source, driver, lane)
                        .and_then(|found| self.no_new_in(lane, toolchain, &name, &found));
                let entry = Entry::of(&judged, &name, BUILD, OBJECTS);
                self.tally.add(entry.taking(start.elapsed()));
            }
        }
        Ok(())
    }

    /// No tool complains about what it does not complain about at the base, as far as the lane has one of its own.
    fn no_new_in(
        &self,
        lane: &Lane,
        toolchain: &Toolchain,
        name: &str,
        found: &BTreeSet<String>,
    ) -> Result<()> {
        if lane.base.is_some() {
            return Ok(());
        }
        let known = self.known(lane, toolchain, found)?;
        warnings::none_new(name, &known, found)
    }

    /// What builds and boots in this lane; the report knows it from here on.
    fn tools(&mut self, lane: &Lane) -> Result<Toolchain> {
        let toolchain = Toolchain::ensure_in(self.ctx, lane.root);
        let tools = LaneTools {
            arch: lane.arch.name.to_owned(),
            toolchain: toolchain.as_ref().map_or(String::new(), |t| t.id.clone()),
        };
        self.lanes.insert(lane.name.clone(), tools);
        toolchain
    }

    /// The base, built as the lane's tips are.
    fn base(&mut self, lane: &Lane, toolchain: &Toolchain) -> Option<Built> {
        let name = base_name(lane);
        if !self.in_time(&name, BUILD) {
            return None;
        }
        let start = Instant::now();
        let base = Source::base(&self.stack);
        let built = build(
            self.ctx,
            toolchain,
            &self.stack,
            &base,
            lane.base_driver(),
            lane,
        );
        let entry = Entry::of(&built, &name, BUILD, what_is_built(lane));
        self.tally.add(entry.taking(start.elapsed()));
        built.ok()
    }

    /// What the tools complain about at the base too, in the files that `found` is about.
    fn known(
        &self,
        lane: &Lane,
        toolchain: &Toolchain,
        found: &BTreeSet<String>,
    ) -> Result<BTreeSet<String>> {
        if found.is_empty() {
            return Ok(BTreeSet::new());
        }
        let base = Source::base(&self.stack);
        let driver = lane.base_driver();
        if let Some(files) = warnings::objects(found)
            && let Ok(known) = build::of_base(self.ctx, toolchain, &base, driver, lane, &files)
        {
            return Ok(known);
        }
        // What was complained about is no file that can be compiled by itself.
        Ok(build(self.ctx, toolchain, &self.stack, &base, driver, lane)?.warnings)
    }

    fn boot_lane(
        &mut self,
        lane: &Lane,
        toolchain: &Toolchain,
        base: Option<Kernel>,
        tips: Vec<(String, Kernel)>,
    ) -> Result<()> {
        let tests = self.ctx.config.kernel.in_lane(lane).usual();
        let args = boot::in_lane(&boot_args(), lane);
        let programs = Source::tip(&self.stack);
        let booted = self.bases.len();
        let beside = match &lane.base {
            Some(other) => {
                self.base_of(other)?;
                other
            }
            None => {
                if let Some(base) = base {
                    self.boot_base(lane, toolchain, &base)?;
                }
                &lane.name
            }
        };
        let base_is_new = self.bases.len() > booted;
        let mut differs = false;
        for (name, kernel) in tips {
            if !self.in_time(&name, BOOT) {
                continue;
            }
            let Some(run) = self.boot(toolchain, &kernel, &name, &programs, &tests, &args) else {
                continue;
            };
            let base = self.bases.remove(beside);
            let columns: Vec<&Run> = base.iter().chain([&run]).collect();
            outln!("\n{}", table::render(&columns));
            differs |= !self.require_and_settle(&programs, base.as_ref(), &run, &tests)?;
            for left_out in left_out(&name, &self.ctx.config.kernel, lane) {
                self.tally.add(left_out);
            }
            self.bases.extend(base.map(|base| (beside.clone(), base)));
            self.lane_guests(lane, toolchain, &name, &kernel)?;
        }
        if base_is_new
            && differs
            && let Some(base) = self.bases.get(beside)
        {
            self.doubt(base)?;
        }
        Ok(())
    }

    /// A tip of a lane in those guests with a memory of their own that the lane names.
    fn lane_guests(
        &mut self,
        lane: &Lane,
        toolchain: &Toolchain,
        tip: &str,
        kernel: &Kernel,
    ) -> Result<()> {
        let settings = self.ctx.config.kernel.in_lane(lane);
        let programs = Source::tip(&self.stack);
        let named = |layout: &&Layout| lane.guests.contains(&layout.name);
        for layout in settings.guests.iter().filter(named) {
            let name = format!("{tip} {}", layout.name);
            if !self.in_time(&name, BOOT) {
                continue;
            }
            let tests = settings.in_layout(layout);
            let args = boot::in_layout(&boot::in_lane(&boot_args(), lane), layout);
            if let Some(run) = self.boot(toolchain, kernel, &name, &programs, &tests, &args) {
                self.require_and_settle(&programs, None, &run, &tests)?;
            }
        }
        Ok(())
    }

    /// Boots the base of another lane, unless that was done.
    fn base_of(&mut self, name: &str) -> Result<()> {
        if self.bases.contains_key(name) {
            return Ok(());
        }
        let settings = &self.ctx.config.kernel;
        let booted = settings
            .lane(Some(name))
            .and_then(|lane| Ok((lane, self.tools(lane)?)));
        match booted {
            Ok((lane, toolchain)) => {
                if let Some(kernel) = self.base(lane, &toolchain).and_then(|built| built.kernel) {
                    self.boot_base(lane, &toolchain, &kernel)?;
                }
            }
            Err(e) => {
                let name = format!("{name} base+c");
                self.tally.add(Entry::not_run(&name, BOOT, "").because(e));
            }
        }
        Ok(())
    }

    /// Boots the base of a lane, and keeps what it did.
    fn boot_base(&mut self, lane: &Lane, toolchain: &Toolchain, kernel: &Kernel) -> Result<()> {
        let name = base_name(lane);
        if !self.in_time(&name, BOOT) {
            return Ok(());
        }
        let tests = on_base(self.ctx.config.kernel.in_lane(lane).usual());
        let args = boot::in_lane(&boot_args(), lane);
        let programs = Source::tip(&self.stack);
        if let Some(run) = self.boot(toolchain, kernel, &name, &programs, &tests, &args) {
            self.require_and_settle(&Source::base(&self.stack), None, &run, &tests)?;
            self.bases.insert(lane.name.clone(), run);
        }
        Ok(())
    }
}

fn tip_name(lane: &Lane, driver: Driver) -> String {
    format!("{} tip+{}", lane.name, build::driver_name(driver))
}

fn patch_name(lane: &Lane, n: usize, driver: Driver) -> String {
    format!("{} patch {n}+{}", lane.name, build::driver_name(driver))
}

/// The base has the C driver only, with or without Rust.
fn base_name(lane: &Lane) -> String {
    format!("{} base+{}", lane.name, build::driver_name(Driver::C))
}

/// The tests that this kernel would run in the primary lane, and does not in its own.
fn left_out(kernel: &str, settings: &Settings, lane: &Lane) -> Vec<Entry> {
    let entry = |test: GuestTest| {
        let why = lane.leaves_out(&test)?;
        Some(Entry::skip(kernel, &test.name, "").because(why))
    };
    settings.usual().into_iter().filter_map(entry).collect()
}

/// What is built where no whole kernel is.
pub(super) const OBJECTS: &str = "what it touches";

fn what_is_built(lane: &Lane) -> &'static str {
    if lane.objects_only {
        OBJECTS
    } else {
        "whole kernel"
    }
}

fn build(
    ctx: &Context,
    toolchain: &Toolchain,
    stack: &Stack,
    source: &Source,
    driver: Driver,
    lane: &Lane,
) -> Result<Built> {
    if lane.objects_only {
        return Ok(Built {
            kernel: None,
            warnings: build::objects(ctx, toolchain, stack, source, driver, lane)?,
        });
    }
    let kernel = build::kernel(ctx, toolchain, source, driver, lane)?;
    Ok(Built {
        warnings: kernel.warnings.clone(),
        kernel: Some(kernel),
    })
}

#[cfg(test)]
mod tests {
    use super::super::arch::Arch;
    use super::super::own;
    use super::*;

    #[test]
    fn what_a_lane_leaves_out_is_a_skip_with_its_reason() {
        let mut fuzz = GuestTest::plain("fuzz", 4);
        fuzz.own = true;
        let mut long = fuzz.clone();
        long.name = "fuzz_long".to_owned();
        long.in_guests_only = true;
        let settings = Settings {
            tests: vec![GuestTest::plain("udmabuf", 1), fuzz, long],
            ..Settings::default()
        };
        let mut lane = Lane::plain("x");
        assert!(left_out("x tip+c", &settings, &lane).is_empty());
        lane.arch = Arch::of_test("arm64");
        lane.leave_out = [("udmabuf".to_owned(), "too big".to_owned())].into();
        assert_eq!(
            left_out("x tip+c", &settings, &lane),
            [
                Entry::skip("x tip+c", "udmabuf", "").because("too big"),
                Entry::skip("x tip+c", "fuzz", "").because(own::NATIVE_ONLY),
            ]
        );
    }
}
