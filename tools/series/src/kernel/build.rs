// SPDX-License-Identifier: GPL-2.0
//! Builds kernels in the toolchain root, in O= folders of lanes, and keeps images by content.
//!
//! Sources are always at /src and objects at /obj, so that the same sources give the same bytes on every machine
//! and ccache serves every clone.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::SystemTime;

use super::arch::{Arch, Machine};
use super::kconfig;
use super::lane::{Lane, PRIMARY};
use super::warnings;
use crate::base;
use crate::cli::Driver;
use crate::context::{Context, short_hash};
use crate::error::{At, Error, Kind, Result};
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
    /// Stands for those files of the tree that kernels are built from.
    built: String,
    /// One of many that are built one behind the other.
    step: bool,
}

impl Source {
    pub fn new(git: &Git, name: &str, commit: &str, tree: &str) -> Self {
        Source {
            name: name.to_owned(),
            commit: commit.to_owned(),
            tree: tree.to_owned(),
            // All of them, if git does not say.
            built: built(git, tree).unwrap_or_else(|_| tree.to_owned()),
            step: false,
        }
    }

    pub fn base(stack: &Stack) -> Self {
        let base = &stack.base;
        Self::new(&base.git(), "base", &base.commit, &base.tree)
    }

    pub fn tip(stack: &Stack) -> Self {
        Self::new(&stack.base.git(), "tip", &stack.tip, &stack.tip_tree)
    }

    /// The kernel after patch `n`, counted from 1; there is such a patch.
    pub fn patch(stack: &Stack, n: usize) -> Self {
        let patch = &stack.commits[n - 1];
        let name = format!("patch {n}: {}", patch.subject);
        Source {
            step: true,
            ..Self::new(&stack.base.git(), &name, &patch.id, &patch.tree)
        }
    }
}

/// What no kernel is built from.
const NEVER_BUILT: [&str; 3] = ["Documentation", "MAINTAINERS", "tools/testing"];

