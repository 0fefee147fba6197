// SPDX-License-Identifier: GPL-2.0
//! `bench`: what the operations of udmabuf cost in instructions, on the base and on the tip, with either driver.
//!
//! Under `-icount shift=0` a guest's time is the number of its instructions: two runs of the same kernels agree, on
//! any machine and under any load. Each buffer has a guest of its own, so that its memory is that of a fresh boot.

mod drawing;
mod figures;
mod gate;
mod guest;
mod latency;
mod limits;
mod picture;
mod profile;
mod record;
mod rows;
mod source;
mod table;
mod wall;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::cli::{BenchArgs, Driver};
use crate::context::{Context, short_hash};
use crate::error::{At, Error, Outcome, Result};
use crate::kernel::accel::{self, Accel};
use crate::kernel::build::{self, Kernel, Source};
use crate::stack::{self, Stack};
use crate::toolchain::Toolchain;

use guest::{Job, SMALL, What};
use limits::Limits;
use record::Record;

/// The buffers that the guest knows.
pub const BUFFERS: [&str; 8] = [
    "shmem",
    "holes",
    "list",
    "mthp",
    "thp",
    "hugetlb",
    "hugetlb-1g",
    KILLED,
];

/// Its process is killed while it makes the buffer. One size tells what that takes, and the tracers do not say whom they
/// watched.
pub const KILLED: &str = "killed";

/// The columns. Ratios are those of the last one to the first.
const KERNELS: [&str; 3] = ["base+c", "tip+c", "tip+rust"];

pub fn bench(ctx: &Context, args: &BenchArgs) -> Result<Outcome> {
    let sizes = sizes(&args.sizes)?;
    let buffers = buffers(&args.buffer, &sizes)?;
    let kernels = chosen(&KERNELS, &args.kernel, "--kernel")?;
    let baseline = baseline(ctx);
    // Before anything is built.
    let recorded = if args.check {
        Some(read_baseline(&baseline)?)
    } else {
        None
    };
    let older = match args.update && baseline.exists() {
        true => read_baseline(&baseline)?,
        false => Record::default(),
    };
    if let Some(file) = &args.from {
        return show(args, &Record::read(file)?, recorded.as_ref());
    }
    let toolchain = Toolchain::ensure(ctx)?;
    let stack = stack::ensure(ctx)?;
    let bench = Bench {
        ctx,
        toolchain: &toolchain,
        stack: &stack,
    };
    if let Some(what) = &args.profile {
        return show_profile(&bench, &kernels, what, &sizes);
    }
    if args.wall {
        return show_ratios(&bench, &kernels, &buffers, &sizes);
    }
    let dir = match &args.out {
        Some(dir) => dir.clone(),
        None => ctx.cache.dir("bench")?,
    };
    if args.latency {
        let record = bench.count(What::Latency, &kernels, &buffers, &sizes)?;
        out!("{}", latency::render(&record, &kernels, &buffers));
        record.write(&latency::file(&dir))?;
        outln!("latencies: {}", latency::file(&dir).display());
        let mut traced = buffers;
        traced.retain(|buffer| *buffer != KILLED);
        return Ok(counted(&record, &kernels, &traced));
    }

    let record = bench.count(What::Instructions, &kernels, &buffers, &sizes)?;
    let limits = Limits::load();
    out!(
        "{}",
        table::render(args.form, &record, &kernels, &buffers, &limits)
    );
    keep(&dir, &record, &kernels, &buffers, &limits)?;
    if args.update {
        older.updated(&record).write(&baseline)?;
        outln!("recorded in {}", baseline.display());
    }
    let outcome = counted(&record, &kernels, &buffers);
    Ok(match recorded {
        Some(recorded) => judge(&recorded, &record, &kernels, &buffers, &sizes).and(outcome),
        None => outcome,
    })
}

/// Whether something was counted of everything that was asked for: in tables, what was not is NOT RUN.
fn counted(record: &Record, kernels: &[&str], buffers: &[&str]) -> Outcome {
    let is_there = |buffer: &&str| {
        kernels
            .iter()
            .all(|kernel| !record.sizes(kernel, buffer).is_empty())
    };
    match !buffers.is_empty() && buffers.iter().all(is_there) {
        true => Outcome::Clean,
        false => Outcome::NotRun,
    }
}

/// How the guests are made and booted, to the letter: what counts depend on beside kernel and program.
const HOW: &str = concat!(
    include_str!("guest.rs"),
    include_str!("../kernel/guest.rs"),
    include_str!("../kernel/qemu.rs")
);

