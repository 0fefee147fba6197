// SPDX-License-Identifier: GPL-2.0
//! `boot`: the tests of `series.toml` in a guest, as verdicts; or anybody's initramfs.

use std::path::PathBuf;
use std::time::Duration;

use super::build::{self, Kernel, Source};
use super::ktap::{self, Case, Verdict};
use super::qemu::{self, End, Guest};
use super::splat::{self, Splat};
use super::{GuestTest, accel, guest, selected, table};
use crate::cli::BootArgs;
use crate::context::Context;
use crate::error::{Error, Outcome, Result};
use crate::progress;
use crate::stack;
use crate::toolchain::Toolchain;

/// What the guest's tests may take together, under TCG on a slow machine.
const TESTS_TIMEOUT: Duration = Duration::from_secs(600);

/// The verdicts of one boot.
#[derive(Debug)]
pub struct Run {
    /// The table's column: "tip+rust".
    pub name: String,
    pub results: Vec<TestResult>,
    pub splats: Vec<Splat>,
    pub end: End,
    /// The end of the console.
    pub last_words: String,
    pub console_log: PathBuf,
}

#[derive(Debug)]
pub struct TestResult {
    pub test: String,
    pub cases: Vec<Case>,
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

    pub fn cases(&self) -> impl Iterator<Item = (&str, &Case)> {
        self.results
            .iter()
            .flat_map(|result| result.cases.iter().map(|case| (result.test.as_str(), case)))
    }

    /// What is wrong apart from single cases, in words.
    pub fn troubles(&self) -> Vec<String> {
        let mut troubles: Vec<String> = self
            .splats
            .iter()
            .map(|splat| format!("{}: {}: {}", self.name, splat.test, splat.line))
            .collect();
        if self.end != End::PowerOff {
            let what = match self.end {
                End::Panic => "the kernel panicked",
                End::Hang => "the guest did not end in time",
                _ => "QEMU failed",
            };
            troubles.push(format!(
                "{}: {what}: read {}\n{}",
                self.name,
                self.console_log.display(),
                self.last_words
            ));
        }
        troubles
    }
}

pub fn boot(ctx: &Context, args: &BootArgs) -> Result<Outcome> {
    if let Some(initrd) = &args.initrd {
        // Before anything is built.
        std::fs::File::open(initrd).map_err(|e| {
            Error::config(initrd.display(), e).mend("name an initramfs that can be read")
        })?;
    }
    memory(&args.memory)?;
    let (toolchain, kernel) = selected(ctx, &args.image)?;
    if args.initrd.is_some() || args.shell {
        return interactive(ctx, &toolchain, &kernel, args);
    }

    let stack = stack::ensure(ctx)?;
    let name = column(args);
    let mut outcome = Outcome::Clean;
    for _ in 0..args.repeat {
        let run = tests(
            ctx,
            &toolchain,
            &kernel,
            &name,
            &Source::tip(&stack),
            &ctx.config.kernel.tests,
            args,
        )?;
        println!("{}", table::render(&[&run]));
        outcome = outcome.and(judge(&run));
    }
    Ok(outcome)
}

fn column(args: &BootArgs) -> String {
    let sources = match (args.image.base, args.image.patch) {
        (true, _) => "base".to_owned(),
        (_, Some(n)) => format!("patch {n}"),
        _ => "tip".to_owned(),
    };
    let driver = if args.image.base {
        "c"
    } else {
        build::driver_name(args.image.driver)
    };
    format!("{sources}+{driver}")
}

/// Says what did not pass, and what that makes of the run.
fn judge(run: &Run) -> Outcome {
    let troubles = run.troubles();
    for trouble in &troubles {
        println!("{trouble}");
    }
    let count = |wanted: Verdict| {
        run.cases()
            .filter(|(_, case)| case.verdict == wanted)
            .count()
    };
    let failed = count(Verdict::Fail) + count(Verdict::CutOff) + troubles.len();
    let skipped = count(Verdict::Skip);
    println!(
        "{} passed, {failed} failed, {skipped} skipped",
        count(Verdict::Pass)
    );
    if failed > 0 {
        println!("console: {}", run.console_log.display());
        Outcome::Findings
    } else if skipped > 0 {
        Outcome::NotRun
    } else {
        Outcome::Clean
    }
}