/// Whether a kernel can be built from this file.
pub fn is_built(path: &str) -> bool {
    let lies_in = |place: &&str| {
        path.strip_prefix(*place)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    !NEVER_BUILT.iter().any(lies_in)
}

/// Whether a kernel with this driver can be: where there is no Rust, not from what is written in it.
pub(super) fn goes_into_a_kernel(path: &str, driver: Driver) -> bool {
    let is_rust = path.starts_with("rust/") || path.ends_with(".rs");
    is_built(path) && (driver == Driver::Rust || !is_rust)
}

/// Stands for all files of a tree that a kernel can be built from.
fn built(git: &Git, tree: &str) -> Result<String> {
    let lines = git.run(&["ls-tree", tree])? + "\n" + &git.run(&["ls-tree", tree, "tools/"])?;
    let built: Vec<&str> = lines
        .lines()
        .filter(|line| {
            let path = line.split_once('\t').map_or("", |(_, path)| path);
            path != "tools" && is_built(path)
        })
        .collect();
    Ok(short_hash(built.join("\n").as_bytes()))
}

/// A kernel that was built.
#[derive(Debug, Clone)]
pub struct Kernel {
    pub image: PathBuf,
    pub arch: &'static Arch,
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

/// Where most depends on headers that the stack changes, and on the kernel crate.
const DEPENDENT: [&str; 3] = ["drivers/android/", "drivers/dma-buf/", "drivers/iommu/"];

/// The warnings of the objects that the stack touches, built now unless that was done before: what is built at a patch
/// inside of a part.
pub fn objects(
    ctx: &Context,
    toolchain: &Toolchain,
    stack: &Stack,
    source: &Source,
    driver: Driver,
    lane: &Lane,
) -> Result<BTreeSet<String>> {
    let touched = touched(stack, source, driver, lane)?;
    let from = match lane.name == PRIMARY || source.step {
        true => From::LastBuild,
        false => From::Base,
    };
    complaints(ctx, toolchain, source, driver, lane, &touched, from)
}

/// The folders of everything that is compiled and that a patch of the stack changes, as far as it is there, and of what
/// depends on it.
fn touched(stack: &Stack, source: &Source, driver: Driver, lane: &Lane) -> Result<Vec<String>> {
    let git = stack.base.git();
    let patches = format!("{}..{}", stack.base.commit, stack.tip);
    let changed = git.run(&["log", "--format=", "--name-only", "--no-renames", &patches])?;
    let mut files: Vec<&str> = changed
        .lines()
        .filter(|path| is_compiled(path) && goes_into_a_kernel(path, driver))
        .collect();
    files.sort_unstable();
    files.dedup();
    let rules: Vec<String> = files.iter().flat_map(|path| makefiles(path)).collect();
    let mut asked = vec!["ls-tree", "-r", "--full-tree", "--name-only"];
    asked.extend([source.commit.as_str(), "--"]);
    asked.extend(files.iter().copied());
    asked.extend(rules.iter().map(String::as_str));
    let kvm = format!("{}Makefile", kvm_folder(lane.arch));
    asked.push(&kvm);
    let there = git.run(&asked)?;
    let there: BTreeSet<&str> = there.lines().collect();

    let mut folders: BTreeSet<String> = DEPENDENT.map(str::to_owned).into();
    for path in files.into_iter().filter(|path| there.contains(path)) {
        folders.extend(folder_of(path, &there, lane.arch)?);
    }
    let lies_in = |folder: &str, other: &str| folder != other && folder.starts_with(other);
    let mut outermost: Vec<String> = folders.iter().cloned().collect();
    outermost.retain(|folder| !folders.iter().any(|other| lies_in(folder, other)));
    Ok(outermost)
}

/// Whether a compiler or an assembler makes an object for the kernel of it.
fn is_compiled(path: &str) -> bool {
    let is_source = [".c", ".rs", ".S"].iter().any(|end| path.ends_with(end));
    is_source && !path.starts_with("tools/")
}

/// The makefiles that can have the rule for a file, from its folder upwards.
fn makefiles(path: &str) -> impl Iterator<Item = String> {
    let folders = Path::new(path).ancestors().skip(1);
    let folders = folders.filter(|folder| !folder.as_os_str().is_empty());
    folders.flat_map(|folder| {
        ["Makefile", "Kbuild"].map(|name| folder.join(name).display().to_string())
    })
}

/// From where the files of virt/kvm/ are compiled: virt/ has other rules only.
fn kvm_folder(arch: &Arch) -> String {
    format!("arch/{}/kvm/", arch.sources())
}

/// The folder that make has to be asked for, so that this file is compiled; `there` are files of its tree. None for
/// KVM where the architecture has none.
fn folder_of(path: &str, there: &BTreeSet<&str>, arch: &Arch) -> Result<Option<String>> {
    if path.starts_with("virt/kvm/") {
        let folder = kvm_folder(arch);
        let is_there = there.contains(format!("{folder}Makefile").as_str());
        return Ok(is_there.then_some(folder));
    }
    let found = makefiles(path).find(|rules| there.contains(rules.as_str()));
    let folder = found.and_then(|rules| Some(format!("{}/", rules.rsplit_once('/')?.0)));
    folder.map(Some).ok_or_else(|| {
        Error::finding(
            path,
            "lies in no folder with a Makefile: nothing compiles it",
        )
        .mend("see where kbuild compiles it from, and say so in folder_of() of build.rs")
    })
}

/// The warnings of these objects of the base, each made from one file.
pub fn of_base(
    ctx: &Context,
    toolchain: &Toolchain,
    base: &Source,
    driver: Driver,
    lane: &Lane,
    objects: &[String],
) -> Result<BTreeSet<String>> {
    let from = From::Targets;
    complaints(ctx, toolchain, base, driver, lane, objects, from)
}

/// The warnings of these objects, built now unless that was done before.
fn complaints(
    ctx: &Context,
    toolchain: &Toolchain,
    source: &Source,
    driver: Driver,
    lane: &Lane,
    objects: &[String],
    from: From,
) -> Result<BTreeSet<String>> {
    let kernel = key(toolchain, source, driver, lane);
    let kept = ctx.cache.dir("objects")?.join(key_of(&kernel, objects));
    if let Ok(text) = fs::read_to_string(&kept) {
        return Ok(text.lines().map(str::to_owned).collect());
    }
    let _lock = ctx.cache.lock("build")?;
    let targets: Vec<&str> = objects.iter().map(String::as_str).collect();
    let built = run_make(ctx, toolchain, source, driver, lane, &targets, from)?;
    let found = built.warnings()?;
    let lines: String = found.iter().map(|w| format!("{w}\n")).collect();
    crate::cache::write_whole(&kept, lines.as_bytes())?;
    Ok(found)
}

/// Stands for these objects of a kernel.
fn key_of(kernel: &str, objects: &[String]) -> String {
    short_hash(format!("{kernel} {}", objects.join(" ")).as_bytes())
}

/// The kernel, built now unless it is in the cache.
pub fn kernel(
    ctx: &Context,
    toolchain: &Toolchain,
    source: &Source,
    driver: Driver,
    lane: &Lane,
) -> Result<Kernel> {
    let key = key(toolchain, source, driver, lane);
    let kernel = Kernel {
        image: ctx
            .cache
            .path(format!("kernel/{key}/{}", lane.arch.image_name())),
        arch: lane.arch,
        key,
        runs_kunit: kconfig::runs_kunit(driver, lane),
        warnings: BTreeSet::new(),
    };
    if kernel.image.exists() {
        return kernel.kept();
    }
    let _lock = ctx.cache.lock("build")?;
    // Another process may have built it while we waited.
    if kernel.image.exists() {
        return kernel.kept();
    }
    let targets = lane.targets(driver);
    let from = match lane.name == PRIMARY {
        true => From::LastBuild,
        false => From::Base,
    };
    let built = run_make(ctx, toolchain, source, driver, lane, &targets, from)?;
    kernel.keep(ctx, &built)
}

/// Where a build left what it made.
pub(super) struct Built {
    pub(super) objects: PathBuf,
    log: PathBuf,
}

impl Built {
    fn warnings(&self) -> Result<BTreeSet<String>> {
        let log = fs::read(&self.log).at(&self.log)?;
        Ok(warnings::find(&String::from_utf8_lossy(&log)))
    }
}

/// How all that the tools complain about is seen, though make is silent about what it does not compile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum From {
    /// What the last build complained about is compiled again, and what changed since: for one patch behind the other.
    LastBuild,
    /// What differs from the base is compiled, if the base, or objects of it, were built last; or else everything.
    Base,
    /// The targets are compiled, and nothing is left that the last build complained about: for objects of the base.
    ///
    /// Behind this the only objects in the folder that were complained about are the base's.
    Targets,
}

/// The lock of builds is held.
#[allow(clippy::too_many_arguments)]
pub(super) fn run_make(
    ctx: &Context,
    toolchain: &Toolchain,
    source: &Source,
    driver: Driver,
    lane: &Lane,
    targets: &[&str],
    from: From,
) -> Result<Built> {
    let folder = folder(driver, lane);
    ctx.cache.need_free(6, "building a kernel")?;

    let tree = worktree::at(ctx, &source.commit)?;
    let fragment = kconfig::fragment(driver, lane, &tree)?;
    let objects = ctx.cache.dir(format!("build/{folder}"))?;
    let log = ctx.cache.path(format!("log/build-{folder}.log"));
    fs::create_dir_all(log.parent().expect("the log has a folder")).at(&log)?;
    match from {
        From::LastBuild => drop_complained(&objects, &log, lane)?,
        From::Targets => {
            drop_complained(&objects, &log, lane)?;
            delete(&objects, targets)?;
        }
        From::Base if lane.is_compared() => {
            let base = base::ensure(ctx)?;
            let base = Source::new(&base.git(), "base", &base.commit, &base.tree);
            start(
                &objects,
                &key(toolchain, source, driver, lane),
                &key(toolchain, &base, driver, lane),
            )?;
        }
        From::Base if !objects.join(ENDED).exists() => empty(&objects)?,
        From::Base => (),
    }
    claim(&objects, &tree)?;
    unmark(&objects)?;
    fs::write(&log, "").at(&log)?;

    let (what, how) = (
        targets.join(" "),
        format!("({}, {} lane)", driver_name(driver), lane.name),
    );
    let step = progress::step_of(
        format_args!("building {what} {how}"),
        format_args!("building {what} of {} {how}", source.name),
    );
    let make = Make {
        toolchain,
        variables: lane.make_variables(),
        tree: &tree,
        objects: &objects,
        log: &log,
    };
    make.configure(&fragment)?;
    make.run(targets)?;
    checked(lane, &log)?;
    same_sources(&tree, source)?;
    let mark = objects.join(BUILT);
    fs::write(&mark, key(toolchain, source, driver, lane)).at(&mark)?;
    step.done();

    Ok(Built { objects, log })
}

/// Empties a folder of objects that were made from another clone's sources, or at a time that is yet to come.
///
/// make goes by the time of a file: an object of the other clone can be newer than the source here that it is not of, and
/// so can every object after the clock was set back.
pub(super) fn claim(objects: &Path, tree: &Path) -> Result<()> {
    let mark = objects.join("series.sources");
    let tree = tree.as_os_str().as_encoded_bytes();
    let is_ours = fs::read(&mark).is_ok_and(|made_from| made_from == tree);
    if !is_ours || is_to_come(&mark) || is_to_come(&objects.join(BUILT)) {
        empty(objects)?;
    }
    // Each time: its date says when something was built here last.
    fs::write(&mark, tree).at(&mark)
}

/// Whether a mark was written at a time that is yet to come; that is said, because nothing in its folder is used.
fn is_to_come(mark: &Path) -> bool {
    let written = fs::metadata(mark).and_then(|meta| meta.modified());
    let is_to_come = written.is_ok_and(|time| time > SystemTime::now());
    if is_to_come {
        progress::note(format_args!(
            "{}: the clock was set back since; all is built again",
            mark.display()
        ));
    }
    is_to_come
}

/// Deletes what the last build in this folder complained about, whether it went well or not: it is compiled again, and
/// complained about again, if it still has to be. What a build left that was killed is deleted altogether.
///
/// Patches are built one behind the other in one folder, and make is silent about what it does not compile.
fn drop_complained(objects: &Path, log: &Path, lane: &Lane) -> Result<()> {
    let whole = objects.join(ENDED).exists().then(|| fs::read(log).ok());
    let complained = whole.flatten().and_then(|log| {
        let log = String::from_utf8_lossy(&log).into_owned();
        // What failed left no object; only sparse calls something an error that goes well.
        let said = |line| match lane.wants_sparse() || !str::contains(line, "error: ") {
            true => line,
            false => "",
        };
        let lines: Vec<&str> = log.lines().map(said).collect();
        let log = lines.join("\n");
        let linked = |warning: &String| {
            warning.starts_with("vmlinux.o: ") || warning.starts_with(": modpost: ")
        };
        let (linked, compiled) = warnings::find(&log)
            .into_iter()
            .partition::<BTreeSet<_>, _>(linked);
        let mut complained = warnings::complaining(objects, &log, &compiled)?;
        complained.extend((!linked.is_empty()).then(|| "vmlinux.o".to_owned()));
        Some(complained)
    });
    let Some(complained) = complained else {
        // Nobody knows.
        return empty(objects);
    };
    delete(objects, &complained)
}

/// Deletes these objects, so that they are compiled again.
fn delete(folder: &Path, objects: impl IntoIterator<Item = impl AsRef<Path>>) -> Result<()> {
    let mut objects = objects.into_iter();
    objects.try_for_each(|object| remove(&folder.join(object)))
}

fn empty(folder: &Path) -> Result<()> {
    fs::remove_dir_all(folder).at(folder)?;
    fs::create_dir_all(folder).at(folder)
}

/// In a folder of objects: the key of what was built there last, to its end.
const BUILT: &str = "series.built";

/// In a folder of objects: the last make there ended by itself, well or not. kbuild writes an object before it has it
/// checked: one that was killed between the two has left objects that make takes for good and nobody has checked.
const ENDED: &str = "series.ended";

/// Empties a folder of objects unless the base, or objects of it, were built there last and something else is built now.
///
/// make compiles what changed, and only what is compiled is complained about: all complaints of a kernel are seen when it
/// is built from nothing, and all that the base does not have when it is built right after the base.
fn start(objects: &Path, key: &str, base: &str) -> Result<()> {
    let mark = objects.join(BUILT);
    let holds_base =
        fs::read_to_string(&mark).is_ok_and(|built| built == base) && !is_to_come(&mark);
    if !holds_base || key == base {
        return empty(objects);
    }
    Ok(())
}

/// What is built from here on may not come to its end.
fn unmark(objects: &Path) -> Result<()> {
    remove(&objects.join(BUILT))
}

fn remove(file: &Path) -> Result<()> {
    match fs::remove_file(file) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e).at(file),
        _ => Ok(()),
    }
}

