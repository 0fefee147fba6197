// SPDX-License-Identifier: GPL-2.0
//! Builds kernels in the toolchain root, one O= folder for each driver and lane, and keeps images by content.
//!
//! Sources are always at /src and objects at /obj, so that the same sources give the same bytes on every machine
//! and ccache serves every clone.

use std::collections::BTreeSet;
use std::fs;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::thread;

use super::kconfig::{self, Lane};
use crate::cli::Driver;
use crate::context::{Context, short_hash};
use crate::error::{At, Error, Result};
use crate::git::Git;
use crate::progress;
use crate::run;
use crate::stack::Stack;
use crate::toolchain::Toolchain;
use crate::worktree;

/// The sources of a kernel.
#[derive(Debug, Clone)]
pub struct Source {
    /// "base", "tip" or "patch 3: subject".
    pub name: String,
    pub commit: String,
    pub tree: String,
}

impl Source {
    pub fn base(stack: &Stack) -> Self {
        Source {
            name: "base".to_owned(),
            commit: stack.base.commit.clone(),
            tree: stack.base.tree.clone(),
        }
    }

    pub fn tip(stack: &Stack) -> Self {
        Source {
            name: "tip".to_owned(),
            commit: stack.tip.clone(),
            tree: stack.tip_tree.clone(),
        }
    }

    /// The kernel after patch `n`, counted from 1; there is such a patch.
    pub fn patch(stack: &Stack, n: usize) -> Self {
        let patch = &stack.commits[n - 1];
        Source {
            name: format!("patch {n}: {}", patch.subject),
            commit: patch.id.clone(),
            tree: patch.tree.clone(),
        }
    }
}

/// A kernel that was built.
#[derive(Debug, Clone)]
pub struct Kernel {
    pub image: PathBuf,
    /// Stands for sources, configuration and tools.
    pub key: String,
    /// It runs KUnit suites when it boots, and says on the console how they ended.
    pub runs_kunit: bool,
    /// What the compilers complained about, without line numbers.
    pub warnings: BTreeSet<String>,
}

pub fn driver_name(driver: Driver) -> &'static str {
    match driver {
        Driver::Rust => "rust",
        Driver::C => "c",
    }
}

/// Where the stack changes something, and what depends on it: what is built at a patch inside of a part.
const TOUCHED: [&str; 7] = [
    "rust/",
    "mm/",
    "fs/hugetlbfs/",
    "drivers/dma-buf/",
    "drivers/android/",
    "drivers/iommu/",
    "virt/",
];

/// The warnings of the objects that the stack touches, built now unless that was done before.
pub fn objects(
    ctx: &Context,
    toolchain: &Toolchain,
    source: &Source,
    driver: Driver,
    lane: Lane,
) -> Result<BTreeSet<String>> {
    let key = key(toolchain, source, driver, lane);
    let kept = ctx.cache.dir("objects")?.join(key);
    if let Ok(text) = fs::read_to_string(&kept) {
        return Ok(text.lines().map(str::to_owned).collect());
    }
    let _lock = ctx.cache.lock("build")?;
    let built = run_make(ctx, toolchain, source, driver, lane, &TOUCHED)?;
    let found = warnings(&String::from_utf8_lossy(
        &fs::read(&built.log).at(&built.log)?,
    ));
    let lines: String = found.iter().map(|w| format!("{w}\n")).collect();
    fs::write(&kept, lines).at(&kept)?;
    Ok(found)
}

/// The kernel, built now unless it is in the cache.
pub fn kernel(
    ctx: &Context,
    toolchain: &Toolchain,
    source: &Source,
    driver: Driver,
    lane: Lane,
) -> Result<Kernel> {
    let key = key(toolchain, source, driver, lane);
    let runs_kunit = kconfig::runs_kunit(driver, lane);
    if let Some(kernel) = kept(ctx, &key, runs_kunit)? {
        return Ok(kernel);
    }
    let _lock = ctx.cache.lock("build")?;
    // Another process may have built it while we waited.
    if let Some(kernel) = kept(ctx, &key, runs_kunit)? {
        return Ok(kernel);
    }
    let built = run_make(ctx, toolchain, source, driver, lane, &["bzImage"])?;
    keep(ctx, key, runs_kunit, &built)
}

