// SPDX-License-Identifier: GPL-2.0
//! The guest that counts: its program, its initramfs, its run under `-icount`.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::context::{Context, short_hash};
use crate::error::{At, Error, Result};
use crate::kernel::accel::Accel;
use crate::kernel::arch::Machine;
use crate::kernel::build::Kernel;
use crate::kernel::guest;
use crate::kernel::qemu::{self, End, Guest, Ran};
use crate::progress;
use crate::run;
use crate::toolchain::Toolchain;

const PROGRAM: &str = include_str!("../../data/bench/bench.c");

/// A guest that counts one buffer takes a minute or two on an idle machine.
const TIMEOUT: Duration = Duration::from_secs(1800);

/// Up to so many MiB, a guest has the same memory whatever it counts.
pub const SMALL: u32 = 512;

/// What one guest is to do.
pub struct Job<'a> {
    /// "tip+rust".
    pub kernel_name: &'a str,
    pub kernel: &'a Kernel,
    pub buffer: &'a str,
    pub sizes: &'a [u32],
    /// This operation only.
    pub only: Option<&'a str>,
    /// As QEMU takes it after -plugin.
    pub plugin: Option<&'a str>,
    pub what: What,
}

/// What the guest measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    Instructions,
    /// The longest time without interrupts or preemption, in instructions.
    Latency,
    /// Ticks of a clock, under KVM.
    Time,
}

impl Job<'_> {
    /// Where the guest's logs are.
    pub fn logs(&self, ctx: &Context) -> Result<PathBuf> {
        let purpose = if self.plugin.is_some() {
            "profile"
        } else {
            "bench"
        };
        ctx.cache.dir(format!(
            "log/{purpose}/{}-{}",
            self.kernel_name, self.buffer
        ))
    }

    /// The kernel gives what it does not know to the program, as its environment.
    fn append(&self) -> String {
        let sizes: Vec<String> = self.sizes.iter().map(u32::to_string).collect();
        let mut text = format!(
            "bench_buffer={} bench_sizes={}",
            self.buffer,
            sizes.join(",")
        );
        if let Some(only) = self.only {
            text += &format!(" bench_only={only}");
        }
        if self.what == What::Latency {
            text += " bench_latency=1";
        }
        if self.buffer == "hugetlb-1g" {
            // Later, memory has no room for them any more.
            text += &format!(" hugepagesz=1G hugepages={}", self.largest() / 1024);
        }
        text
    }

    fn largest(&self) -> u32 {
        self.sizes.iter().max().copied().unwrap_or(0)
    }

    /// The file, huge pages reserved for it, what the C driver needs at 16 bytes a page, and the kernel.
    ///
    /// The same for all small sizes, so that what a size costs does not depend on the others.
    fn memory(&self) -> String {
        format!("{}M", 2 * self.largest().max(SMALL) + 1024)
    }

    /// Runs the guest and returns what it said.
    pub fn run(&self, ctx: &Context, toolchain: &Toolchain) -> Result<String> {
        let program = program(ctx, toolchain)?;
        let machine = self.kernel.machine()?;
        let initrd = initramfs(ctx, toolchain, machine, &program)?;
        let logs = self.logs(ctx)?;
        let step = progress::step(format_args!("{} on {}", self.buffer, self.kernel_name));
        let ran = Guest {
            machine,
            image: &self.kernel.image,
            initrd: &initrd,
            append: &self.append(),
            memory: &self.memory(),
            accel: match self.what {
                What::Time => Accel::Kvm,
                What::Instructions | What::Latency => Accel::Tcg,
            },
            icount: self.what != What::Time,
            timeout: TIMEOUT,
            logs: &logs,
            interactive: false,
            plugin: self.plugin,
        }
        .run(toolchain)?;
        finished(self, &ran)?;
        step.done();
        Ok(ran.results)
    }
}

fn finished(job: &Job<'_>, ran: &Ran) -> Result<()> {
    if ran.end == End::PowerOff {
        return Ok(());
    }
    Err(Error::finding(
        format!("bench of {} on {}", job.buffer, job.kernel_name),
        format!("the guest did not power off ({:?})", ran.end),
    )
    .detail(qemu::last_words(&ran.console))
    .mend(format!("read {}", ran.console_log.display())))
}

/// The program, built static.
pub fn program(ctx: &Context, toolchain: &Toolchain) -> Result<PathBuf> {
    let flags = ["-O2", "-static", "-Wall", "-Wextra", "-Werror"];
    compile(ctx, toolchain, "init", PROGRAM, &flags)
}

/// What gcc makes of one source file; kept by content.
pub fn compile(
    ctx: &Context,
    toolchain: &Toolchain,
    name: &str,
    source: &str,
    flags: &[&str],
) -> Result<PathBuf> {
    let key = short_hash(format!("{} {flags:?} {source}", toolchain.id).as_bytes());
    let dir = ctx.cache.dir(format!("bench/{key}"))?;
    let finished = dir.join(name);
    if finished.exists() {
        return Ok(finished);
    }
    let file = dir.join("source.c");
    fs::write(&file, source).at(&file)?;
    let mut command = toolchain.command(&[(&dir, "/out")], "gcc");
    command
        .args(flags)
        .args(["-o", "/out/new", "/out/source.c"]);
    run::logged(&mut command, "gcc", &ctx.cache.path("log/bench-gcc.log"))?;
    fs::rename(dir.join("new"), &finished).at(&finished)?;
    Ok(finished)
}

fn initramfs(
    ctx: &Context,
    toolchain: &Toolchain,
    machine: &Machine,
    program: &Path,
) -> Result<PathBuf> {
    let key = short_hash(format!("bench {} {PROGRAM} {}", toolchain.id, guest::HOW).as_bytes());
    guest::packed(ctx, toolchain, machine, &key, &[], |guest| {
        // In the place of the script that runs tests.
        let init = guest.join("init");
        fs::copy(program, &init).at(&init)?;
        Ok(())
    })
}