/// Asks unless the mark says that this question was answered last.
fn once(mark: &Path, question: &str, ask: impl FnOnce() -> Result<()>) -> Result<()> {
    if fs::read_to_string(mark).is_ok_and(|answered| answered == question) {
        return Ok(());
    }
    // The answer to the last one is lost, however this ends.
    remove(mark)?;
    ask()?;
    fs::write(mark, question).at(mark)
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

/// kbuild goes on without a checker that does not know all that the kernel's headers use: then nothing was checked.
fn checked(lane: &Lane, log: &Path) -> Result<()> {
    let text = fs::read(log).at(log)?;
    let text = String::from_utf8_lossy(&text);
    match text.lines().find(|line| line.contains(CHECKER_IS_OLD)) {
        Some(line) if lane.wants_sparse() => Err(Error::environment(
            format!("lane {}", lane.name),
            "sparse is missing, or too old for this kernel: nothing was checked",
        )
        .detail(line)
        .mend("a root with a newer sparse: root = \"latest\" in series.toml")),
        _ => Ok(()),
    }
}

const CHECKER_IS_OLD: &str = "is not available or not up to date";

struct Make<'a> {
    toolchain: &'a Toolchain,
    variables: Vec<String>,
    tree: &'a Path,
    objects: &'a Path,
    log: &'a Path,
}

