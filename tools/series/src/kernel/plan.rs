// SPDX-License-Identifier: GPL-2.0
//! What a run of `test` builds at which patch, and all of it about in the order in which it is asked for.

use super::ahead::Job;
use super::build::{self, Source, goes_into_a_kernel};
use super::examples;
use super::guest;
use super::lane::Lane;
use super::settings::{Layout, on_base};
use super::{GuestTest, Settings};
use crate::bench;
use crate::cli::Driver;
use crate::context::{Context, short_hash};
use crate::error::Result;
use crate::stack::Stack;
use crate::toolchain::Toolchain;

/// What is done with the kernel after a patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Depth {
    /// What the stack touches is built.
    Objects,
    /// The whole kernel is built. That of the last patch is the tip, which is booted with more tests than there are here.
    Whole,
    Booted,
}

pub(super) struct Plan<'a> {
    pub(super) ctx: &'a Context,
    pub(super) toolchain: &'a Toolchain,
    pub(super) stack: &'a Stack,
    pub(super) lane: &'a Lane,
    pub(super) full: bool,
    pub(super) quick: bool,
}

impl<'a> Plan<'a> {
    /// Everything, each once, in an order that makes little stale: the base has the headers of the first patches, and the
    /// examples are compiled while Rust is on.
    pub(super) fn jobs(&self) -> Result<Vec<Job<'a>>> {
        let mut jobs = Jobs::default();
        let base = Source::base(self.stack);
        let tip = Source::tip(self.stack);
        let tests = usual(&self.ctx.config.kernel, self.quick);
        if !self.quick {
            // The tip's programs first: a worktree that goes there and back makes the objects of headers stale.
            self.guest(&mut jobs, &tip, on_base(tests.clone()));
            self.kernel(&mut jobs, &base, Driver::C);
            self.walk(&mut jobs)?;
        }
        self.kernel(&mut jobs, &tip, Driver::Rust);
        if !self.quick {
            self.examples(&mut jobs, &tip);
            self.kernel(&mut jobs, &tip, Driver::C);
        }
        self.guest(&mut jobs, &tip, tests);
        for layout in layouts(&self.ctx.config.kernel, self.full) {
            let tests = self.ctx.config.kernel.in_layout(layout);
            if layout.with_base && !self.quick {
                self.guest(&mut jobs, &tip, on_base(tests.clone()));
            }
            self.guest(&mut jobs, &tip, tests);
        }
        if !self.quick {
            self.bench(&mut jobs);
        }
        Ok(jobs.0)
    }

    fn walk(&self, jobs: &mut Jobs<'a>) -> Result<()> {
        for (driver, n) in walk(self.stack, self.full) {
            let source = Source::patch(self.stack, n);
            let depth = depth(self.stack, n, self.full);
            if depth != Depth::Objects {
                let of = kernel_of(self.stack, n, driver)?;
                self.kernel(jobs, &Source::patch(self.stack, of), driver);
            } else if is_built(self.stack, n, driver)? {
                self.objects(jobs, &source, driver);
            }
            if depth == Depth::Booted {
                let tests = existing(self.ctx.config.kernel.absolute(), self.stack, n);
                self.guest(jobs, &source, tests);
            }
        }
        Ok(())
    }

    fn kernel(&self, jobs: &mut Jobs<'a>, source: &Source, driver: Driver) {
        let (ctx, toolchain, lane) = (self.ctx, self.toolchain, self.lane);
        let (name, source) = (kernel(source, driver), source.clone());
        jobs.add(name, move || {
            build::kernel(ctx, toolchain, &source, driver, lane).map(|_| ())
        });
    }

    fn objects(&self, jobs: &mut Jobs<'a>, source: &Source, driver: Driver) {
        let (ctx, toolchain, stack, lane) = (self.ctx, self.toolchain, self.stack, self.lane);
        let (name, source) = (objects(source, driver), source.clone());
        jobs.add(name, move || {
            build::objects(ctx, toolchain, stack, &source, driver, lane).map(|_| ())
        });
    }

    fn guest(&self, jobs: &mut Jobs<'a>, programs: &Source, tests: Vec<GuestTest>) {
        let (ctx, toolchain, lane) = (self.ctx, self.toolchain, self.lane);
        let (name, programs) = (guest(programs, &tests), programs.clone());
        jobs.add(name, move || {
            let Some(machine) = lane.arch.machine else {
                return Ok(());
            };
            guest::with_tests(ctx, toolchain, machine, &programs, &tests).map(|_| ())
        });
    }

    fn examples(&self, jobs: &mut Jobs<'a>, tip: &Source) {
        let (ctx, toolchain, tip) = (self.ctx, self.toolchain, tip.clone());
        jobs.add(EXAMPLES.to_owned(), move || {
            examples::check(ctx, toolchain, &tip).map(|_| ())
        });
    }

    fn bench(&self, jobs: &mut Jobs<'a>) {
        let (ctx, toolchain, stack) = (self.ctx, self.toolchain, self.stack);
        jobs.add(BENCH.to_owned(), move || {
            bench::prepare_gate(ctx, toolchain, stack)
        });
    }
}

#[derive(Default)]
struct Jobs<'a>(Vec<Job<'a>>);

impl<'a> Jobs<'a> {
    fn add(&mut self, name: String, build: impl FnOnce() -> Result<()> + Send + 'a) {
        if self.0.iter().all(|job| job.name != name) {
            let build = Box::new(build);
            self.0.push(Job { name, build });
        }
    }
}