/// What every measurement needs.
struct Bench<'a> {
    ctx: &'a Context,
    toolchain: &'a Toolchain,
    stack: &'a Stack,
}

impl Bench<'_> {
    fn kernel(&self, name: &str, what: What) -> Result<Kernel> {
        let (source, driver) = match name {
            "base+c" => (Source::base(self.stack), Driver::C),
            "tip+c" => (Source::tip(self.stack), Driver::C),
            _ => (Source::tip(self.stack), Driver::Rust),
        };
        let lane = match what {
            What::Latency => "latency",
            What::Instructions | What::Time => "bench",
        };
        let lane = self.ctx.config.kernel.lane(Some(lane))?;
        let source = source::with_helper(&self.stack.base.git(), &source)?;
        build::kernel(self.ctx, self.toolchain, &source, driver, lane)
    }

    /// Where the gate's counts are kept: the same kernel and program count the same.
    fn gate_counts(&self) -> Result<PathBuf> {
        let kernel = self.kernel(GATE_KERNEL, What::Instructions)?;
        let program = guest::program(self.ctx, self.toolchain)?;
        let program = program.display();
        let what = format!("{GATE_BUFFERS:?} {GATE_SIZES:?}");
        let key = format!("{} {program} {what} {HOW}", kernel.key);
        let name = format!("{}.json", short_hash(key.as_bytes()));
        Ok(self.ctx.cache.dir("bench-gate")?.join(name))
    }

    /// Boots each kernel for each buffer.
    fn count(
        &self,
        what: What,
        kernels: &[&str],
        buffers: &[&str],
        sizes: &[u32],
    ) -> Result<Record> {
        let mut record = Record::default();
        for name in kernels {
            let kernel = self.kernel(name, what)?;
            self.boot(what, name, &kernel, buffers, sizes, (name, &mut record))?;
        }
        Ok(record)
    }

    /// Boots a kernel for each buffer, and adds what it said to a record, under this name.
    fn boot(
        &self,
        what: What,
        kernel_name: &str,
        kernel: &Kernel,
        buffers: &[&str],
        sizes: &[u32],
        (name, record): (&str, &mut Record),
    ) -> Result<()> {
        for buffer in buffers {
            let sizes = sizes_of(buffer, sizes);
            if sizes.is_empty() || (what == What::Latency && *buffer == KILLED) {
                continue;
            }
            for sizes in guests(&sizes) {
                let job = Job {
                    kernel_name,
                    kernel,
                    buffer,
                    sizes: &sizes,
                    only: None,
                    plugin: None,
                    what,
                };
                let said = job.run(self.ctx, self.toolchain)?;
                let console = job.logs(self.ctx)?.join("console.log");
                let read = format!("read {}", console.display());
                record.add(name, &said).map_err(|e| e.mend(read))?;
            }
        }
        Ok(())
    }
}

/// What was counted before, as far as it was asked for.
fn show(args: &BenchArgs, record: &Record, recorded: Option<&Record>) -> Result<Outcome> {
    let counted = |kernel: &str, buffer: &str| !record.sizes(kernel, buffer).is_empty();
    let asked_kernels = chosen(&KERNELS, &args.kernel, "--kernel")?;
    let asked_buffers = chosen(&BUFFERS, &args.buffer, "--buffer")?;
    let mut kernels = asked_kernels.clone();
    kernels.retain(|kernel| BUFFERS.iter().any(|buffer| counted(kernel, buffer)));
    let mut buffers = asked_buffers.clone();
    buffers.retain(|buffer| kernels.iter().any(|kernel| counted(kernel, buffer)));
    let limits = Limits::load();
    out!(
        "{}",
        table::render(args.form, record, &kernels, &buffers, &limits)
    );
    if let Some(dir) = &args.out {
        keep(dir, record, &kernels, &buffers, &limits)?;
    }
    let sizes = sizes(&args.sizes)?;
    Ok(match recorded {
        // What the file does not hold is missing.
        Some(recorded) => judge(recorded, record, &asked_kernels, &asked_buffers, &sizes),
        None => Outcome::Clean,
    })
}

/// The counts that the gate compares with.
fn baseline(ctx: &Context) -> PathBuf {
    ctx.repo.join("tools/series/bench/baseline.json")
}

/// What was recorded there.
fn read_baseline(baseline: &Path) -> Result<Record> {
    if !baseline.exists() {
        return Err(
            Error::config(baseline.display(), "nothing was recorded here")
                .mend("record it: cargo series bench --update"),
        );
    }
    let mend = "remove it and record it anew: cargo series bench --update";
    Record::read(baseline).map_err(|e| e.mend_only(mend))
}