/// Where a build left what it made.
pub(super) struct Built {
    pub(super) objects: PathBuf,
    log: PathBuf,
}

/// The lock of builds is held.
pub(super) fn run_make(
    ctx: &Context,
    toolchain: &Toolchain,
    source: &Source,
    driver: Driver,
    lane: Lane,
    targets: &[&str],
) -> Result<Built> {
    let flavour = flavour(driver, lane);
    ctx.cache.need_free(6, "building a kernel")?;

    let tree = worktree::at(ctx, &source.commit)?;
    let fragment = kconfig::fragment(driver, lane, &tree)?;
    let objects = ctx.cache.dir(format!("build/{flavour}"))?;
    claim(&objects, &tree)?;
    let log = ctx.cache.path(format!("log/build-{flavour}.log"));
    fs::create_dir_all(log.parent().expect("the log has a folder")).at(&log)?;
    fs::write(&log, "").at(&log)?;

    let (what, how) = (
        targets.join(" "),
        format!("({}, {} lane)", driver_name(driver), lane.name()),
    );
    let step = progress::step_of(
        format_args!("building {what} {how}"),
        format_args!("building {what} of {} {how}", source.name),
    );
    let make = Make {
        toolchain,
        tree: &tree,
        objects: &objects,
        log: &log,
    };
    make.configure(&fragment)?;
    make.run(targets)?;
    same_sources(&tree, source)?;
    step.done();

    Ok(Built { objects, log })
}

/// Empties a folder of objects that were made from another clone's sources.
///
/// make goes by the time of a file: an object of the other clone can be newer than the source here that it is not of.
pub(super) fn claim(objects: &Path, tree: &Path) -> Result<()> {
    let mark = objects.join("series.sources");
    let tree = tree.as_os_str().as_encoded_bytes();
    if fs::read(&mark).is_ok_and(|made_from| made_from == tree) {
        return Ok(());
    }
    fs::remove_dir_all(objects).at(objects)?;
    fs::create_dir_all(objects).at(objects)?;
    fs::write(&mark, tree).at(&mark)
}

/// An image is kept under its commit's name: nobody may have checked out another one meanwhile.
fn same_sources(tree: &Path, source: &Source) -> Result<()> {
    let head = Git::at(tree).resolve("HEAD")?;
    if head.as_deref() == Some(&source.commit) {
        return Ok(());
    }
    Err(Error::environment(
        &source.name,
        "another commit was checked out while this one was being built",
    )
    .mend("run this again, and no other cargo series next to it"))
}

struct Make<'a> {
    toolchain: &'a Toolchain,
    tree: &'a Path,
    objects: &'a Path,
    log: &'a Path,
}

impl Make<'_> {
    fn run(&self, arguments: &[&str]) -> Result<()> {
        let mut command = self
            .toolchain
            .command(&[(self.tree, "/src"), (self.objects, "/obj")], "make");
        command.args(["-s", "-C", "/src", "O=/obj", "LLVM=1", "CC=ccache clang"]);
        command.arg(format!("-j{}", jobs())).args(arguments);
        let status = run::log_status(&mut command, self.log)?;
        if status.success() {
            return Ok(());
        }
        let log = fs::read(self.log).at(self.log)?;
        Err(Error::finding(
            "kernel build",
            format!("make {} failed", arguments.join(" ")),
        )
        .detail(first_errors(&String::from_utf8_lossy(&log)))
        .mend(format!("read {}", self.log.display())))
    }

    fn configure(&self, fragment: &str) -> Result<()> {
        let wanted = self.objects.join("series.config");
        fs::write(&wanted, fragment).at(&wanted)?;
        self.run(&["KCONFIG_ALLCONFIG=/obj/series.config", "allnoconfig"])?;
        let dot_config = self.objects.join(".config");
        let have = fs::read_to_string(&dot_config).at(&dot_config)?;
        let dropped = kconfig::dropped(fragment, &have);
        if !dropped.is_empty() {
            return Err(Error::finding(
                "kernel configuration",
                format!("asked for and dropped by Kconfig: {}", dropped.join(", ")),
            )
            .mend("see what the symbols depend on, and add that to tools/series/data/config"));
        }
        if have.contains("CONFIG_SLUB_TINY=y") {
            return Err(Error::finding(
                "kernel configuration",
                "CONFIG_SLUB_TINY hides bugs and skews figures",
            )
            .mend("turn it off in tools/series/data/config"));
        }
        Ok(())
    }
}

