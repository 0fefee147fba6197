// SPDX-License-Identifier: GPL-2.0
//! `boot`: the tests of `series.toml` in a guest, as verdicts; or anybody's initramfs.

use std::time::{Duration, Instant};

use super::build::{self, Kernel, Source};
use super::figures::Figures;
use super::ktap::{self, Case, Verdict};
use super::lane::Lane;
use super::qemu::{self, End, Guest, Ran};
use super::settings::{Layout, is_memory, may_complain_on_base, on_base};
use super::splat::{self, Splat};
use super::{GuestTest, Settings, accel, driver, guest, kept, plan, selected, steps, table};
use crate::cli::BootArgs;
use crate::clock;
use crate::context::Context;
use crate::error::{Error, Outcome, Result};
use crate::progress;
use crate::report::{BOOT, Entry};
use crate::stack::{self, Stack};
use crate::toolchain::Toolchain;

/// How many seconds a guest may say nothing, unless one of its tests may take as long.
const TESTS_QUIET: u64 = 600;

/// The verdicts of one boot.
#[derive(Debug)]
pub struct Run {
    /// The table's column: "tip+rust".
    pub name: String,
    pub results: Vec<TestResult>,
    pub splats: Vec<Splat>,
    /// Complaints that series.toml knows, with its reason: no failure.
    pub excused: Vec<(Splat, String)>,
    pub ran: Ran,
    pub time: Duration,
    /// What it is kept under.
    pub key: String,
    /// It was not booted: this is what it said on this date.
    pub kept: Option<u64>,
}

#[derive(Debug)]
pub struct TestResult {
    pub test: String,
    pub cases: Vec<Case>,
    /// How many of them may be skipped.
    pub may_skip: usize,
}

impl TestResult {
    /// If more cases were skipped than are known to be: that, in words.
    fn wrong_skips(&self) -> Option<String> {
        let skipped = self
            .cases
            .iter()
            .filter(|case| case.verdict == Verdict::Skip)
            .count();
        let known = self.may_skip;
        (skipped > known).then(|| format!("{skipped} cases skipped, where {known} may be"))
    }
}

impl Run {
    pub fn verdict(&self, test: &str, case: &str) -> Option<Verdict> {
        let result = self.results.iter().find(|result| result.test == test)?;
        Some(
            result
                .cases
                .iter()
                .find(|found| found.name == case)?
                .verdict,
        )
    }

    /// A run of one test.
    #[cfg(test)]
    pub fn of_cases(name: &str, test: &str, cases: &[(&str, Verdict)]) -> Self {
        let case = |&(name, verdict): &(&str, Verdict)| Case {
            name: name.to_owned(),
            verdict,
            reason: String::new(),
        };
        Run {
            name: name.to_owned(),
            results: vec![TestResult {
                test: test.to_owned(),
                cases: cases.iter().map(case).collect(),
                may_skip: 0,
            }],
            splats: Vec::new(),
            excused: Vec::new(),
            ran: Ran {
                end: End::PowerOff,
                console: String::new(),
                results: "series: finished\n".to_owned(),
                console_log: "console.log".into(),
            },
            time: Duration::ZERO,
            key: name.to_owned(),
            kept: None,
        }
    }

    pub fn cases(&self) -> impl Iterator<Item = (&str, &Case)> {
        self.results
            .iter()
            .flat_map(|result| result.cases.iter().map(|case| (result.test.as_str(), case)))
    }

    /// The tests that `judged` takes and that skip more cases than they may.
    pub fn wrong_skips(&self, judged: impl Fn(&str) -> bool) -> Vec<Entry> {
        let results = self.results.iter().filter(|result| judged(&result.test));
        results
            .filter_map(|result| {
                let why = result.wrong_skips()?;
                Some(Entry::fail(&self.name, &result.test, "").because(why))
            })
            .collect()
    }

    /// What the kernel complained about and may.
    pub fn excused(&self) -> Vec<Entry> {
        let entry = |(splat, reason): &(Splat, String)| {
            let why = format!("{} ({reason})", splat.line);
            Entry::skip(&self.name, &splat.test, "splat").because(why)
        };
        self.excused.iter().map(entry).collect()
    }

