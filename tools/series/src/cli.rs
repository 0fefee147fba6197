// SPDX-License-Identifier: GPL-2.0
//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

#[derive(Debug, Parser)]
#[command(
    name = "cargo series",
    bin_name = "cargo series",
    version,
    about = "Applies, builds, boots and tests this stack of kernel patches",
    after_help = "Exit codes: 0 clean, 1 findings, 2 usage or configuration, 3 environment, 4 something was not run."
)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Args)]
pub struct Global {
    /// Tools to use: the Debian root that this tool makes, or what is installed on this machine
    #[arg(long, value_enum, default_value_t = ToolchainChoice::Root, global = true)]
    pub toolchain: ToolchainChoice,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ToolchainChoice {
    Root,
    Host,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Say what is set up, and with --fix set up the rest
    Doctor(DoctorArgs),
    /// Turn the patches into commits in a worktree, or on a tree of your own
    Apply(ApplyArgs),
    /// Say of every patch whether it applies to the other bases of series.toml
    Drift(DriftArgs),
    /// Write the worktree's commits back to patches/ and the mirrored files
    Refresh(RefreshArgs),
    /// Check patches, messages and mirrored files without building anything
    Check(CheckArgs),
    /// Build a kernel
    Build(ImageArgs),
    /// Build a kernel and print the path of its bzImage as the last line
    Image(ImageArgs),
    /// Boot a kernel, run the tests in it, print a table of verdicts
    Boot(BootArgs),
    /// Everything that CI runs
    Test(TestArgs),
    /// Show the last finished run of test
    Report(ReportArgs),
    /// Compare with the patches of an earlier tag, and print the start of a changelog
    Diff(DiffArgs),
    /// Write each part as a mailbox with a cover letter, and prove it; nothing is sent
    Mail(MailArgs),
    /// Count the instructions of udmabuf's operations, on base and tip, with either driver
    Bench(BenchArgs),
}

#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Set up what is missing: the toolchain root and the base kernel
    #[arg(long)]
    pub fix: bool,
}

#[derive(Debug, Args)]
pub struct ApplyArgs {
    /// Where to make the worktree [default: in the cache]
    #[arg(long, value_name = "DIR", conflicts_with = "onto")]
    pub dir: Option<PathBuf>,
    /// Apply with git am --3way to this tree instead, on its current branch
    #[arg(long, value_name = "DIR")]
    pub onto: Option<PathBuf>,
    /// On this base of series.toml instead of the one that the patches are written for, in a worktree of its own
    #[arg(long, value_name = "NAME", conflicts_with = "onto")]
    pub base: Option<String>,
    /// Replace a worktree that holds changes of yours; they are kept under refs/series/backup/
    #[arg(long)]
    pub force: bool,
}

#[derive(Debug, Args)]
pub struct DriftArgs {
    /// This base only [default: all that the patches are not written for]
    #[arg(long, value_name = "NAME")]
    pub base: Option<String>,
}

#[derive(Debug, Args)]
pub struct RefreshArgs {
    /// The worktree to take the commits from [default: the one that apply made]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Write nothing; fail if something would be written
    #[arg(long)]
    pub verify: bool,
    /// Take this mirrored file, as it was edited, into the patch that adds it; may be given more than once
    #[arg(long, value_name = "PATH", conflicts_with = "dir")]
    pub fold: Vec<PathBuf>,
    /// Overwrite or delete mirrored files, patches and cover letters that were edited by hand
    #[arg(long, conflicts_with = "verify")]
    pub force: bool,
}

#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Leave out checkpatch and the other scripts of the kernel, which need the base kernel and the toolchain. The patches
    /// are applied to the base where it is here; where it is not, that counts as not run
    #[arg(long)]
    pub no_checkpatch: bool,
    /// Check one mail on standard input instead, and print what b4 review takes from a review-perpatch-check-cmd
    #[arg(long)]
    pub b4_json: bool,
}

