// SPDX-License-Identifier: GPL-2.0
//! Which accelerator works here. A device that opens proves nothing: a kernel is booted, and given little time.

use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::build::Kernel;
use super::guest;
use super::qemu::Guest;
use crate::cache;
use crate::context::{Context, short_hash};
use crate::error::Result;
use crate::progress;
use crate::toolchain::Toolchain;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accel {
    Kvm,
    Tcg,
}

/// A boot to power-off takes a second or two under KVM where it works.
const BOUND: Duration = Duration::from_secs(20);

/// The accelerator for this kernel on this machine, said with its reason. Kept until the machine is booted again.
pub fn choose(ctx: &Context, toolchain: &Toolchain, kernel: &Kernel) -> Result<Accel> {
    let machine = kernel.machine()?;
    if !machine.native {
        progress::note(format_args!("accelerator: TCG, for {}", machine.qemu));
        return Ok(Accel::Tcg);
    }
    let file = kept(ctx, toolchain);
    let reason = match fs::read_to_string(&file) {
        Ok(reason) => reason,
        Err(_) => {
            let reason = probe(ctx, toolchain, kernel)?;
            ctx.cache.dir("accel")?;
            cache::write_whole(&file, reason.as_bytes())?;
            reason
        }
    };
    progress::note(format_args!("accelerator: {reason}"));
    Ok(if reason.starts_with("KVM") {
        Accel::Kvm
    } else {
        Accel::Tcg
    })
}

/// What is known of it before a kernel is built.
pub fn known(ctx: &Context, toolchain: Option<&Toolchain>) -> String {
    let kept = toolchain.and_then(|tools| fs::read_to_string(kept(ctx, tools)).ok());
    kept.unwrap_or_else(|| untried(File::options().read(true).write(true).open("/dev/kvm")))
}

fn untried(device: io::Result<File>) -> String {
    match device {
        Ok(_) => format!(
            "not tried yet: before the first guest, a kernel is booted under KVM, for {} s at most",
            BOUND.as_secs()
        ),
        Err(e) => format!("TCG: /dev/kvm does not open ({e})"),
    }
}

/// Where the reason is, until the machine is booted again.
fn kept(ctx: &Context, toolchain: &Toolchain) -> PathBuf {
    let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let key = short_hash(format!("{boot_id} {}", toolchain.id).as_bytes());
    ctx.cache.path("accel").join(key)
}

fn probe(ctx: &Context, toolchain: &Toolchain, kernel: &Kernel) -> Result<String> {
    let logs = ctx.cache.dir("log/accel")?;
    let machine = kernel.machine()?;
    let initrd = guest::empty(ctx, toolchain, machine)?;
    let ran = Guest {
        machine,
        image: &kernel.image,
        initrd: &initrd,
        append: "",
        memory: "512M",
        accel: Accel::Kvm,
        icount: false,
        timeout: BOUND,
        logs: &logs,
        interactive: false,
        plugin: None,
    }
    .run(toolchain);
    Ok(match ran {
        Ok(ran) if ran.is_complete() => "KVM: a kernel boots and powers off".to_owned(),
        Ok(ran) => format!(
            "TCG: under KVM a kernel did not get to its end within {} s ({:?})",
            BOUND.as_secs(),
            ran.end
        ),
        Err(e) => format!("TCG: QEMU does not start with KVM ({})", e.summary()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_opens_proves_nothing() {
        assert!(untried(File::open("/dev/null")).starts_with("not tried yet"));
        let missing = untried(File::open("/dev/null/kvm"));
        assert!(missing.starts_with("TCG: /dev/kvm does not open (Not a directory"));
    }
}