    /// What is wrong apart from single cases.
    pub fn troubles(&self) -> Vec<Entry> {
        let mut troubles: Vec<Entry> = self
            .splats
            .iter()
            .map(|splat| Entry::fail(&self.name, &splat.test, "splat").because(&splat.line))
            .collect();
        if !self.ran.is_complete() {
            let what = match self.ran.end {
                End::Panic => "the kernel panicked",
                End::Hang => "the guest did not end in time",
                End::Qemu => "QEMU failed",
                End::PowerOff => "the guest was reset or powered off before its tests were done",
            };
            troubles.push(Entry::fail(&self.name, BOOT, "").because(format_args!(
                "{what}: read {}\n{}",
                self.ran.console_log.display(),
                qemu::last_words(&self.ran.console)
            )));
        }
        troubles
    }
}

/// The arguments of a boot of a guest with a memory of its own.
pub fn in_layout(args: &BootArgs, layout: &Layout) -> BootArgs {
    BootArgs {
        append: Some(before(&layout.append, args.append.as_deref())),
        memory: layout.memory.clone(),
        ..args.clone()
    }
}

/// The arguments of a boot of a kernel of this lane.
pub fn in_lane(args: &BootArgs, lane: &Lane) -> BootArgs {
    BootArgs {
        append: Some(before(&lane.append, args.append.as_deref())),
        ..args.clone()
    }
}

/// Words in front of somebody's own.
fn before(words: &str, own: Option<&str>) -> String {
    format!("{words} {}", own.unwrap_or("")).trim().to_owned()
}

pub fn boot(ctx: &Context, args: &BootArgs) -> Result<Outcome> {
    let lane = ctx.config.kernel.lane(args.image.lane.as_deref())?;
    lane.need_machine()?;
    let settings = ctx.config.kernel.in_lane(lane);
    let layout = layout(&settings, args)?;
    let args = &in_lane(args, lane);
    let args = &match layout {
        Some(layout) => in_layout(args, layout),
        None => args.clone(),
    };
    if let Some(initrd) = &args.initrd {
        // Before anything is built.
        std::fs::File::open(initrd).map_err(|e| {
            Error::config(initrd.display(), e).mend("name an initramfs that can be read")
        })?;
    }
    memory(&args.memory)?;
    let chosen = chosen(&settings, args, layout)?;
    let (toolchain, kernel) = selected(ctx, &args.image)?;
    if args.initrd.is_some() || args.shell {
        return interactive(ctx, &toolchain, &kernel, args, &settings.tests);
    }

    let stack = stack::ensure(ctx)?;
    let (programs, chosen) = match args.image.patch {
        Some(n) => (Source::patch(&stack, n), at_patch(args, &stack, n, chosen)?),
        None => (Source::tip(&stack), chosen),
    };
    let name = column(ctx, args)?;
    let mut outcome = Outcome::Clean;
    for _ in 0..args.repeat {
        let run = tests(
            ctx,
            &toolchain,
            &kernel,
            &name,
            &programs,
            &chosen,
            args,
            Kept::Ignored,
        )?;
        outln!("{}", table::render(&[&run]));
        outcome = outcome.and(judge(&run));
    }
    Ok(outcome)
}

/// The guest that `--guest` names, with those of its tests that run in the lane.
fn layout<'a>(settings: &'a Settings, args: &BootArgs) -> Result<Option<&'a Layout>> {
    let Some(name) = &args.guest else {
        return Ok(None);
    };
    let guests = &settings.guests;
    let found = guests.iter().find(|layout| layout.name == *name);
    let wrong = |cause: &str, known: Vec<&str>| {
        Error::config(format!("--guest {name}"), cause).mend(format!("one of {}", known.join(", ")))
    };
    let names = guests.iter().map(|layout| layout.name.as_str());
    match found {
        None => Err(wrong("there is no such guest", names.collect())),
        Some(layout) if layout.tests.is_empty() => {
            let others = names.filter(|other| other != name).collect();
            Err(wrong("the lane leaves out all of its tests", others))
        }
        found => Ok(found),
    }
}