/// Which kernel.
#[derive(Clone, Debug, Args)]
pub struct ImageArgs {
    /// Which udmabuf driver the kernel has [default: rust, where the lane has Rust]
    #[arg(long, value_enum)]
    pub driver: Option<Driver>,
    /// The base kernel without any patch
    #[arg(long, conflicts_with = "patch")]
    pub base: bool,
    /// The kernel after this patch, counted from 1 through all parts; boot runs the tests that are there then
    #[arg(long, value_name = "N")]
    pub patch: Option<usize>,
    /// The lane of series.toml: architecture, tools and configuration
    #[arg(long, value_name = "NAME")]
    pub lane: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Driver {
    Rust,
    C,
}

#[derive(Clone, Debug, Args)]
pub struct BootArgs {
    #[command(flatten)]
    pub image: ImageArgs,
    /// Boot this initramfs instead of the tests, with the console on standard output
    #[arg(long, value_name = "FILE")]
    pub initrd: Option<PathBuf>,
    /// Add to the kernel's command line
    #[arg(long, value_name = "STR")]
    pub append: Option<String>,
    /// The guest's memory; in 3G+2G, the 2 GiB are a module that is plugged in
    #[arg(long, value_name = "SIZE", default_value = "3G")]
    pub memory: String,
    /// Count instructions instead of time: slower, and the same in every run
    #[arg(long)]
    pub icount: bool,
    /// A shell in the guest instead of the tests
    #[arg(long, conflicts_with = "initrd")]
    pub shell: bool,
    /// Boot this often
    #[arg(long, value_name = "K", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub repeat: u32,
    /// Give up on a guest whose tests have said nothing for this many seconds
    #[arg(long, value_name = "SECS")]
    pub timeout: Option<u64>,
    /// With the memory, the command line and the tests of this guest of series.toml
    #[arg(long, value_name = "NAME")]
    pub guest: Option<String>,
    /// Run this test of series.toml only; may be given more than once
    #[arg(long, value_name = "NAME", conflicts_with_all = ["initrd", "shell"])]
    pub test: Vec<String>,
}

#[derive(Debug, Args)]
pub struct TestArgs {
    /// Build and boot every patch with each driver; test the tip in every lane, and build every patch in most of them
    #[arg(long, conflicts_with = "quick")]
    pub full: bool,
    /// Test the tip in this lane of series.toml only, with --full every patch unless it is tip_only; may be given more than once
    #[arg(long, value_name = "NAME", conflicts_with_all = ["quick", "patch"])]
    pub lane: Vec<String>,
    /// The checks and the tip only
    #[arg(long)]
    pub quick: bool,
    /// Stop starting new work after this time (60m, 90s, 2h); what is left counts as not run
    #[arg(long, value_name = "TIME", value_parser = parse_budget)]
    pub budget: Option<Duration>,
    /// Boot every guest, those too that passed earlier with the same kernel, tests and machine; test the tool again, too
    #[arg(long)]
    pub again: bool,
    /// Test this patch only, counted from 1 through all parts
    #[arg(long, value_name = "N")]
    pub patch: Option<usize>,
}

#[derive(Debug, Args)]
pub struct ReportArgs {
    /// Plain text, Markdown, one page of HTML, JUnit's XML, or what KernelCI's database takes
    #[arg(long, value_enum, default_value_t = Form::Text)]
    pub form: Form,
    /// Show this file, which a run kept elsewhere, instead of the last run here
    #[arg(long, value_name = "FILE")]
    pub from: Option<PathBuf>,
    /// As KernelCI knows whoever submits; for --form kcidb
    #[arg(long, value_name = "NAME", default_value = "series", value_parser = parse_origin)]
    pub origin: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Form {
    Text,
    Md,
    Html,
    Junit,
    Kcidb,
}

#[derive(Debug, Args)]
pub struct DiffArgs {
    /// A tag or commit of this repository
    #[arg(value_name = "TAG")]
    pub tag: String,
}

#[derive(Debug, Args)]
pub struct MailArgs {
    /// This part only, counted from 1
    #[arg(long, value_name = "N")]
    pub part: Option<usize>,
    /// Where the mailboxes go [default: in the cache]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Add a Signed-off-by of the git identity, which also sends the cover letter
    #[arg(long)]
    pub signoff: bool,
    /// [RFC PATCH]
    #[arg(long)]
    pub rfc: bool,
    /// Which version of the part this is
    #[arg(long, value_name = "vN", default_value = "v1", value_parser = parse_version)]
    pub version: u32,
    /// A commit that others have, with the base's tree; without it the cover letter names the release and the tree
    #[arg(long, value_name = "ID")]
    pub base_commit: Option<String>,
    /// Instead of a mailbox, leave a branch for b4 prep in the worktree's repository [default name: b4/<part>]
    #[arg(long, value_name = "NAME", num_args = 0..=1, default_missing_value = "", conflicts_with_all = ["verify", "out"])]
    pub b4_branch: Option<String>,
    /// Write nothing; prove the mailboxes that are there
    #[arg(long)]
    pub verify: bool,
    /// Replace mailboxes that were edited by hand, or that are not this tool's
    #[arg(long, conflicts_with_all = ["verify", "b4_branch"])]
    pub force: bool,
    /// Leave out the proof by b4, which needs the toolchain
    #[arg(long)]
    pub no_b4: bool,
}

fn parse_origin(text: &str) -> Result<String, String> {
    let known = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if !text.is_empty() && text.chars().all(known) {
        return Ok(text.to_owned());
    }
    Err(format!(
        "{text:?} is no origin: lower-case letters, digits and _ only"
    ))
}

fn parse_version(text: &str) -> Result<u32, String> {
    let digits = text.strip_prefix('v').unwrap_or(text);
    match digits.parse() {
        Ok(n) if n > 0 => Ok(n),
        _ => Err(format!("{text:?} is no version: write v2")),
    }
}

#[derive(Debug, Args)]
pub struct BenchArgs {
    /// Compare with the recorded counts; more than 2 % above them is a finding
    #[arg(long)]
    pub check: bool,
    /// Record the counts, in the place of those of the same kernels and buffers in any size
    #[arg(long, conflicts_with_all = ["check"])]
    pub update: bool,
    /// Show by function where the instructions of this operation go, such as create/shmem
    #[arg(long, value_name = "OP/BUFFER", conflicts_with_all = ["check", "update", "buffer"])]
    pub profile: Option<String>,
    /// Sizes of the buffers in MiB; costs by page are taken between the two largest, and 1 GiB pages need 1024
    #[arg(
        long,
        value_name = "MIB",
        value_delimiter = ',',
        default_value = "16,64,256"
    )]
    pub sizes: Vec<u32>,
    /// These buffers only
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub buffer: Vec<String>,
    /// These kernels only: base+c, tip+c, tip+rust
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub kernel: Vec<String>,
    /// Instead of costs, the longest time that each operation keeps interrupts or preemption off; needs kernels of its own
    #[arg(long, conflicts_with_all = ["check", "update", "profile", "from"])]
    pub latency: bool,
    /// Ratios of time between the first and the last kernel, booted in turn, where an accelerator works
    #[arg(long, conflicts_with_all = ["check", "update", "profile", "from", "latency"])]
    pub wall: bool,
    /// Where to write bench.json and the pictures [default: in the cache]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// As a wide table, as Markdown, or narrow enough for a cover letter
    #[arg(long, value_enum, default_value_t = BenchForm::Text)]
    pub form: BenchForm,
    /// Count nothing: show what this file holds, bench.json of an earlier run or the recorded counts
    #[arg(long, value_name = "FILE", conflicts_with_all = ["update", "profile"])]
    pub from: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum BenchForm {
    Text,
    Md,
    Mail,
}

fn parse_budget(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no time: write 90s, 60m or 2h");
    let unit = text.chars().last().ok_or_else(wrong)?;
    let (digits, seconds) = match unit {
        's' => (&text[..text.len() - 1], 1),
        'm' => (&text[..text.len() - 1], 60),
        'h' => (&text[..text.len() - 1], 3600),
        '0'..='9' => (text, 60),
        _ => return Err(wrong()),
    };
    let count: u32 = digits.parse().map_err(|_| wrong())?;
    Ok(Duration::from_secs(u64::from(count) * seconds))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    /// What README shows is typed by newcomers.
    #[test]
    fn every_command_of_readme_is_one() {
        let readme = include_str!("../../../README.md");
        let typed = readme.lines().filter_map(|line| line.strip_prefix("    "));
        let inline = readme.split('`').skip(1).step_by(2);
        let mut count = 0;
        for command in typed.chain(inline) {
            let command = command
                .split(" # ")
                .next()
                .unwrap_or_default()
                .replace('"', "");
            let Some(arguments) = command.strip_prefix("cargo series ") else {
                continue;
            };
            let parsed =
                Cli::try_parse_from(["series"].into_iter().chain(arguments.split_whitespace()));
            assert!(parsed.is_ok(), "{command}: {}", parsed.unwrap_err());
            count += 1;
        }
        assert!(count > 20, "{count}");
    }

    #[test]
    fn versions() {
        assert_eq!(parse_version("v2"), Ok(2));
        assert_eq!(parse_version("3"), Ok(3));
        for wrong in ["", "v0", "vv2", "-1", "two"] {
            assert!(parse_version(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn budgets() {
        assert_eq!(parse_budget("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_budget("60m"), Ok(Duration::from_secs(3600)));
        assert_eq!(parse_budget("2h"), Ok(Duration::from_secs(7200)));
        assert_eq!(parse_budget("5"), Ok(Duration::from_secs(300)));
        for wrong in ["", "m", "-1m", "5 min", "é"] {
            assert!(parse_budget(wrong).is_err(), "{wrong:?}");
        }
    }
}