impl Make<'_> {
    fn run(&self, arguments: &[&str]) -> Result<()> {
        let mut command = self
            .toolchain
            .command(&[(self.tree, "/src"), (self.objects, "/obj")], "make");
        command.args(["-s", "-C", "/src", "O=/obj"]);
        command.args(&self.variables);
        command.arg(format!("-j{}", jobs())).args(arguments);
        let ended = self.objects.join(ENDED);
        remove(&ended)?;
        let status = run::log_status(&mut command, self.log)?;
        // What is killed below the shell that starts it has another one.
        if matches!(status.code(), Some(0..=2)) {
            fs::write(&ended, "").at(&ended)?;
        }
        if status.success() {
            return Ok(());
        }
        let log = fs::read(self.log).at(self.log)?;
        let log = String::from_utf8_lossy(&log);
        Err(Error::new(
            blamed(&log),
            "kernel build",
            format!("make {} failed", arguments.join(" ")),
        )
        .detail(first_errors(&log))
        .mend(format!("read {}", self.log.display())))
    }

    /// Kconfig asks the compilers a lot, each time: it is not asked again while nothing that it goes by has changed.
    fn configure(&self, fragment: &str) -> Result<()> {
        let mark = self.objects.join("series.configured");
        once(&mark, &self.question(fragment)?, || self.ask(fragment))
    }

    /// All that the configuration depends on.
    fn question(&self, fragment: &str) -> Result<String> {
        let files = ["*Kconfig*", "scripts", "Makefile", "arch/*/Makefile"];
        let asked = [&["ls-files", "-s", "--"][..], &files].concat();
        let sources = Git::at(self.tree).run(&asked)?;
        let variables = self.variables.join(" ");
        let all = format!("{} {variables}\n{fragment}\n{sources}", self.toolchain.id);
        Ok(short_hash(all.as_bytes()))
    }

    fn ask(&self, fragment: &str) -> Result<()> {
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

/// What is to blame for a build that failed: the machine, if it ran out of disk or memory.
fn blamed(log: &str) -> Kind {
    let of_machine = [
        "No space left on device",
        "Cannot allocate memory",
        "unable to execute command: Killed",
        "Killed signal terminated program",
    ];
    match of_machine.iter().any(|sign| log.contains(sign)) {
        true => Kind::Environment,
        false => Kind::Finding,
    }
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

pub(super) fn key(toolchain: &Toolchain, source: &Source, driver: Driver, lane: &Lane) -> String {
    let config = kconfig::wishes(driver, lane);
    let flavour = flavour(driver, lane);
    let more = lane.key();
    short_hash(format!("{} {flavour} {} {config}{more}", source.built, toolchain.id).as_bytes())
}

fn flavour(driver: Driver, lane: &Lane) -> String {
    format!("{}-{}", driver_name(driver), lane.name)
}

/// Where it is built. One driver's kernel has nearly all objects of the other's: they share them, and kbuild knows what to
/// compile again; but for lanes where a build starts from nothing, or from the base's objects with the same driver.
fn folder(driver: Driver, lane: &Lane) -> String {
    match lane.is_compared() {
        true => flavour(driver, lane),
        false => lane.name.clone(),
    }
}

impl Kernel {
    /// What boots it.
    pub fn machine(&self) -> Result<&'static Machine> {
        self.arch.machine.ok_or_else(|| {
            Error::config(
                self.arch.name,
                "kernels of this architecture are not booted",
            )
            .mend("--lane primary")
        })
    }

    /// With the warnings that are kept beside it.
    fn kept(mut self) -> Result<Self> {
        let warnings = self.image.with_file_name("warnings");
        let lines = fs::read_to_string(&warnings).at(&warnings)?;
        self.warnings = lines.lines().map(str::to_owned).collect();
        Ok(self)
    }

    fn keep(mut self, ctx: &Context, built: &Built) -> Result<Self> {
        self.warnings = built.warnings()?;
        let parent = ctx.cache.dir("kernel")?;
        let part = tempfile::tempdir().at("temporary folder")?;
        let from = built.objects.join(self.arch.image);
        fs::copy(&from, part.path().join(self.arch.image_name())).at(&from)?;
        let symbols = built.objects.join("System.map");
        fs::copy(&symbols, part.path().join("System.map")).at(&symbols)?;
        let lines: String = self.warnings.iter().map(|w| format!("{w}\n")).collect();
        fs::write(part.path().join("warnings"), lines).at(part.path())?;
        let dir = parent.join(&self.key);
        fs::rename(part.keep(), &dir).at(&dir)?;
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_kernel_is_the_same_whatever_its_tests_and_documents_say() {
        let dir = tempfile::tempdir().unwrap();
        let git = Git::at(dir.path());
        git.run(&["init", "--quiet", "."]).unwrap();
        let files = [
            "mm/gup.c",
            "tools/objtool/check.c",
            "tools/testing/selftests/mm/pin_fd.c",
            "Documentation/mm/index.rst",
            "MAINTAINERS",
            "MAINTAINERS.c",
        ];
        let built_of = |changed: &str| {
            for file in files {
                let path = dir.path().join(file);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, if file == changed { "new" } else { "old" }).unwrap();
            }
            git.run(&["add", "-A"]).unwrap();
            built(&git, &git.run(&["write-tree"]).unwrap()).unwrap()
        };
        let before = built_of("");
        for file in files {
            assert_eq!(built_of(file) != before, is_built(file), "{file}");
        }
        assert_eq!(files.iter().filter(|file| is_built(file)).count(), 3);
    }

    #[test]
    fn a_file_is_compiled_from_the_next_folder_with_a_makefile() {
        let mut there: BTreeSet<&str> = [
            "rust/Makefile",
            "drivers/Makefile",
            "drivers/x/y/Kbuild",
            "arch/x86/kvm/Makefile",
        ]
        .into();
        let arch = Arch::native();
        for (path, folder) in [
            ("rust/kernel/mm/pin.rs", "rust/"),
            ("drivers/x/y/core.c", "drivers/x/y/"),
            ("drivers/z/core.c", "drivers/"),
            ("virt/kvm/guest_memfd.c", "arch/x86/kvm/"),
        ] {
            assert_eq!(
                folder_of(path, &there, arch).unwrap().as_deref(),
                Some(folder)
            );
        }
        there.remove("arch/x86/kvm/Makefile");
        let none = folder_of("virt/kvm/guest_memfd.c", &there, arch).unwrap();
        assert_eq!(none, None);
        let lost = folder_of("mm/gup.c", &there, arch).unwrap_err().to_string();
        assert!(lost.contains("mm/gup.c: lies in no folder"), "{lost}");
        for path in ["include/linux/mm.h", "mm/Kconfig", "tools/objtool/check.c"] {
            assert!(!is_compiled(path), "{path}");
        }
    }

    #[test]
    fn objects_of_another_clone_are_not_used() {
        let cache = tempfile::tempdir().unwrap();
        let objects = cache.path().join("primary");
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

    /// The clock is set back by a minute after a file was written.
    fn set_back(file: &Path) {
        let later = SystemTime::now() + Duration::from_secs(60);
        let file = fs::File::options().write(true).open(file).unwrap();
        file.set_modified(later).unwrap();
    }

    #[test]
    fn objects_of_a_time_that_is_yet_to_come_are_not_used() {
        let cache = tempfile::tempdir().unwrap();
        let objects = cache.path().join("primary");
        let object = objects.join("gup.o");
        for name in ["series.sources", BUILT] {
            fs::create_dir_all(&objects).unwrap();
            claim(&objects, Path::new("/a")).unwrap();
            fs::write(&object, "").unwrap();
            fs::write(objects.join(BUILT), "key").unwrap();
            claim(&objects, Path::new("/a")).unwrap();
            assert!(object.exists());
            set_back(&objects.join(name));
            claim(&objects, Path::new("/a")).unwrap();
            assert!(!object.exists(), "{name}");
        }
    }

    #[test]
    fn a_question_is_asked_again_after_another_one() {
        let dir = tempfile::tempdir().unwrap();
        let mark = dir.path().join("mark");
        let is_asked = |question: &str, answer: Result<()>| {
            let mut asked = false;
            let _ = once(&mark, question, || {
                asked = true;
                answer
            });
            asked
        };
        assert!(is_asked("c", Ok(())));
        assert!(!is_asked("c", Ok(())));
        assert!(is_asked("rust", Err(Error::finding("rust", "is dropped"))));
        assert!(is_asked("c", Ok(())), "what is left is not its answer");
    }

    #[test]
    fn what_was_complained_about_is_compiled_again() {
        let cache = tempfile::tempdir().unwrap();
        let objects = cache.path().join("primary");
        let log = cache.path().join("log");
        // The objects that are still there after a build with this log.
        let after = |said: Option<&str>| {
            fs::create_dir_all(objects.join("mm")).unwrap();
            for name in ["mm/a.o", "mm/b.o", "vmlinux.o", ENDED] {
                fs::write(objects.join(name), "").unwrap();
            }
            match said {
                Some(said) => fs::write(&log, said).unwrap(),
                None => fs::remove_file(&log).unwrap(),
            }
            drop_complained(&objects, &log, &Lane::plain(PRIMARY)).unwrap();
            ["mm/a.o", "mm/b.o", "vmlinux.o"].map(|name| objects.join(name).exists())
        };
        assert_eq!(after(Some("")), [true, true, true]);
        let included = "In file included from /src/mm/a.c:3:\ninclude/linux/mm.h:1:2: warning: x\n";
        for said in ["mm/a.c:1:2: warning: x\n", included] {
            assert_eq!(after(Some(said)), [false, true, true], "{said}");
        }
        for linked in [
            "vmlinux.o: warning: objtool: f+0x1a: x\n",
            "WARNING: modpost: vmlinux: x\n",
        ] {
            assert_eq!(after(Some(linked)), [true, true, false], "{linked}");
        }
        let failed =
            "mm/a.c:1:2: warning: x\nmm/c.c:1:1: error: y\nerror: z\n  --> rust/kernel/mm.rs:1:1\n";
        assert_eq!(after(Some(failed)), [false, true, true]);
        for all in [
            "include/linux/mm.h:1:2: warning: x\n",
            "warning: x\n  --> /src/rust/macros/lib.rs:1:1\n",
        ] {
            assert_eq!(after(Some(all)), [false; 3], "{all}");
        }
        assert_eq!(after(None), [false; 3], "nobody knows");
        assert_eq!(after(Some("")), [true; 3]);
        remove(&objects.join(ENDED)).unwrap();
        drop_complained(&objects, &log, &Lane::plain(PRIMARY)).unwrap();
        assert!(!objects.join("mm/a.o").exists(), "it was killed");
    }

    #[test]
    fn other_objects_are_kept_under_another_key() {
        let of = |objects: &[&str]| {
            let objects: Vec<String> = objects.iter().map(|&name| name.to_owned()).collect();
            key_of("kernel", &objects)
        };
        assert_ne!(of(&["mm/"]), of(&["mm/", "virt/"]));
    }

    #[test]
    fn a_full_disk_is_no_fault_of_a_patch() {
        let full = "/tmp/x.s: fatal error: error writing to y: No space left on device\n";
        assert_eq!(blamed(full), Kind::Environment);
        assert_eq!(blamed("mm/x.c:1:1: error: x\n"), Kind::Finding);
    }

    #[test]
    fn what_is_compared_is_built_from_nothing_or_right_after_the_base() {
        let cache = tempfile::tempdir().unwrap();
        let objects = cache.path().join("c-gcc");
        fs::create_dir_all(&objects).unwrap();
        let object = objects.join("mm.o");
        // Whether the objects of the build before are still there.
        let build = |key: &str, ends: bool| {
            start(&objects, key, "base").unwrap();
            unmark(&objects).unwrap();
            let there = object.exists();
            fs::write(&object, "").unwrap();
            if ends {
                fs::write(objects.join(BUILT), key).unwrap();
            }
            there
        };
        assert!(!build("base", true));
        assert!(build("tip", true), "right after the base");
        assert!(!build("tip2", true), "after another tip");
        assert!(!build("base", true));
        assert!(!build("base", true), "the base itself");
        assert!(build("tip", false));
        assert!(!build("tip", true), "after one that failed");
        assert!(!build("base", true));
        set_back(&objects.join(BUILT));
        assert!(!build("tip", true), "after a base of a time to come");
    }

    #[test]
    fn a_checker_that_kbuild_leaves_out_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let mut lane = Lane::plain("gcc");
        lane.make = vec!["W=1".to_owned(), "C=1".to_owned()];
        fs::write(&log, "mm/gup.c:1:2: warning: x\n").unwrap();
        assert!(checked(&lane, &log).is_ok());
        let said =
            "/src/Makefile:1311: C=1 specified, but sparse is not available or not up to date\n";
        fs::write(&log, said).unwrap();
        let error = checked(&lane, &log).unwrap_err().to_string();
        assert!(error.contains("sparse is missing"), "{error}");
        lane.make.clear();
        assert!(checked(&lane, &log).is_ok());
    }

    #[test]
    fn the_first_error_is_shown() {
        let log = "one\nmm/x.c:1:1: error: first\nmake: *** [x] Error 1\n";
        assert!(first_errors(log).starts_with("mm/x.c:1:1: error: first"));
        assert_eq!(first_errors("a\nb\n"), "a\nb");
    }
}