// The names of jobs: whoever asks for the same thing waits for this one.

pub(super) fn kernel(source: &Source, driver: Driver) -> String {
    format!("kernel {} {}", source.commit, build::driver_name(driver))
}

pub(super) fn objects(source: &Source, driver: Driver) -> String {
    format!("objects {} {}", source.commit, build::driver_name(driver))
}

pub(super) fn guest(programs: &Source, tests: &[GuestTest]) -> String {
    let tests = short_hash(format!("{tests:?}").as_bytes());
    format!("guest {} {tests}", programs.commit)
}

pub(super) const EXAMPLES: &str = "examples";
pub(super) const BENCH: &str = "bench";

/// Each patch, counted from 1, with each driver that it is built with. All of them with one, then with the other: kbuild
/// makes the Rust crates anew whenever Rust was turned off.
pub(super) fn walk(stack: &Stack, full: bool) -> impl Iterator<Item = (Driver, usize)> {
    let drivers: &[Driver] = match full {
        true => &[Driver::C, Driver::Rust],
        false => &[Driver::Rust],
    };
    let patches = stack.commits.len();
    drivers
        .iter()
        .flat_map(move |&driver| (1..=patches).map(move |n| (driver, n)))
}

/// What is done with the kernel after patch `n`, counted from 1.
pub(super) fn depth(stack: &Stack, n: usize, full: bool) -> Depth {
    if n == stack.commits.len() {
        Depth::Whole
    } else if full || part_ends(stack).contains(&n) {
        Depth::Booted
    } else {
        Depth::Objects
    }
}

/// The tests of the kernels that are put side by side.
pub(super) fn usual(settings: &Settings, quick: bool) -> Vec<GuestTest> {
    match quick {
        true => settings.absolute(),
        false => settings.usual(),
    }
}

/// The guests that have what the others do not have.
pub(super) fn layouts(settings: &Settings, full: bool) -> impl Iterator<Item = &Layout> {
    let wanted = move |layout: &&Layout| full || !layout.only_full;
    settings.guests.iter().filter(wanted)
}

/// Whether patch `n` changes a file that a kernel with this driver is built from.
pub(super) fn is_built(stack: &Stack, n: usize, driver: Driver) -> Result<bool> {
    let commit = &stack.commits[n - 1].id;
    let files =
        stack
            .base
            .git()
            .run(&["diff-tree", "--no-commit-id", "--name-only", "-r", commit])?;
    Ok(files.lines().any(|path| goes_into_a_kernel(path, driver)))
}

/// The last patch up to `n` that changes the kernel with this driver. The end of a part is built as it is.
pub(super) fn kernel_of(stack: &Stack, n: usize, driver: Driver) -> Result<usize> {
    if part_ends(stack).contains(&n) {
        return Ok(n);
    }
    for earlier in (1..=n).rev() {
        if is_built(stack, earlier, driver)? {
            return Ok(earlier);
        }
    }
    Ok(n)
}

/// The last patch of each part, counted from 1.
fn part_ends(stack: &Stack) -> Vec<usize> {
    let parts: Vec<&str> = stack
        .commits
        .iter()
        .map(|patch| patch.part.as_str())
        .collect();
    (1..=parts.len())
        .filter(|&n| n == parts.len() || parts[n - 1] != parts[n])
        .collect()
}

/// Those of these tests whose programs are there after patch `n`.
pub(super) fn existing(mut tests: Vec<GuestTest>, stack: &Stack, n: usize) -> Vec<GuestTest> {
    let commit = &stack.commits[n - 1].id;
    // What this tool has is for the tip.
    let there = |test: &GuestTest| {
        if test.own {
            return false;
        }
        let end = match test.program.ends_with(".sh") {
            true => "",
            false => ".c",
        };
        let path = format!(
            "{commit}:tools/testing/selftests/{}/{}{end}",
            test.dir, test.program
        );
        stack
            .base
            .git()
            .test(&["cat-file", "-e", &path])
            .unwrap_or(false)
    };
    tests.retain(there);
    tests
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selftests_and_documentation_are_not_built() {
        for path in [
            "mm/gup.c",
            "tools/include/linux/mm.h",
            "MAINTAINERS.c",
            "rust/x.rs",
        ] {
            assert!(goes_into_a_kernel(path, Driver::Rust), "{path}");
        }
        for path in [
            "MAINTAINERS",
            "tools/testing/selftests/mm/pin_fd.c",
            "Documentation/core-api/index.rst",
        ] {
            assert!(!goes_into_a_kernel(path, Driver::Rust), "{path}");
        }
    }

    #[test]
    fn what_is_written_in_rust_is_not_in_a_kernel_without_it() {
        for path in ["rust/helpers/mm.c", "drivers/dma-buf/udmabuf_rust.rs"] {
            assert!(goes_into_a_kernel(path, Driver::Rust), "{path}");
            assert!(!goes_into_a_kernel(path, Driver::C), "{path}");
        }
        assert!(goes_into_a_kernel("drivers/dma-buf/udmabuf.c", Driver::C));
    }

    #[test]
    fn nothing_is_built_twice() {
        let mut jobs = Jobs::default();
        for name in ["one", "two", "one"] {
            jobs.add(name.to_owned(), || Ok(()));
        }
        let names: Vec<&str> = jobs.0.iter().map(|job| job.name.as_str()).collect();
        assert_eq!(names, ["one", "two"]);
    }
}