pub fn jobs() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

/// The lines that say what went wrong first.
fn first_errors(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    let found = lines
        .iter()
        .position(|line| line.contains("error") || line.contains("Error "));
    match found {
        Some(i) => lines[i..lines.len().min(i + 12)].join("\n"),
        None => run::tail(log),
    }
}

pub(super) fn key(toolchain: &Toolchain, source: &Source, driver: Driver, lane: Lane) -> String {
    let config = kconfig::wishes(driver, lane);
    let flavour = flavour(driver, lane);
    short_hash(format!("{} {flavour} {} {config}", source.tree, toolchain.id).as_bytes())
}

fn flavour(driver: Driver, lane: Lane) -> String {
    format!("{}-{}", driver_name(driver), lane.name())
}

fn kept(ctx: &Context, key: &str, runs_kunit: bool) -> Result<Option<Kernel>> {
    let dir = ctx.cache.path(format!("kernel/{key}"));
    let image = dir.join("bzImage");
    if !image.exists() {
        return Ok(None);
    }
    let warnings = dir.join("warnings");
    let warnings = fs::read_to_string(&warnings).at(&warnings)?;
    Ok(Some(Kernel {
        image,
        key: key.to_owned(),
        runs_kunit,
        warnings: warnings.lines().map(str::to_owned).collect(),
    }))
}

fn keep(ctx: &Context, key: String, runs_kunit: bool, built: &Built) -> Result<Kernel> {
    let log = fs::read(&built.log).at(&built.log)?;
    let warnings = warnings(&String::from_utf8_lossy(&log));
    let parent = ctx.cache.dir("kernel")?;
    let part = tempfile::tempdir_in(&parent).at(&parent)?;
    let from = built.objects.join("arch/x86/boot/bzImage");
    fs::copy(&from, part.path().join("bzImage")).at(&from)?;
    let symbols = built.objects.join("System.map");
    fs::copy(&symbols, part.path().join("System.map")).at(&symbols)?;
    let lines: String = warnings.iter().map(|w| format!("{w}\n")).collect();
    fs::write(part.path().join("warnings"), lines).at(part.path())?;
    let dir = parent.join(&key);
    fs::rename(part.keep(), &dir).at(&dir)?;
    Ok(Kernel {
        image: dir.join("bzImage"),
        key,
        runs_kunit,
        warnings,
    })
}

/// The warnings of a build as "file: text", without line numbers: those move with every patch.
fn warnings(log: &str) -> BTreeSet<String> {
    log.lines()
        .filter(|line| line.contains("warning:"))
        .map(|line| {
            let (place, text) = line.split_once("warning:").expect("it was just found");
            let file = place.trim_end().split(':').next().unwrap_or("");
            format!("{}: {}", file.trim_start_matches("/src/"), text.trim())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_have_no_line_numbers() {
        let log = "  CC mm/gup.o\n/src/mm/gup.c:12:3: warning: unused variable 'x'\n\
                   mm/gup.c:99:1: warning: unused variable 'x'\nvmlinux.o: warning: objtool: f() falls through\n";
        let found: Vec<String> = warnings(log).into_iter().collect();
        assert_eq!(
            found,
            [
                "mm/gup.c: unused variable 'x'",
                "vmlinux.o: objtool: f() falls through"
            ]
        );
    }

    #[test]
    fn objects_of_another_clone_are_not_used() {
        let cache = tempfile::tempdir().unwrap();
        let objects = cache.path().join("c-primary");
        let stale = objects.join("mm/gup.o");
        let build = |clone: &str| {
            fs::create_dir_all(stale.parent().unwrap()).unwrap();
            fs::write(&stale, "").unwrap();
            claim(&objects, Path::new(clone)).unwrap();
            stale.exists()
        };
        assert!(!build("/a"));
        assert!(build("/a"));
        assert!(!build("/b"));
        assert!(!build("/a"));
    }

    #[test]
    fn the_first_error_is_shown() {
        let log = "one\nmm/x.c:1:1: error: first\nmake: *** [x] Error 1\n";
        assert!(first_errors(log).starts_with("mm/x.c:1:1: error: first"));
        assert_eq!(first_errors("a\nb\n"), "a\nb");
    }
}