/// The tests that `--test` names; without it those that say by themselves whether a kernel is right.
fn chosen(settings: &Settings, args: &BootArgs, layout: Option<&Layout>) -> Result<Vec<GuestTest>> {
    let in_layout = layout.map(|layout| settings.in_layout(layout));
    if args.test.is_empty() {
        let tests = in_layout.unwrap_or_else(|| settings.absolute());
        return Ok(match args.image.base {
            true => on_base(tests),
            false => tests,
        });
    }
    let find = |name: &String| {
        let known: Vec<&str> = settings
            .tests
            .iter()
            .map(|test| test.name.as_str())
            .collect();
        let mut all = in_layout.iter().flatten().chain(&settings.tests);
        let found = all.find(|test| test.name == *name);
        found.cloned().ok_or_else(|| {
            Error::config(
                format!("--test {name}"),
                "there is no such test in this lane",
            )
            .mend(format!("one of {}", known.join(", ")))
        })
    };
    let mut found: Vec<GuestTest> = args.test.iter().map(find).collect::<Result<_>>()?;
    if args.image.base {
        may_complain_on_base(&mut found);
    }
    Ok(found)
}

/// Those of these tests whose programs are there after patch `n`: all of them, if they were named.
fn at_patch(
    args: &BootArgs,
    stack: &Stack,
    n: usize,
    tests: Vec<GuestTest>,
) -> Result<Vec<GuestTest>> {
    // What this tool has is for the tip, unless it was asked for.
    let (own, kernels) = tests
        .into_iter()
        .partition(|test| test.own && args.test.contains(&test.name));
    let mut there = plan::existing(kernels, stack, n);
    there.extend::<Vec<GuestTest>>(own);
    let is_there = |name: &&String| there.iter().any(|test| test.name == **name);
    let cause = match args.test.iter().find(|name| !is_there(name)) {
        Some(missing) => format!("the program of --test {missing} is not there yet"),
        None if there.is_empty() => "no program of these tests is there yet".to_owned(),
        None => return Ok(there),
    };
    Err(Error::config(format!("--patch {n}"), cause).mend("a later patch, or leave out --patch"))
}

fn column(ctx: &Context, args: &BootArgs) -> Result<String> {
    let sources = match (args.image.base, args.image.patch) {
        (true, _) => "base".to_owned(),
        (_, Some(n)) => format!("patch {n}"),
        _ => "tip".to_owned(),
    };
    let driver = if args.image.base {
        "c"
    } else {
        build::driver_name(driver(ctx, &args.image)?)
    };
    Ok(format!("{sources}+{driver}"))
}

/// Says what did not pass, and what that makes of the run.
fn judge(run: &Run) -> Outcome {
    let troubles = run.troubles();
    let wrong_skips = run.wrong_skips(|_| true);
    let excused = run.excused();
    for entry in troubles.iter().chain(&wrong_skips).chain(&excused) {
        outln!("{entry}");
    }
    let count = |wanted: Verdict| {
        run.cases()
            .filter(|(_, case)| case.verdict == wanted)
            .count()
    };
    let failed = count(Verdict::Fail) + count(Verdict::CutOff) + troubles.len() + wrong_skips.len();
    let skipped = count(Verdict::Skip) + excused.len();
    if failed > 0 {
        outln!("console: {}", run.ran.console_log.display());
    }
    let mut figures = Figures::default();
    figures.add(&run.ran.results);
    figures.say();
    outln!(
        "{} passed, {failed} failed, {skipped} skipped",
        count(Verdict::Pass)
    );
    match failed {
        0 => Outcome::Clean,
        _ => Outcome::Findings,
    }
}

/// Whether what a guest said earlier will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    Used,
    Ignored,
}

/// How many seconds a guest with these tests may say nothing: each of them is killed earlier.
fn quiet(tests: &[GuestTest]) -> u64 {
    let longest = tests.iter().map(|test| u64::from(test.timeout)).max();
    TESTS_QUIET.max(longest.unwrap_or(0) + 100)
}