/// Boots a kernel with these tests, which are built from `programs`.
pub fn tests(
    ctx: &Context,
    toolchain: &Toolchain,
    kernel: &Kernel,
    name: &str,
    programs: &Source,
    tests: &[GuestTest],
    args: &BootArgs,
) -> Result<Run> {
    let initrd = guest::with_tests(ctx, toolchain, programs, tests)?;
    let accel = accel::choose(ctx, toolchain, kernel)?;
    let logs = ctx.cache.dir(format!(
        "log/boot/{}-{}",
        name.replace(' ', "-"),
        kernel.key
    ))?;
    let step = progress::step(format_args!("booting {name}"));
    let ran = Guest {
        image: &kernel.image,
        initrd: &initrd,
        append: args.append.as_deref().unwrap_or(""),
        memory: &args.memory,
        accel,
        icount: args.icount,
        timeout: args.timeout.map_or(TESTS_TIMEOUT, Duration::from_secs),
        logs: &logs,
        interactive: false,
    }
    .run(toolchain)?;
    step.done_with(format_args!("{:?}", ran.end));
    let mut results = results(&ran.results, tests);
    if kernel.runs_kunit {
        results.push(TestResult {
            test: "kunit".to_owned(),
            cases: ktap::suites(&ran.console),
        });
    }
    Ok(Run {
        name: name.to_owned(),
        results,
        splats: splat::find(&ran.console),
        end: ran.end,
        last_words: qemu::last_words(&ran.console),
        console_log: ran.console_log,
    })
}

/// The results channel as verdicts: a test that says too little, or ends badly, gets a case that failed.
pub(super) fn results(text: &str, tests: &[GuestTest]) -> Vec<TestResult> {
    let text = text.replace('\r', "");
    tests
        .iter()
        .map(|test| {
            let begin = format!("series: begin {}\n", test.name);
            let said = text.split_once(&begin).map_or("", |(_, rest)| rest);
            let end = format!("series: end {} ", test.name);
            let (said, status) = said.split_once(&end).unwrap_or((said, ""));
            let mut cases = ktap::parse(said);
            for number in cases.len() + 1..=test.cases {
                cases.push(Case {
                    name: format!("case {number}"),
                    verdict: Verdict::CutOff,
                    reason: String::new(),
                });
            }
            let status = status.lines().next().unwrap_or("").trim();
            let all_pass = cases.iter().all(|case| case.verdict == Verdict::Pass);
            if all_pass && status != "0" {
                cases.push(Case {
                    name: format!(
                        "exit status {}",
                        if status.is_empty() { "missing" } else { status }
                    ),
                    verdict: Verdict::Fail,
                    reason: String::new(),
                });
            }
            TestResult {
                test: test.name.clone(),
                cases,
            }
        })
        .collect()
}

/// Anybody's initramfs, or a shell: the console is standard output.
fn interactive(
    ctx: &Context,
    toolchain: &Toolchain,
    kernel: &Kernel,
    args: &BootArgs,
) -> Result<Outcome> {
    let initrd = match &args.initrd {
        Some(file) => file
            .canonicalize()
            .map_err(|e| Error::config(file.display(), e))?,
        None => {
            let stack = stack::ensure(ctx)?;
            guest::with_tests(
                ctx,
                toolchain,
                &Source::tip(&stack),
                &ctx.config.kernel.tests,
            )?
        }
    };
    let accel = if args.icount {
        accel::Accel::Tcg
    } else {
        accel::choose(ctx, toolchain, kernel)?
    };
    let mut append = args.append.clone().unwrap_or_default();
    if args.shell {
        append = format!("series.shell {append}");
    }
    let mut outcome = Outcome::Clean;
    for _ in 0..args.repeat {
        let ran = Guest {
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

/// What QEMU takes for a size: a number with K, M or G.
fn memory(text: &str) -> Result<()> {
    let digits = text.trim_end_matches(['k', 'K', 'm', 'M', 'g', 'G']);
    if text.len() - digits.len() <= 1 && digits.parse::<u32>().is_ok_and(|n| n > 0) {
        return Ok(());
    }
    Err(Error::config(format!("--memory {text}"), "is no size").mend("--memory 3G"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn test(name: &str, cases: usize) -> GuestTest {
        GuestTest {
            name: name.to_owned(),
            dir: String::new(),
            program: name.to_owned(),
            cases,
            hugepages: 0,
            fails_on_base: Vec::new(),
        }
    }

    fn verdicts(text: &str, cases: usize) -> Vec<Verdict> {
        results(text, &[test("a", cases)])[0]
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
    fn sizes() {
        for good in ["3G", "512M", "4096"] {
            assert!(memory(good).is_ok(), "{good}");
        }
        for bad in ["", "G", "3GG", "-1G", "3 G", "0"] {
            assert!(memory(bad).is_err(), "{bad:?}");
        }
    }
}
