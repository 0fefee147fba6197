// SPDX-License-Identifier: GPL-2.0
//! `test`: what CI runs. Cheap checks first, then a walk through the patches, then the kernels side by side.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use super::ahead::Ahead;
use super::boot::{self, Run};
use super::build::{self, Kernel, Source};
use super::examples;
use super::itself;
use super::kconfig;
use super::kept;
use super::ktap::{Case, Verdict};
use super::lane::{Lane, PRIMARY};
use super::plan::{self, Depth, Plan};
use super::same;
use super::settings::{Layout, on_base};
use super::tally::Tally;
use super::{GuestTest, Settings, table, tip, warnings};
use crate::bench;
use crate::check;
use crate::cli::{BootArgs, Cli, Driver, TestArgs};
use crate::context::{Context, hex};
use crate::error::{Outcome, Result};
use crate::report::{self, BENCH, BOOT, BUILD, EXAMPLES, Entry, LaneTools, PatchName, Report};
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
    /// Every patch as a whole, and what it touches in the other lanes too, but for those for the tip only.
    pub(super) full: bool,
    use_kept: boot::Kept,
    /// Runs that were kept from earlier.
    not_booted: usize,
    /// What is built in the background.
    ahead: Arc<Ahead>,
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
    // What is tested, whatever somebody does to patches/ meanwhile.
    let patches = names(ctx)?;
    report::forget(ctx)?;
    let mut session = Session {
        ctx,
        primary: ctx.config.kernel.lane(None)?,
        toolchain,
        stack,
        tally: Tally::default(),
        full: args.full,
        deadline: args.budget.map(|budget: Duration| start + budget),
        use_kept: if args.again {
            boot::Kept::Ignored
        } else {
            boot::Kept::Used
        },
        not_booted: 0,
        ahead: Arc::default(),
        bases: BTreeMap::new(),
        lanes: BTreeMap::new(),
    };
    if lanes.is_empty() {
        session.ladder(args)?;
    }
    for lane in lanes {
        session.lane(lane)?;
        // Another lane names its guests.
        if lane.name == PRIMARY {
            session.layouts(args)?;
        }
    }

    if !args.full && args.lane.is_empty() {
        say_left_out(&ctx.config.kernel);
    }
    if session.not_booted > 0 {
        outln!(
            "{} guests were not booted again: the same kernels, tests and machines passed before; --again boots them",
            session.not_booted
        );
    }
    let tally = session.tally;
    tally.figures.say();
    outln!("{}", tally.sum());
    let outcome = report::outcome(&tally.entries);
    Report {
        base: ctx.config.base().0.to_owned(),
        tree: session.stack.tip_tree,
        started,
        seconds: start.elapsed().as_secs(),
        toolchain: session.toolchain.id,
        figures: tally.figures.line(),
        sum: tally.sum(),
        lanes: session.lanes,
        patches,
        entries: tally.entries,
        steps: progress::steps(),
    }
    .save(ctx)?;
    history::add(&kind, start.elapsed());
    Ok(outcome)
}

