// SPDX-License-Identifier: GPL-2.0
//! `test`: what CI runs. Cheap checks first, then a walk through the patches, then the kernels side by side.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use super::boot::{self, Run};
use super::build::{self, Kernel, Source};
use super::examples;
use super::itself;
use super::kept;
use super::ktap::{Case, Verdict};
use super::lane::Lane;
use super::qemu::End;
use super::same;
use super::settings::{Layout, on_base};
use super::tally::Tally;
use super::{GuestTest, table, tip, warnings};
use crate::bench;
use crate::check;
use crate::cli::{BootArgs, Cli, Driver, TestArgs};
use crate::context::{Context, hex};
use crate::error::{Outcome, Result};
use crate::report::{self, BOOT, BUILD, Entry, LaneTools, PatchName, Report};
use crate::stack::{self, Stack};
use crate::toolchain::Toolchain;
use crate::{clock, history, mail, patches, progress};

pub(super) struct Session<'a> {
    pub(super) ctx: &'a Context,
    /// The primary lane, and its tools.
    primary: &'a Lane,
    toolchain: Toolchain,
    pub(super) stack: Stack,
    pub(super) tally: Tally,
    deadline: Option<Instant>,
    /// Every patch in full, in every lane too.
    pub(super) full: bool,
    use_kept: boot::Kept,
    /// Runs that were kept from earlier.
    not_booted: usize,
    /// What the bases of lanes did, by the lane's name.
    pub(super) bases: BTreeMap<String, Run>,
    /// The lanes that kernels were built in, for the report.
    pub(super) lanes: BTreeMap<String, LaneTools>,
}

pub fn test(ctx: &Context, args: &TestArgs) -> Result<Outcome> {
    let start = Instant::now();
    let started = clock::now();
    if let Some(n) = args.patch {
        patches::need(ctx, n)?;
    }
    let lanes = tip::chosen(ctx, &args.lane)?;
    let kind = kind(args);
    progress::expect(&kind);
    // Without these there is no run, and the last one is not forgotten.
    let toolchain = Toolchain::ensure(ctx)?;
    let stack = stack::ensure(ctx)?;
    report::forget(ctx)?;
    let mut tally = Tally::default();
    if lanes.is_empty() {
        itself::test(ctx, &mut tally);
    }
    let mut session = Session {
        ctx,
        primary: ctx.config.kernel.lane(None)?,
        toolchain,
        stack,
        tally,
        full: args.full,
        deadline: args.budget.map(|budget: Duration| start + budget),
        use_kept: if args.again {
            boot::Kept::Ignored
        } else {
            boot::Kept::Used
        },
        not_booted: 0,
        bases: BTreeMap::new(),
        lanes: BTreeMap::new(),
    };
    if lanes.is_empty() {
        session.ladder(args)?;
    }
    for lane in lanes {
        session.lane(lane)?;
    }

    if !args.full && args.lane.is_empty() {
        outln!(
            "only --full builds the whole kernel at every patch, with RUST=n too, and boots it; and what a patch touches in every lane; and the tip in every lane, the long fuzzing and races"
        );
    }
    if session.not_booted > 0 {
        outln!(
            "{} guests were not booted again: the same kernels, tests and machines passed before; --again boots them",
            session.not_booted
        );
    }
    let tally = session.tally;
    outln!("{}", tally.sum());
    let outcome = report::outcome(&tally.entries);
    Report {
        base: ctx.config.base().0.to_owned(),
        tree: session.stack.tip_tree,
        started,
        seconds: start.elapsed().as_secs(),
        toolchain: session.toolchain.id,
        sum: tally.sum(),
        lanes: session.lanes,
        patches: names(ctx)?,
        entries: tally.entries,
        steps: progress::steps(),
    }
    .save(ctx)?;
    history::add(&kind, start.elapsed());
    Ok(outcome)
}

/// Runs with the same arguments take about as long.
fn kind(args: &TestArgs) -> String {
    let lanes: String = args.lane.iter().map(|lane| format!(" {lane}")).collect();
    format!("test {} {} {:?}{lanes}", args.full, args.quick, args.patch)
}