/// Boots a kernel with these tests, which are built from `programs`.
#[allow(clippy::too_many_arguments)]
pub fn tests(
    ctx: &Context,
    toolchain: &Toolchain,
    kernel: &Kernel,
    name: &str,
    programs: &Source,
    tests: &[GuestTest],
    args: &BootArgs,
    use_kept: Kept,
) -> Result<Run> {
    let machine = kernel.machine()?;
    let initrd = guest::with_tests(ctx, toolchain, machine, programs, tests)?;
    let accel = accel::choose(ctx, toolchain, kernel)?;
    let logs = ctx.cache.dir(format!(
        "log/boot/{}-{}",
        name.replace(' ', "-"),
        kernel.key
    ))?;
    let append = before(&ctx.config.kernel.append, args.append.as_deref());
    let guest = Guest {
        machine,
        image: &kernel.image,
        initrd: &initrd,
        append: &append,
        memory: &args.memory,
        accel,
        icount: args.icount,
        timeout: Duration::from_secs(args.timeout.unwrap_or_else(|| quiet(tests))),
        logs: &logs,
        interactive: false,
        plugin: None,
    };
    let key = kept::key(kernel, &guest)?;
    let known = match use_kept {
        Kept::Used => kept::find(&kept::folder(ctx)?, &key),
        Kept::Ignored => None,
    };
    let (ran, time, date) = match known {
        Some(known) => {
            let time = Duration::from_secs_f64(known.seconds);
            progress::note(format_args!(
                "{name}: not booted, {}",
                kept::said(known.date)
            ));
            (known.ran, time, Some(known.date))
        }
        None => {
            let start = Instant::now();
            let step = progress::step(format_args!("booting {name}"));
            let ran = guest.run(toolchain)?;
            step.done_with(format_args!("{:?}", ran.end));
            (ran, start.elapsed(), None)
        }
    };
    let mut results = results(&ran.results, tests);
    if kernel.runs_kunit {
        results.push(TestResult {
            test: "kunit".to_owned(),
            cases: ktap::kunit(&ran.console),
            // Its cases say by themselves what they lack; a suite that says nothing is cut off.
            may_skip: usize::MAX,
        });
    }
    let complaints = &ctx.config.kernel.complaints;
    let (splats, excused) = splat::judge(&ran.console, complaints, tests, clock::now());
    Ok(Run {
        name: name.to_owned(),
        results,
        splats,
        excused,
        ran,
        time,
        key,
        kept: date,
    })
}

/// The results channel as verdicts: a test that says too little, or ends badly, gets a case that failed.
pub(super) fn results(text: &str, tests: &[GuestTest]) -> Vec<TestResult> {
    let text = text.replace('\r', "");
    tests
        .iter()
        .map(|test| {
            let mut cases = Vec::new();
            for (name, arguments) in test.runs() {
                let mut found = one_run(&text, test, &name);
                if test.runs.len() > 1 {
                    for case in &mut found {
                        case.name = format!("{arguments}: {}", case.name);
                    }
                }
                cases.extend(found);
            }
            ktap::tell_apart(&mut cases);
            TestResult {
                test: test.name.clone(),
                cases,
                may_skip: test.skips,
            }
        })
        .collect()
}

fn one_run(text: &str, test: &GuestTest, name: &str) -> Vec<Case> {
    let said = text
        .split_once(&format!("series: begin {name}\n"))
        .map_or("", |(_, rest)| rest);
    let said = said.split("series: begin ").next().unwrap_or(said);
    let (said, status) = said
        .split_once(&format!("series: end {name} "))
        .unwrap_or((said, ""));
    let status = status.lines().next().unwrap_or("").trim();
    let mut cases = match &test.steps {
        Some(prefix) => steps::parse(said, prefix, status == "0"),
        None => ktap::parse(said),
    };
    let (missing, reason) = match ktap::skipped(said) {
        Some(reason) => (Verdict::Skip, reason),
        None => (Verdict::CutOff, ""),
    };
    for number in cases.len() + 1..=test.cases {
        cases.push(Case {
            name: format!("case {number}"),
            verdict: missing,
            reason: reason.to_owned(),
        });
    }
    // Kselftests exit with 4 if they skipped.
    let has = |verdict| cases.iter().any(|case| case.verdict == verdict);
    let accounted = status == "0"
        || has(Verdict::Fail)
        || has(Verdict::CutOff)
        || (status == "4" && has(Verdict::Skip));
    if !accounted {
        let status = if status.is_empty() { "missing" } else { status };
        cases.push(Case {
            name: format!("exit status {status}"),
            verdict: Verdict::Fail,
            reason: String::new(),
        });
    }
    cases
}