/// Records anew in every size that is recorded: the others would be lost.
fn update(recorded: &Record) -> String {
    let buffers = BUFFERS.iter().filter(|buffer| **buffer != KILLED);
    let sizes: BTreeSet<u32> = buffers
        .flat_map(|buffer| {
            KERNELS
                .iter()
                .flat_map(|kernel| recorded.sizes(kernel, buffer))
        })
        .collect();
    let sizes: Vec<String> = sizes.iter().map(u32::to_string).collect();
    let sizes = match sizes.is_empty() {
        true => String::new(),
        false => format!(" --sizes {}", sizes.join(",")),
    };
    format!("cargo series bench --update{sizes}")
}

/// The buffers that were asked for; if none was, those that one of the sizes is enough for.
fn buffers(asked: &[String], sizes: &[u32]) -> Result<Vec<&'static str>> {
    let mut buffers = chosen(&BUFFERS, asked, "--buffer")?;
    if asked.is_empty() {
        buffers.retain(|buffer| !sizes_of(buffer, sizes).is_empty());
    }
    Ok(buffers)
}

/// Those that were asked for, in the tool's order; all, if none was.
fn chosen(known: &[&'static str], asked: &[String], option: &str) -> Result<Vec<&'static str>> {
    if let Some(wrong) = asked.iter().find(|name| !known.contains(&name.as_str())) {
        return Err(
            Error::config(format!("{option} {wrong}"), "there is no such thing")
                .mend(format!("{option} {}", known.join(","))),
        );
    }
    let wanted = |name: &&&str| asked.is_empty() || asked.iter().any(|asked| asked == **name);
    Ok(known.iter().filter(wanted).copied().collect())
}

/// Powers of two that a list of 1024 pieces and a huge page fit into.
fn sizes(asked: &[u32]) -> Result<Vec<u32>> {
    let mut sizes = asked.to_vec();
    sizes.sort_unstable();
    sizes.dedup();
    match sizes
        .iter()
        .find(|mib| !mib.is_power_of_two() || **mib < 16)
    {
        Some(mib) => Err(Error::config(
            format!("--sizes {mib}"),
            "sizes are powers of two in MiB, 16 at least",
        )
        .mend("--sizes 64,256")),
        None => Ok(sizes),
    }
}

/// Those of the sizes that the buffer can have.
fn sizes_of(buffer: &str, sizes: &[u32]) -> Vec<u32> {
    match buffer {
        "hugetlb-1g" => sizes.iter().copied().filter(|mib| *mib >= 1024).collect(),
        // The time that a kill takes is no cost by page: one size tells.
        KILLED => vec![700],
        _ => sizes.to_vec(),
    }
}

/// What each guest of a buffer counts. A large one counts all sizes, in this order; what it says of small ones is replaced by
/// what a guest of their own says, so that a small size costs the same whatever is counted besides.
fn guests(sizes: &[u32]) -> Vec<Vec<u32>> {
    let small: Vec<u32> = sizes.iter().copied().filter(|mib| *mib <= SMALL).collect();
    if small.is_empty() || small == sizes {
        return vec![sizes.to_vec()];
    }
    vec![sizes.to_vec(), small]
}

/// Counts, figures and pictures as files.
fn keep(
    dir: &Path,
    record: &Record,
    kernels: &[&str],
    buffers: &[&str],
    limits: &Limits,
) -> Result<()> {
    std::fs::create_dir_all(dir).at(dir)?;
    let file = dir.join("bench.json");
    let kept = Kept {
        counts: &record.counts,
        figures: rows::entries(record, kernels, buffers, limits),
    };
    let text = serde_json::to_string_pretty(&kept).expect("plain data");
    std::fs::write(&file, text + "\n").at(&file)?;
    outln!("counts: {}", file.display());
    for (name, drawing) in [
        ("bars", picture::bars(record, kernels, buffers)),
        ("growth", picture::growth(record, kernels, buffers)),
    ] {
        let file = dir.join(name);
        let svg = file.with_extension("svg");
        std::fs::write(&svg, drawing.svg()).at(&svg)?;
        let png = file.with_extension("png");
        std::fs::write(&png, drawing.png()).at(&png)?;
        outln!("picture: {} and .png", svg.display());
    }
    Ok(())
}

/// bench.json: what was counted, and what that means.
#[derive(Serialize)]
struct Kept<'a> {
    counts: &'a BTreeMap<String, i64>,
    figures: Vec<rows::Entry>,
}

/// What `test` compares: as much as a minute or two can tell.
const GATE_KERNEL: &str = "tip+rust";
const GATE_BUFFERS: [&str; 3] = ["shmem", "list", "thp"];
const GATE_SIZES: [u32; 2] = [16, 64];

/// Builds the kernel and the program that [`gate`] boots.
pub fn prepare_gate(ctx: &Context, toolchain: &Toolchain, stack: &Stack) -> Result<()> {
    if baseline(ctx).exists() {
        let bench = Bench {
            ctx,
            toolchain,
            stack,
        };
        bench.gate_counts()?;
    }
    Ok(())
}

/// The tip's Rust driver against the recorded counts; nothing where none are recorded. What the same kernel was counted at
/// earlier will do if `use_kept`, and is dated then.
pub fn gate(
    ctx: &Context,
    toolchain: &Toolchain,
    stack: &Stack,
    use_kept: bool,
) -> Option<Result<Option<u64>>> {
    let baseline = baseline(ctx);
    baseline.exists().then(|| {
        let recorded = read_baseline(&baseline)?;
        let bench = Bench {
            ctx,
            toolchain,
            stack,
        };
        let counts = bench.gate_counts()?;
        let count = || {
            bench.count(
                What::Instructions,
                &[GATE_KERNEL],
                &GATE_BUFFERS,
                &GATE_SIZES,
            )
        };
        let (now, date) = Record::kept(&counts, use_kept, count)?;
        match judge(&recorded, &now, &[GATE_KERNEL], &GATE_BUFFERS, &GATE_SIZES) {
            Outcome::Clean => Ok(date),
            Outcome::NotRun => Err(Error::environment("bench", "nothing was counted")
                .mend("cargo series bench --check, which says why")),
            _ => Err(Error::finding("bench", "costs more than what is recorded")
                .mend(format!("{}, and say why in the commit", update(&recorded)))),
        }
    })
}

fn judge(
    recorded: &Record,
    now: &Record,
    kernels: &[&str],
    buffers: &[&str],
    sizes: &[u32],
) -> Outcome {
    let asked = |key: &str| {
        let words: Vec<&str> = key.split(' ').collect();
        words.len() == 4
            && kernels.contains(&words[0])
            && buffers.contains(&words[1])
            && sizes_of(words[1], sizes)
                .iter()
                .any(|mib| mib.to_string() == words[2])
    };
    if !now.counts.keys().any(|key| asked(key)) {
        outln!("NOT RUN: nothing was counted that could be compared");
        return Outcome::NotRun;
    }
    let findings = gate::compare(recorded, now, asked);
    for finding in &findings {
        outln!("{finding}");
    }
    if findings.iter().any(gate::Finding::fails) {
        outln!(
            "if the cost is wanted: {}, and say why in the commit",
            update(recorded)
        );
        return Outcome::Findings;
    }
    let compared = now.counts.keys().filter(|key| asked(key)).count();
    outln!("{compared} counts are at most 2 % above the recorded ones");
    Outcome::Clean
}

/// One operation on one buffer, at the largest size, on each kernel.
fn show_profile(bench: &Bench<'_>, kernels: &[&str], what: &str, sizes: &[u32]) -> Result<Outcome> {
    let (operation, buffer) = profiled(what)?;
    let wanted = profile::Wanted {
        operation,
        buffer,
        mib: sizes_of(buffer, sizes).last().copied().unwrap_or(1024),
    };
    for name in kernels {
        let kernel = bench.kernel(name, What::Instructions)?;
        let text = profile::profile(bench.ctx, bench.toolchain, name, &kernel, &wanted)?;
        outln!("{name}: {text}");
    }
    Ok(Outcome::Clean)
}

/// Time of the last kernel as a part of that of the first, from boots in turn.
fn show_ratios(
    bench: &Bench<'_>,
    kernels: &[&str],
    buffers: &[&str],
    sizes: &[u32],
) -> Result<Outcome> {
    let [first, .., last] = kernels else {
        return Err(
            Error::config("--wall", "a ratio is one of two kernels").mend("leave out --kernel")
        );
    };
    let first = (*first, bench.kernel(first, What::Time)?);
    let last = (*last, bench.kernel(last, What::Time)?);
    if accel::choose(bench.ctx, bench.toolchain, &last.1)? != Accel::Kvm {
        outln!(
            "wall time: NOT RUN, no accelerator works here; what TCG takes says nothing of a CPU"
        );
        return Ok(Outcome::NotRun);
    }
    let mut pairs = Vec::new();
    for _ in 0..wall::ROUNDS {
        let boot = |(name, kernel): &(&str, Kernel)| {
            let mut record = Record::default();
            let to = ("wall", &mut record);
            bench.boot(What::Time, name, kernel, buffers, sizes, to)?;
            Ok(record)
        };
        pairs.push(wall::Pair {
            first: boot(&first)?,
            last: boot(&last)?,
        });
    }
    out!("{}", wall::render(&pairs, (first.0, last.0), buffers));
    let outcomes = pairs
        .iter()
        .map(|pair| counted(&pair.last, &["wall"], buffers));
    Ok(outcomes.fold(Outcome::Clean, Outcome::and))
}

/// "create/shmem".
fn profiled(what: &str) -> Result<(&str, &str)> {
    what.split_once('/')
        .filter(|(operation, buffer)| {
            let known = |op: &figures::Operation| op.name == *operation;
            figures::OPERATIONS.iter().any(known) && BUFFERS.contains(buffer)
        })
        .ok_or_else(|| {
            let names: Vec<&str> = figures::OPERATIONS.iter().map(|op| op.name).collect();
            Error::config(format!("--profile {what}"), "is no OPERATION/BUFFER")
                .detail(format!("operations: {}", names.join(", ")))
                .detail(format!("buffers: {}", BUFFERS.join(", ")))
                .mend("--profile create/shmem")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_sizes_have_a_guest_of_their_own() {
        assert_eq!(guests(&[16, 64, 256]), [vec![16, 64, 256]]);
        assert_eq!(guests(&[700]), [vec![700]]);
        assert_eq!(guests(&[1024, 4096]), [vec![1024, 4096]]);
        assert_eq!(guests(&[16, 1024, 64]), [vec![16, 1024, 64], vec![16, 64]]);
    }

    #[test]
    fn what_is_asked_for_is_known() {
        let asked = ["thp".to_owned(), "shmem".to_owned()];
        assert_eq!(
            chosen(&BUFFERS, &asked, "--buffer").unwrap(),
            ["shmem", "thp"]
        );
        assert_eq!(chosen(&KERNELS, &[], "--kernel").unwrap(), KERNELS);
        assert!(chosen(&BUFFERS, &["no-such".to_owned()], "--buffer").is_err());
    }

    #[test]
    fn what_no_size_is_enough_for_is_not_run_if_it_was_named() {
        let named = ["hugetlb-1g".to_owned()];
        assert_eq!(buffers(&named, &[16]).unwrap(), named);
        assert!(!buffers(&[], &[16]).unwrap().contains(&"hugetlb-1g"));
        assert_eq!(buffers(&[], &[16, 1024]).unwrap(), BUFFERS);
        let mut record = Record::default();
        record
            .add("tip+c", "bench: thp 16 close 5\nbench: end\n")
            .unwrap();
        assert_eq!(counted(&record, &["tip+c"], &["thp"]), Outcome::Clean);
        for (kernels, buffers) in [(&["tip+c"][..], &["thp", "list"][..]), (&KERNELS, &["thp"])] {
            assert_eq!(counted(&record, kernels, buffers), Outcome::NotRun);
        }
    }

    #[test]
    fn a_gate_that_compares_nothing_does_not_pass() {
        let none = Record::default();
        let mut recorded = Record::default();
        let text = "bench: thp 16 close 5\nbench: thp 4096 close 9\nbench: end\n";
        recorded.add("tip+c", text).unwrap();
        let judge = |now: &Record, buffer| judge(&recorded, now, &["tip+c"], &[buffer], &[16]);
        assert_eq!(judge(&recorded, "thp"), Outcome::Clean);
        assert_eq!(judge(&none, "thp"), Outcome::NotRun);
        assert_eq!(judge(&none, "hugetlb-1g"), Outcome::NotRun);
        assert_eq!(
            update(&recorded),
            "cargo series bench --update --sizes 16,4096"
        );
        assert_eq!(update(&none), "cargo series bench --update");
    }

    #[test]
    fn sizes_are_powers_of_two() {
        assert_eq!(sizes(&[256, 64, 64]).unwrap(), [64, 256]);
        assert!(sizes(&[100]).is_err() && sizes(&[8]).is_err());
    }

    #[test]
    fn a_profile_names_operation_and_buffer() {
        assert_eq!(profiled("create/shmem").unwrap(), ("create", "shmem"));
        for wrong in ["create", "create/", "no/shmem", "create/no"] {
            assert!(profiled(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_guest_knows_the_same_names() {
        let program = include_str!("../../data/bench/bench.c");
        for name in BUFFERS
            .into_iter()
            .chain(figures::OPERATIONS.iter().map(|op| op.name))
        {
            assert!(program.contains(&format!("\"{name}\"")), "{name}");
        }
    }
}