fn names(ctx: &Context) -> Result<Vec<PatchName>> {
    let mut names = Vec::new();
    for part in patches::read(ctx)? {
        for patch in &part.patches {
            names.push(PatchName {
                part: part.dir.clone(),
                subject: patch.parse()?.subject,
                sha256: hex(&Sha256::digest(&patch.bytes)),
            });
        }
    }
    Ok(names)
}

/// Patches, messages and mirrored files, each check by its name and with all that it finds.
fn checks(ctx: &Context, tally: &mut Tally) -> Result<()> {
    let mut start = Instant::now();
    for (name, found) in check::each(ctx)? {
        tally.add(checked(name, found).taking(start.elapsed()));
        start = Instant::now();
    }
    Ok(())
}

fn checked(name: &str, found: Result<Vec<String>>) -> Entry {
    match found {
        Ok(findings) if findings.is_empty() => Entry::pass("", "check", name),
        Ok(findings) => Entry::fail("", "check", name).because(findings.join("\n")),
        Err(e) => Entry::not_run("", "check", name).because(e),
    }
}

/// What a boot in `test` is done with.
pub(super) fn boot_args() -> BootArgs {
    use clap::Parser;
    match Cli::parse_from(["series", "boot"]).command {
        crate::cli::Command::Boot(args) => args,
        _ => unreachable!("boot was asked for"),
    }
}