/// Anybody's initramfs, or a shell: the console is standard output.
fn interactive(
    ctx: &Context,
    toolchain: &Toolchain,
    kernel: &Kernel,
    args: &BootArgs,
    tests: &[GuestTest],
) -> Result<Outcome> {
    let machine = kernel.machine()?;
    let initrd = match &args.initrd {
        Some(file) => file
            .canonicalize()
            .map_err(|e| Error::config(file.display(), e))?,
        None => {
            let stack = stack::ensure(ctx)?;
            guest::with_tests(ctx, toolchain, machine, &Source::tip(&stack), tests)?
        }
    };
    let accel = if args.icount {
        accel::Accel::Tcg
    } else {
        accel::choose(ctx, toolchain, kernel)?
    };
    let mut append = args.append.clone().unwrap_or_default();
    if args.shell {
        append = before(
            &format!("{} series.shell", ctx.config.kernel.append),
            Some(&append),
        );
    }
    let mut outcome = Outcome::Clean;
    for _ in 0..args.repeat {
        let ran = Guest {
            machine,
            image: &kernel.image,
            initrd: &initrd,
            append: &append,
            memory: &args.memory,
            accel,
            icount: args.icount,
            timeout: args.timeout.map_or(Duration::MAX, Duration::from_secs),
            logs: &ctx
                .cache
                .dir(format!("log/boot/own-{}", std::process::id()))?,
            interactive: true,
            plugin: None,
        }
        .run(toolchain)?;
        let what = match ran.end {
            End::PowerOff => continue,
            End::Panic => "the kernel panicked",
            End::Hang => "the guest did not end within --timeout",
            End::Qemu => "QEMU failed",
        };
        eprintln!(
            "{}",
            Error::finding("guest", what)
                .detail(qemu::last_words(&ran.console))
                .mend(format!("read {}", ran.console_log.display()))
        );
        outcome = Outcome::Findings;
    }
    Ok(outcome)
}

