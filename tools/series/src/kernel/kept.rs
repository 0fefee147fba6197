// SPDX-License-Identifier: GPL-2.0
//! What guests said whose every verdict was good, kept by what went into them: the same kernel, the same programs and the
//! same machine need not be booted again.
//!
//! Output is kept and not verdicts: those are made from it anew, by the code and the expectations of today.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::boot::Run;
use super::build::Kernel;
use super::qemu::{Guest, Ran};
use crate::cache;
use crate::clock;
use crate::context::{Context, hex, short_hash};
use crate::error::{At, Result};

#[derive(Debug, Serialize, Deserialize)]
pub struct Kept {
    /// When the guest was booted, in seconds since 1970.
    pub date: u64,
    pub seconds: f64,
    pub ran: Ran,
}

/// Stands for everything that a guest depends on: sources, configuration and tools of the kernel, the bytes of its
/// initramfs with the programs and the list of what is run, and the machine.
pub fn key(kernel: &Kernel, guest: &Guest) -> Result<String> {
    let initrd = fs::read(guest.initrd).at(guest.initrd)?;
    let machine = guest.arguments().join(" ");
    let parts = format!("{} {} {machine}", kernel.key, hex(&Sha256::digest(initrd)));
    Ok(short_hash(parts.as_bytes()))
}

/// As it is said wherever a verdict is not of today.
pub fn said(date: u64) -> String {
    format!(
        "as on {} UTC with the same kernel, tests and machine",
        clock::date(date)
    )
}

/// Where kept runs are.
pub fn folder(ctx: &Context) -> Result<PathBuf> {
    ctx.cache.dir("guest-run")
}

fn path(folder: &Path, key: &str) -> PathBuf {
    folder.join(format!("{key}.json"))
}

/// What was kept under this key; nothing, if it cannot be read.
pub fn find(folder: &Path, key: &str) -> Option<Kept> {
    let bytes = fs::read(path(folder, key)).ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// A run that passed in everything is kept, one that did not is booted again next time.
pub fn settle(folder: &Path, run: &Run, passed: bool) -> Result<()> {
    if !passed {
        return forget(folder, run);
    }
    // Its date is that of the boot, however often it is used.
    if run.kept.is_some() {
        return Ok(());
    }
    let kept = Kept {
        date: clock::now(),
        seconds: run.time.as_secs_f64(),
        ran: run.ran.clone(),
    };
    let text = serde_json::to_string(&kept).expect("plain data");
    cache::write_whole(&path(folder, &run.key), text.as_bytes())
}

/// A run that is not relied upon, whether it was kept or not, is booted again next time.
pub fn forget(folder: &Path, run: &Run) -> Result<()> {
    let path = path(folder, &run.key);
    match fs::remove_file(&path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e).at(&path),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use super::super::accel::Accel;
    use super::super::arch::Arch;
    use super::super::ktap::Verdict;
    use super::*;

    fn run() -> Run {
        Run::of_cases("tip+c", "a", &[("one", Verdict::Pass)])
    }

    #[test]
    fn only_what_passed_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let run = run();
        settle(dir.path(), &run, false).unwrap();
        assert!(find(dir.path(), &run.key).is_none());
        settle(dir.path(), &run, true).unwrap();
        let kept = find(dir.path(), &run.key).unwrap();
        assert_eq!(kept.ran, run.ran);
        assert!(find(dir.path(), "other").is_none());
        // What was kept and is in doubt, or no longer passes, is booted next time.
        forget(dir.path(), &run).unwrap();
        forget(dir.path(), &run).unwrap();
        assert!(find(dir.path(), &run.key).is_none());
        settle(dir.path(), &run, true).unwrap();
        settle(dir.path(), &run, false).unwrap();
        assert!(find(dir.path(), &run.key).is_none());
    }

    #[test]
    fn a_kept_run_stays_as_old_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let mut run = run();
        run.kept = Some(1);
        settle(dir.path(), &run, true).unwrap();
        assert!(find(dir.path(), &run.key).is_none(), "written anew");
        assert!(said(1).starts_with("as on 1970-01-01 00:00:01 UTC"));
    }

    #[test]
    fn half_a_file_is_as_good_as_none() {
        let dir = tempfile::tempdir().unwrap();
        let run = run();
        settle(dir.path(), &run, true).unwrap();
        let path = path(dir.path(), &run.key);
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        assert!(find(dir.path(), &run.key).is_none());
    }

    #[test]
    fn everything_that_goes_into_a_guest_is_in_its_key() {
        let dir = tempfile::tempdir().unwrap();
        let initrd = dir.path().join("initramfs");
        let key_of = |sources: &str, programs: &str, append, memory, accel| {
            fs::write(&initrd, programs).unwrap();
            let kernel = Kernel {
                image: "/k/bzImage".into(),
                arch: Arch::native(),
                key: sources.to_owned(),
                runs_kunit: false,
                warnings: BTreeSet::new(),
            };
            let guest = Guest {
                machine: kernel.machine().unwrap(),
                image: &kernel.image,
                initrd: &initrd,
                append,
                memory,
                accel,
                icount: false,
                timeout: Duration::from_secs(1),
                logs: dir.path(),
                interactive: false,
                plugin: None,
            };
            key(&kernel, &guest).unwrap()
        };
        let keys = [
            key_of("tree", "tests", "", "3G", Accel::Tcg),
            key_of("other", "tests", "", "3G", Accel::Tcg),
            key_of("tree", "other", "", "3G", Accel::Tcg),
            key_of("tree", "tests", "cma=1G", "3G", Accel::Tcg),
            key_of("tree", "tests", "", "6G", Accel::Tcg),
            key_of("tree", "tests", "", "3G", Accel::Kvm),
        ];
        assert_eq!(BTreeSet::from(keys.clone()).len(), keys.len(), "{keys:?}");
        assert_eq!(keys[0], key_of("tree", "tests", "", "3G", Accel::Tcg));
    }
}