impl Session<'_> {
    /// Everything that no lane is named for.
    fn ladder(&mut self, args: &TestArgs) -> Result<()> {
        checks(self.ctx, &mut self.tally)?;
        self.mailboxes()?;
        if let Some(n) = args.patch {
            return self.patch(n, &[Driver::Rust, Driver::C], true);
        }
        if !args.quick {
            self.walk()?;
        }
        self.side_by_side(args.quick)?;
        self.layouts(args)?;
        if !args.quick {
            self.examples();
            self.costs();
        }
        if args.full {
            self.other_lanes()?;
        }
        Ok(())
    }

    /// The mails of each part lead to the tested tree, with git am and b4.
    fn mailboxes(&mut self) -> Result<()> {
        let tally = &mut self.tally;
        let mut start = Instant::now();
        mail::prove_each(self.ctx, &self.toolchain, &self.stack, |part, proven| {
            let entry = Entry::of(&proven, "", "mail", part);
            tally.add(entry.taking(start.elapsed()));
            start = Instant::now();
        })
    }

    pub(super) fn in_time(&mut self, kernel: &str, test: &str) -> bool {
        let late = self
            .deadline
            .is_some_and(|deadline| Instant::now() > deadline);
        if late {
            self.tally
                .add(Entry::not_run(kernel, test, "").because("the budget is spent"));
        }
        !late
    }

    /// At every patch what the stack touches is built, at the end of every part the whole kernel, which is booted too.
    /// Under --full that is done at every patch, with either driver.
    fn walk(&mut self) -> Result<()> {
        let drivers: &[Driver] = if self.full {
            &[Driver::C, Driver::Rust]
        } else {
            &[Driver::Rust]
        };
        let ends = part_ends(&self.stack);
        for n in 1..=self.stack.commits.len() {
            self.patch(n, drivers, self.full || ends.contains(&n))?;
        }
        Ok(())
    }

    fn patch(&mut self, n: usize, drivers: &[Driver], boot: bool) -> Result<()> {
        let source = Source::patch(&self.stack, n);
        for &driver in drivers {
            let name = format!("patch {n}+{}", build::driver_name(driver));
            if !self.in_time(&name, BUILD) {
                continue;
            }
            if !boot && !self.is_built(n, driver)? {
                let nothing = "no kernel is built from what it touches";
                self.tally.add(Entry::pass(&name, BUILD, nothing));
                continue;
            }
            let start = Instant::now();
            if !boot {
                let built =
                    build::objects(self.ctx, &self.toolchain, &source, driver, self.primary)
                        .and_then(|warnings| self.no_new(&source, &warnings));
                let entry = Entry::of(&built, &name, BUILD, tip::OBJECTS);
                self.tally.add(entry.taking(start.elapsed()));
                continue;
            }
            let of = self.kernel_of(n, driver)?;
            let what = match of == n {
                true => "whole kernel".to_owned(),
                false => format!("that of patch {of}: nothing in it changed since"),
            };
            let kernel = self.kernel(&Source::patch(&self.stack, of), driver);
            let entry = Entry::of(&kernel, &name, BUILD, &what);
            self.tally.add(entry.taking(start.elapsed()));
            if let Ok(kernel) = kernel {
                let tests = existing(self.ctx, &self.stack, n);
                let toolchain = self.toolchain.clone();
                if let Some(run) =
                    self.boot(&toolchain, &kernel, &name, &source, &tests, &boot_args())
                {
                    self.require_and_settle(&run)?;
                }
            }
        }
        Ok(())
    }

    /// Whether patch `n` changes a file that a kernel with this driver is built from.
    pub(super) fn is_built(&self, n: usize, driver: Driver) -> Result<bool> {
        let commit = &self.stack.commits[n - 1].id;
        let files = self.stack.base.git().run(&[
            "diff-tree",
            "--no-commit-id",
            "--name-only",
            "-r",
            commit,
        ])?;
        Ok(files.lines().any(|path| goes_into_a_kernel(path, driver)))
    }

    /// The last patch up to `n` that changes the kernel with this driver. The end of a part is built as it is.
    fn kernel_of(&self, n: usize, driver: Driver) -> Result<usize> {
        if part_ends(&self.stack).contains(&n) {
            return Ok(n);
        }
        for earlier in (1..=n).rev() {
            if self.is_built(earlier, driver)? {
                return Ok(earlier);
            }
        }
        Ok(n)
    }

    /// A kernel without a warning that the base does not have.
    fn kernel(&self, source: &Source, driver: Driver) -> Result<Kernel> {
        let kernel = build::kernel(self.ctx, &self.toolchain, source, driver, self.primary)?;
        self.no_new(source, &kernel.warnings)?;
        Ok(kernel)
    }

    fn no_new(&self, source: &Source, warnings: &BTreeSet<String>) -> Result<()> {
        if warnings.is_empty() || source.commit == self.stack.base.commit {
            return Ok(());
        }
        let base = Source::base(&self.stack);
        let base = build::kernel(self.ctx, &self.toolchain, &base, Driver::C, self.primary)?;
        warnings::none_new(&source.name, &base.warnings, warnings)
    }

    /// A guest that cannot be booted is a failure like another: the run goes on and is counted.
    pub(super) fn boot(
        &mut self,
        toolchain: &Toolchain,
        kernel: &Kernel,
        name: &str,
        programs: &Source,
        tests: &[GuestTest],
        args: &BootArgs,
    ) -> Option<Run> {
        let run = boot::tests(
            self.ctx,
            toolchain,
            kernel,
            name,
            programs,
            tests,
            args,
            self.use_kept,
        );
        run.map_err(|e| self.tally.add(Entry::not_run(name, BOOT, "").because(e)))
            .ok()
    }

    /// As [`Self::boot`], for a kernel that may not have been built: that is a failure too.
    fn boot_built(
        &mut self,
        kernel: Result<Kernel>,
        name: &str,
        programs: &Source,
        tests: &[GuestTest],
        args: &BootArgs,
    ) -> Option<Run> {
        match kernel {
            Ok(kernel) => {
                let toolchain = self.toolchain.clone();
                self.boot(&toolchain, &kernel, name, programs, tests, args)
            }
            Err(e) => {
                self.tally.add(Entry::broken(&e, name, BUILD, ""));
                None
            }
        }
    }

    /// What must come out of a run depends on whether it is the base that ran.
    fn require(&mut self, source: &Source, run: &Run, tests: &[GuestTest]) {
        if source.commit == self.stack.base.commit {
            self.require_base(run, tests);
        } else {
            self.require_all(run);
        }
    }

    /// Every case passes and the kernel does not complain. The kernel's own selftests are compared, not required.
    pub(super) fn require_all(&mut self, run: &Run) {
        let settings = &self.ctx.config.kernel;
        for (test, case) in run.cases().filter(|(test, _)| !settings.compares(test)) {
            self.tally.add(judge(run, test, case));
        }
        self.require_end(run);
    }

    /// As [`Self::require_all`], and the run is kept if it was right.
    pub(super) fn require_and_settle(&mut self, run: &Run) -> Result<()> {
        let before = self.tally.failed;
        self.require_all(run);
        self.settle(run, before)
    }

    /// The guest powers off, the kernel does not complain, and no test skips more cases than it may. The kernel's own
    /// selftests are compared instead.
    fn require_end(&mut self, run: &Run) {
        if run.ran.end == End::PowerOff {
            let entry = Entry::pass(&run.name, BOOT, "");
            self.tally.add(match run.kept {
                Some(date) => entry.because(kept::said(date)),
                None => entry.taking(run.time),
            });
        }
        let settings = &self.ctx.config.kernel;
        for wrong in run.wrong_skips(|test| !settings.compares(test)) {
            self.tally.add(wrong);
        }
        for entry in run.troubles().into_iter().chain(run.excused()) {
            self.tally.add(entry);
        }
    }

    /// A run that failed nothing since `failed` were counted is kept; one that did is booted again next time. That is
    /// done as soon as it is judged: whatever ends this process later, it need not be booted again.
    pub(super) fn settle(&mut self, run: &Run, failed: usize) -> Result<()> {
        self.not_booted += usize::from(run.kept.is_some());
        kept::settle(&kept::folder(self.ctx)?, run, self.tally.failed == failed)
    }

    /// A base that others were held against, and that they differ from: that can be its fault.
    pub(super) fn doubt(&self, base: &Run) -> Result<()> {
        kept::forget(&kept::folder(self.ctx)?, base)
    }

    /// The kernel's own selftests end as they end on the base.
    pub(super) fn require_same(&mut self, base: Option<&Run>, run: &Run, tests: &[GuestTest]) {
        let Some(base) = base else {
            for test in tests.iter().filter(|test| test.same_as_base) {
                let why = "it did not run on the base";
                self.tally
                    .add(Entry::not_run(&run.name, &test.name, "").because(why));
            }
            return;
        };
        for compared in same::compare(base, run, tests) {
            self.tally.add(compared);
        }
    }

    /// What the stack mends must fail on the base, and everything must pass on the tip, with either driver.
    fn side_by_side(&mut self, quick: bool) -> Result<()> {
        let base = Source::base(&self.stack);
        let tip = Source::tip(&self.stack);
        let tests = if quick {
            outln!(
                "--quick leaves out the base, and the kernel's own selftests, which are compared with it"
            );
            self.ctx.config.kernel.absolute()
        } else {
            self.ctx.config.kernel.usual()
        };
        let mut runs: Vec<Run> = Vec::new();
        let mut differs = false;
        let kernels: &[(&Source, Driver)] = if quick {
            &[(&tip, Driver::Rust)]
        } else {
            &[(&base, Driver::C), (&tip, Driver::C), (&tip, Driver::Rust)]
        };
        for &(source, driver) in kernels {
            let name = format!("{}+{}", source.name, build::driver_name(driver));
            if !self.in_time(&name, BOOT) {
                continue;
            }
            let start = Instant::now();
            let kernel = self.kernel(source, driver);
            if kernel.is_ok() {
                let entry = Entry::pass(&name, BUILD, "whole kernel");
                self.tally.add(entry.taking(start.elapsed()));
            }
            let tests = if source.commit == base.commit {
                on_base(tests.clone())
            } else {
                tests.clone()
            };
            let Some(run) = self.boot_built(kernel, &name, &tip, &tests, &boot_args()) else {
                continue;
            };
            let before = self.tally.failed;
            self.require(source, &run, &tests);
            if !quick && source.commit != base.commit {
                self.require_same(runs.iter().find(|run| is_base(run)), &run, &tests);
            }
            self.settle(&run, before)?;
            differs |= self.tally.failed > before;
            runs.push(run);
        }
        outln!("\n{}", table::render(&runs.iter().collect::<Vec<_>>()));
        if differs && let Some(base) = runs.iter().find(|run| is_base(run)) {
            self.doubt(base)?;
        }
        if let Some(base) = runs.into_iter().find(is_base) {
            self.bases.insert(self.primary.name.clone(), base);
        }
        Ok(())
    }

    /// The tip in guests that have what the others do not have, and the base in some of them.
    fn layouts(&mut self, args: &TestArgs) -> Result<()> {
        let settings = &self.ctx.config.kernel;
        let wanted = |layout: &&Layout| args.full || !layout.only_full;
        for layout in settings.guests.iter().filter(wanted) {
            self.layout(layout, args.quick)?;
        }
        Ok(())
    }

    fn layout(&mut self, layout: &Layout, quick: bool) -> Result<()> {
        let base = Source::base(&self.stack);
        let tip = Source::tip(&self.stack);
        let mut kernels = vec![(&tip, Driver::C), (&tip, Driver::Rust)];
        if quick {
            kernels.remove(0);
        } else if layout.with_base {
            kernels.insert(0, (&base, Driver::C));
        }
        let tests = self.ctx.config.kernel.in_layout(layout);
        let tests_on_base = on_base(tests.clone());
        let args = boot::in_layout(&boot_args(), layout);
        let mut runs = Vec::new();
        for (source, driver) in kernels {
            let driver_name = build::driver_name(driver);
            let name = format!("{}+{driver_name} {}", source.name, layout.name);
            if !self.in_time(&name, BOOT) {
                continue;
            }
            let kernel = self.kernel(source, driver);
            let tests = if source.commit == base.commit {
                &tests_on_base
            } else {
                &tests
            };
            let Some(run) = self.boot_built(kernel, &name, &tip, tests, &args) else {
                continue;
            };
            let before = self.tally.failed;
            self.require(source, &run, tests);
            self.settle(&run, before)?;
            runs.push(run);
        }
        if layout.with_base && !quick {
            outln!("\n{}", table::render(&runs.iter().collect::<Vec<_>>()));
            self.require_equal(&runs, &tests);
        }
        Ok(())
    }

    /// Every case but what the stack mends ends as in the first of these runs, and has its name: a result that differs can
    /// be a part of it.
    fn require_equal(&mut self, runs: &[Run], tests: &[GuestTest]) {
        let Some((first, others)) = runs.split_first() else {
            return;
        };
        for run in others {
            for different in same::different(first, run, tests) {
                self.tally.add(different);
            }
        }
    }

    /// What the kernel crate makes impossible does not compile.
    fn examples(&mut self) {
        const TEST: &str = "examples that must not compile";
        if !self.in_time("tip+rust", TEST) {
            return;
        }
        let tip = Source::tip(&self.stack);
        let checked = examples::check(self.ctx, &self.toolchain, &tip);
        let number = checked.as_ref().map_or(String::new(), |n| format!("{n} "));
        self.tally.add(Entry::of(
            &checked,
            "tip+rust",
            TEST,
            &format!("{number}are refused by the compiler"),
        ));
    }

    /// What operations cost in instructions, where that was recorded.
    fn costs(&mut self) {
        if !self.in_time("tip+rust", "bench") {
            return;
        }
        let use_kept = self.use_kept == boot::Kept::Used;
        if let Some(result) = bench::gate(self.ctx, &self.toolchain, &self.stack, use_kept) {
            let entry = Entry::of(&result, "tip+rust", "bench", "costs what is recorded");
            self.tally.add(match result {
                Ok(Some(date)) => entry.because(kept::said(date)),
                _ => entry,
            });
        }
    }

    /// On the base exactly those cases fail that the stack mends.
    pub(super) fn require_base(&mut self, run: &Run, tests: &[GuestTest]) {
        let settings = &self.ctx.config.kernel;
        for (test, case) in run.cases().filter(|(test, _)| !settings.compares(test)) {
            let mends =
                |known: &&GuestTest| known.name == test && known.fails_on_base.contains(&case.name);
            let mended = tests.iter().find(mends);
            let must_fail = mended.is_some();
            self.tally.add(match (must_fail, case.verdict) {
                (true, Verdict::Fail) => {
                    Entry::pass(&run.name, test, &case.name).because("fails, as it must")
                }
                (true, verdict) if mended.is_some_and(|test| test.base_may_pass) => {
                    Entry::skip(&run.name, test, &case.name).because(format_args!(
                        "{} here; that it fails is shown in the primary lane",
                        table::word(verdict)
                    ))
                }
                (true, verdict) => Entry::fail(&run.name, test, &case.name).because(format_args!(
                    "{} instead of a failure",
                    table::word(verdict)
                )),
                (false, _) => judge(run, test, case),
            });
        }
        for missing in never_ran(run, tests) {
            self.tally.add(missing);
        }
        self.require_end(run);
    }
}