fn memory(text: &str) -> Result<()> {
    if is_memory(text) {
        return Ok(());
    }
    let error = Error::config(format!("--memory {text}"), "is no size");
    Err(error.mend("--memory 3G, or --memory 3G+2G"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdicts(text: &str, cases: usize) -> Vec<Verdict> {
        results(text, &[GuestTest::plain("a", cases)])[0]
            .cases
            .iter()
            .map(|case| case.verdict)
            .collect()
    }

    #[test]
    fn a_test_that_passes() {
        let text = "series: begin a\r\n1..1\r\nok 1 x\r\nseries: end a 0\r\nseries: finished\r\n";
        assert_eq!(verdicts(text, 1), [Verdict::Pass]);
    }

    #[test]
    fn a_test_that_never_ran_is_cut_off() {
        assert_eq!(verdicts("", 2), [Verdict::CutOff, Verdict::CutOff]);
    }

    #[test]
    fn a_test_that_says_too_little_is_cut_off() {
        let text = "series: begin a\nok 1 x\nseries: end a 0\n";
        assert_eq!(verdicts(text, 2), [Verdict::Pass, Verdict::CutOff]);
    }

    #[test]
    fn a_bad_exit_status_is_a_failure() {
        let text = "series: begin a\n1..1\nok 1 x\nseries: end a 139\n";
        assert_eq!(verdicts(text, 1), [Verdict::Pass, Verdict::Fail]);
    }

    #[test]
    fn a_guest_that_dies_in_a_test() {
        let text = "series: begin a\n1..2\nok 1 x\n";
        assert_eq!(verdicts(text, 2), [Verdict::Pass, Verdict::CutOff]);
    }

    #[test]
    fn a_program_that_skips_everything_is_skipped() {
        let text = "series: begin a\n1..0 # SKIP none\nseries: end a 4\n";
        assert_eq!(verdicts(text, 2), [Verdict::Skip, Verdict::Skip]);
    }

    #[test]
    fn a_program_that_dies_after_a_skip_failed() {
        let text = "series: begin a\n1..1\nok 1 x # SKIP none\nseries: end a 139\n";
        assert_eq!(verdicts(text, 1), [Verdict::Skip, Verdict::Fail]);
    }

    #[test]
    fn each_run_has_its_own_cases() {
        let mut test = GuestTest::plain("a", 1);
        test.runs = vec!["-x".to_owned(), "-x -n 1".to_owned(), "-y".to_owned()];
        // The guest died in the second run.
        let text = "series: begin a -x\n1..1\nok 1 done\nseries: end a -x 0\n\
            series: begin a -x -n 1\n1..1\n";
        let found: Vec<(String, Verdict)> = results(text, &[test])[0]
            .cases
            .iter()
            .map(|case| (case.name.clone(), case.verdict))
            .collect();
        assert_eq!(
            found,
            [
                ("-x: done".to_owned(), Verdict::Pass),
                ("-x -n 1: case 1".to_owned(), Verdict::CutOff),
                ("-y: case 1".to_owned(), Verdict::CutOff),
            ]
        );
    }

    #[test]
    fn a_single_run_needs_no_name() {
        let mut test = GuestTest::plain("a", 1);
        test.runs = vec!["-x".to_owned()];
        let text = "series: begin a -x\n1..1\nok 1 done\nseries: end a -x 0\n";
        assert_eq!(results(text, &[test])[0].cases[0].name, "done");
    }

    #[test]
    fn steps_stand_for_cases() {
        let mut test = GuestTest::plain("a", 3);
        test.steps = Some("memfd: ".to_owned());
        let said = |status: &str| {
            let text = format!("series: begin a\nmemfd: ONE\nmemfd: TWO\nseries: end a {status}\n");
            results(&text, &[test.clone()])[0]
                .cases
                .iter()
                .map(|case| case.verdict)
                .collect::<Vec<_>>()
        };
        use Verdict::{CutOff, Fail, Pass};
        assert_eq!(said("0"), [Pass, Pass, CutOff]);
        assert_eq!(said("134"), [Pass, Fail, CutOff]);
    }

    #[test]
    fn a_skip_too_many_is_wrong() {
        let mut tests = vec![GuestTest::plain("a", 2)];
        let text = "series: begin a\n1..2\nok 1 x # SKIP not here\nok 2 y\nseries: end a 0\n";
        assert!(results(text, &tests)[0].wrong_skips().is_some());
        tests[0].skips = 1;
        assert!(results(text, &tests)[0].wrong_skips().is_none());
    }

    #[test]
    fn a_guest_that_does_not_say_that_it_is_done_is_in_trouble() {
        let mut run = Run::of_cases("tip+c", "a", &[("x", Verdict::Pass)]);
        assert!(run.troubles().is_empty());
        // A reset under -no-reboot is an end of QEMU like any other.
        run.ran.results = "series: begin a\nok 1 x\nseries: end a 0\n".to_owned();
        let troubles = run.troubles();
        assert_eq!(troubles.len(), 1);
        assert!(troubles[0].reason.contains("reset"), "{}", troubles[0]);
        run.ran.end = End::Panic;
        assert!(run.troubles()[0].reason.contains("panicked"));
    }

    #[test]
    fn a_skip_too_many_makes_a_boot_fail() {
        let mut run = Run::of_cases("tip+c", "a", &[("x", Verdict::Skip)]);
        assert_eq!(judge(&run), Outcome::Findings);
        run.results[0].may_skip = 1;
        assert_eq!(judge(&run), Outcome::Clean);
    }
}