/// What was not done, because it was not asked for.
fn say_left_out(settings: &Settings) {
    let guests = settings.guests.iter().filter(|guest| guest.only_full);
    let guests: Vec<&str> = guests.map(|guest| guest.name.as_str()).collect();
    outln!(
        "only --full builds the whole kernel at every patch, with RUST=n too, and boots it; and what a patch touches in every lane that is not for the tip only; and the tip in every lane, and in the guests {}",
        guests.join(", ")
    );
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
    /// Everything that no lane is named for. Kernels are built in the background, while guests run.
    fn ladder(&mut self, args: &TestArgs) -> Result<()> {
        let (toolchain, stack) = (self.toolchain.clone(), self.stack.clone());
        let plan = Plan {
            ctx: self.ctx,
            toolchain: &toolchain,
            stack: &stack,
            lane: self.primary,
            full: args.full,
            quick: args.quick,
        };
        let jobs = match args.patch {
            Some(_) => Vec::new(),
            None => plan.jobs()?,
        };
        let ahead = Arc::new(Ahead::of(&jobs));
        self.ahead = ahead.clone();
        let deadline = self.deadline;
        thread::scope(|scope| {
            let builder = scope.spawn(|| ahead.run(jobs, deadline));
            let ends = ahead.ends();
            let done = self.rungs(args);
            drop(ends);
            if !builder.is_finished() {
                progress::note("waiting for what is being built");
            }
            // If it panicked, that was said, and what it did not build was built here.
            let _ = builder.join();
            done
        })?;
        for job in self.ahead.unplanned() {
            progress::note(format_args!("not built ahead, because not planned: {job}"));
        }
        // Nothing of the other lanes is.
        self.ahead = Arc::default();
        if args.full {
            self.other_lanes()?;
        }
        Ok(())
    }

    fn rungs(&mut self, args: &TestArgs) -> Result<()> {
        for entry in itself::test(self.ctx, self.use_kept == boot::Kept::Used)? {
            self.tally.add(entry);
        }
        checks(self.ctx, &mut self.tally)?;
        self.options(self.primary);
        self.mailboxes()?;
        if let Some(n) = args.patch {
            return self.patch(n, &[Driver::Rust, Driver::C], Depth::Booted);
        }
        let base = match args.quick {
            true => None,
            false => self.side(&Source::base(&self.stack), Driver::C, false, None)?,
        };
        let base = base.map(|(run, _)| run);
        if !args.quick {
            self.walk()?;
        }
        self.side_by_side(base, args.quick)?;
        self.layouts(args)?;
        if !args.quick {
            self.examples();
            self.costs();
        }
        Ok(())
    }

    /// What the lane asks for and the patches have to declare is there at the tip.
    pub(super) fn options(&mut self, lane: &Lane) {
        let git = self.stack.base.git();
        for missing in kconfig::undeclared(&git, &self.stack.tip, lane) {
            self.tally
                .add(Entry::fail("", "check", "options of the tip").because(missing));
        }
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
        let patches: Vec<(Driver, usize)> = plan::walk(&self.stack, self.full).collect();
        for (driver, n) in patches {
            self.patch(n, &[driver], plan::depth(&self.stack, n, self.full))?;
        }
        Ok(())
    }

    fn patch(&mut self, n: usize, drivers: &[Driver], depth: Depth) -> Result<()> {
        let source = Source::patch(&self.stack, n);
        for &driver in drivers {
            let name = format!("patch {n}+{}", build::driver_name(driver));
            if !self.in_time(&name, BUILD) {
                continue;
            }
            if depth == Depth::Objects {
                self.objects(n, &source, driver, &name)?;
                continue;
            }
            let of = plan::kernel_of(&self.stack, n, driver)?;
            let what = match of == n {
                true => "whole kernel".to_owned(),
                false => format!("that of patch {of}: nothing in it changed since"),
            };
            let (kernel, time) = self.kernel(&Source::patch(&self.stack, of), driver);
            let entry = Entry::of(&kernel, &name, BUILD, &what);
            self.tally.add(entry.taking(time));
            if depth == Depth::Whole {
                continue;
            }
            if let Ok(kernel) = kernel {
                let tests = plan::existing(self.ctx.config.kernel.absolute(), &self.stack, n);
                let toolchain = self.toolchain.clone();
                if let Some(run) =
                    self.boot(&toolchain, &kernel, &name, &source, &tests, &boot_args())
                {
                    self.require_and_settle(&source, None, &run, &tests)?;
                }
            }
        }
        Ok(())
    }

    fn objects(&mut self, n: usize, source: &Source, driver: Driver, name: &str) -> Result<()> {
        if !plan::is_built(&self.stack, n, driver)? {
            let nothing = "no kernel is built from what it touches";
            self.tally.add(Entry::pass(name, BUILD, nothing));
            return Ok(());
        }
        let (built, time) = self.built(&plan::objects(source, driver), || {
            build::objects(
                self.ctx,
                &self.toolchain,
                &self.stack,
                source,
                driver,
                self.primary,
            )
            .and_then(|warnings| self.no_new(source, &warnings))
        });
        let entry = Entry::of(&built, name, BUILD, tip::OBJECTS);
        self.tally.add(entry.taking(time));
        Ok(())
    }

    /// What `build` finds built, or builds now, and how long that took.
    fn built<T>(&self, job: &str, build: impl FnOnce() -> Result<T>) -> (Result<T>, Duration) {
        let ahead = match self.ahead.wait(job) {
            Ok(time) => time,
            Err(e) => return (Err(e), Duration::ZERO),
        };
        let start = Instant::now();
        let built = build();
        (built, ahead + start.elapsed())
    }

    /// A kernel without a warning that the base does not have, and how long it took to build.
    fn kernel(&self, source: &Source, driver: Driver) -> (Result<Kernel>, Duration) {
        self.built(&plan::kernel(source, driver), || {
            let kernel = build::kernel(self.ctx, &self.toolchain, source, driver, self.primary)?;
            self.no_new(source, &kernel.warnings)?;
            Ok(kernel)
        })
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
        let run = self
            .ahead
            .wait(&plan::guest(programs, tests))
            .and_then(|_| {
                boot::tests(
                    self.ctx,
                    toolchain,
                    kernel,
                    name,
                    programs,
                    tests,
                    args,
                    self.use_kept,
                )
            });
        match run {
            Ok(run) => {
                self.tally.figures.add(&run.ran.results);
                Some(run)
            }
            Err(e) => {
                self.tally.add(Entry::not_run(name, BOOT, "").because(e));
                None
            }
        }
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

    /// What must come out of a run depends on whether it is the base that ran: what the stack mends must fail there, and
    /// everything must pass elsewhere, the kernel's own selftests as on `base`. Whether it was so; the run is kept then.
    pub(super) fn require_and_settle(
        &mut self,
        source: &Source,
        base: Option<&Run>,
        run: &Run,
        tests: &[GuestTest],
    ) -> Result<bool> {
        let before = self.tally.failed;
        if source.commit == self.stack.base.commit {
            self.require_base(run, tests);
        } else {
            self.require_all(run);
            self.require_same(base, run, tests);
        }
        self.settle(run, before)?;
        Ok(self.tally.failed == before)
    }

    /// Every case passes and the kernel does not complain. The kernel's own selftests are compared, not required.
    fn require_all(&mut self, run: &Run) {
        let settings = &self.ctx.config.kernel;
        for (test, case) in run.cases().filter(|(test, _)| !settings.compares(test)) {
            self.tally.add(judge(run, test, case));
        }
        self.require_end(run);
    }

    /// The guest powers off, the kernel does not complain, and no test skips more cases than it may. The kernel's own
    /// selftests are compared instead.
    fn require_end(&mut self, run: &Run) {
        if run.ran.is_complete() {
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
    fn settle(&mut self, run: &Run, failed: usize) -> Result<()> {
        self.not_booted += usize::from(run.kept.is_some());
        kept::settle(&kept::folder(self.ctx)?, run, self.tally.failed == failed)
    }

    /// A run that another one differs from: that can be its fault.
    pub(super) fn doubt(&self, run: &Run) -> Result<()> {
        kept::forget(&kept::folder(self.ctx)?, run)
    }

    /// The kernel's own selftests end as they end on the base.
    fn require_same(&mut self, base: Option<&Run>, run: &Run, tests: &[GuestTest]) {
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
    fn side_by_side(&mut self, base: Option<Run>, quick: bool) -> Result<()> {
        if quick {
            outln!(
                "--quick leaves out the base, and the kernel's own selftests, which are compared with it"
            );
        }
        let drivers: &[Driver] = match quick {
            true => &[Driver::Rust],
            false => &[Driver::C, Driver::Rust],
        };
        let tip = Source::tip(&self.stack);
        let mut differs = false;
        let mut tips = Vec::new();
        for &driver in drivers {
            if let Some((run, is_right)) = self.side(&tip, driver, quick, base.as_ref())? {
                differs |= !is_right;
                tips.push(run);
            }
        }
        let runs: Vec<&Run> = base.iter().chain(&tips).collect();
        outln!("\n{}", table::render(&runs));
        if let Some(base) = base {
            if differs {
                self.doubt(&base)?;
            }
            self.bases.insert(self.primary.name.clone(), base);
        }
        Ok(())
    }

    /// One kernel with all tests, and whether they ended as they must. The kernel's own are held against how they ended on
    /// the base.
    fn side(
        &mut self,
        source: &Source,
        driver: Driver,
        quick: bool,
        base: Option<&Run>,
    ) -> Result<Option<(Run, bool)>> {
        let name = format!("{}+{}", source.name, build::driver_name(driver));
        if !self.in_time(&name, BOOT) {
            return Ok(None);
        }
        let tests = plan::usual(&self.ctx.config.kernel, quick);
        let tests = match source.commit == self.stack.base.commit {
            true => on_base(tests),
            false => tests,
        };
        let (kernel, time) = self.kernel(source, driver);
        if kernel.is_ok() {
            let entry = Entry::pass(&name, BUILD, "whole kernel");
            self.tally.add(entry.taking(time));
        }
        let tip = Source::tip(&self.stack);
        let Some(run) = self.boot_built(kernel, &name, &tip, &tests, &boot_args()) else {
            return Ok(None);
        };
        let is_right = self.require_and_settle(source, base, &run, &tests)?;
        Ok(Some((run, is_right)))
    }

    /// The tip in guests that have what the others do not have, and the base in some of them.
    fn layouts(&mut self, args: &TestArgs) -> Result<()> {
        for layout in plan::layouts(&self.ctx.config.kernel, args.full) {
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
            let (kernel, _) = self.kernel(source, driver);
            let tests = if source.commit == base.commit {
                &tests_on_base
            } else {
                &tests
            };
            let Some(run) = self.boot_built(kernel, &name, &tip, tests, &args) else {
                continue;
            };
            self.require_and_settle(source, None, &run, tests)?;
            runs.push(run);
        }
        if layout.with_base && !quick {
            outln!("\n{}", table::render(&runs.iter().collect::<Vec<_>>()));
            self.require_equal(&runs, &tests)?;
        }
        Ok(())
    }

    /// Every case but what the stack mends ends as in the first of these runs, and has its name: a result that differs can
    /// be a part of it. Of runs that differ, each can be the one that went wrong: none is kept.
    fn require_equal(&mut self, runs: &[Run], tests: &[GuestTest]) -> Result<()> {
        let Some((first, others)) = runs.split_first() else {
            return Ok(());
        };
        let before = self.tally.failed;
        for run in others {
            for different in same::different(first, run, tests) {
                self.tally.add(different);
            }
        }
        if self.tally.failed > before {
            runs.iter().try_for_each(|run| self.doubt(run))?;
        }
        Ok(())
    }

    /// What the kernel crate makes impossible does not compile.
    fn examples(&mut self) {
        if !self.in_time("tip+rust", EXAMPLES) {
            return;
        }
        let tip = Source::tip(&self.stack);
        let checked = self
            .ahead
            .wait(plan::EXAMPLES)
            .and_then(|_| examples::check(self.ctx, &self.toolchain, &tip));
        let number = checked.as_ref().map_or(String::new(), |n| format!("{n} "));
        self.tally.add(Entry::of(
            &checked,
            "tip+rust",
            EXAMPLES,
            &format!("{number}are refused by the compiler"),
        ));
    }

    /// What operations cost in instructions, where that was recorded.
    fn costs(&mut self) {
        if !self.in_time("tip+rust", BENCH) {
            return;
        }
        let use_kept = self.use_kept == boot::Kept::Used;
        let result = match self.ahead.wait(plan::BENCH) {
            Ok(_) => bench::gate(self.ctx, &self.toolchain, &self.stack, use_kept),
            Err(e) => Some(Err(e)),
        };
        if let Some(result) = result {
            let entry = Entry::of(&result, "tip+rust", BENCH, "costs what is recorded");
            self.tally.add(match result {
                Ok(Some(date)) => entry.because(kept::said(date)),
                _ => entry,
            });
        }
    }

    /// On the base exactly those cases fail that the stack mends.
    fn require_base(&mut self, run: &Run, tests: &[GuestTest]) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Kind;

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