fn is_base(run: &Run) -> bool {
    run.name.starts_with("base")
}

/// A case that has to pass, or say why it does not apply; how many may do that is looked at elsewhere.
fn judge(run: &Run, test: &str, case: &Case) -> Entry {
    match case.verdict {
        Verdict::Pass => Entry::pass(&run.name, test, &case.name),
        Verdict::Skip => Entry::skip(&run.name, test, &case.name).because(&case.reason),
        verdict => Entry::fail(&run.name, test, &case.name).because(format_args!(
            "{} {}",
            table::word(verdict),
            case.reason
        )),
    }
}

/// Cases that must fail on the base and gave no verdict at all there.
fn never_ran(run: &Run, tests: &[GuestTest]) -> Vec<Entry> {
    tests
        .iter()
        .filter(|test| !test.base_may_pass)
        .flat_map(|test| test.fails_on_base.iter().map(move |case| (test, case)))
        .filter(|(test, case)| run.verdict(&test.name, case).is_none())
        .map(|(test, case)| Entry::not_run(&run.name, &test.name, case))
        .collect()
}

/// Selftests and documentation do not, and where there is no Rust, what is written in it.
fn goes_into_a_kernel(path: &str, driver: Driver) -> bool {
    let is_rust = path.starts_with("rust/") || path.ends_with(".rs");
    build::is_built(path) && (driver == Driver::Rust || !is_rust)
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

/// The tests whose programs are there after patch `n`.
fn existing(ctx: &Context, stack: &Stack, n: usize) -> Vec<GuestTest> {
    let commit = &stack.commits[n - 1].id;
    // What this tool has is for the tip.
    let there = |test: &GuestTest| {
        if test.own {
            return false;
        }
        let path = format!(
            "{commit}:tools/testing/selftests/{}/{}.c",
            test.dir, test.program
        );
        stack
            .base
            .git()
            .test(&["cat-file", "-e", &path])
            .unwrap_or(false)
    };
    let mut tests = ctx.config.kernel.absolute();
    tests.retain(there);
    tests
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Kind;

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
    fn a_case_that_gave_no_verdict_on_the_base_is_named() {
        let run = Run::of_cases("base+c", "data", &[("D1", Verdict::Fail)]);
        let mut test = GuestTest::plain("data", 1);
        test.fails_on_base = vec!["D1".to_owned(), "D2".to_owned()];
        assert_eq!(
            never_ran(&run, &[test]),
            [Entry::not_run("base+c", "data", "D2")]
        );
    }

    #[test]
    fn a_check_says_all_that_it_found() {
        let found = vec!["a.patch: one".to_owned(), "b.patch: two".to_owned()];
        let entry = checked("messages", Ok(found));
        assert_eq!(entry.kind, Kind::Fail);
        assert_eq!(entry.reason, "a.patch: one\nb.patch: two");
        assert_eq!(checked("messages", Ok(Vec::new())).kind, Kind::Pass);
        let broken = crate::error::Error::environment("toolchain", "is not there");
        assert_eq!(checked("messages", Err(broken)).kind, Kind::NotRun);
    }
}
