// SPDX-License-Identifier: GPL-2.0
//! A Debian in the guest's memory, for programs that nobody here wrote: the archive of its root goes behind the
//! initramfs, as the kernel unpacks one after the other.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::context::{Context, short_hash};
use crate::error::{At, Result};
use crate::progress;
use crate::run;
use crate::toolchain::{self, Toolchain};

/// Packs the root as a folder of the guest.
const PACK: &str = "cd /pack && find debian -xdev | LC_ALL=C sort | \
    cpio --quiet --reproducible -o -H newc -R 0:0 | zstd -q -3 > /out/root";

/// The root with Debian's programs, made and packed once for each set of their versions.
pub fn archive(ctx: &Context, toolchain: &Toolchain) -> Result<PathBuf> {
    let root = toolchain::programs(ctx)?;
    let manifest = root.join(toolchain::MANIFEST);
    let key = short_hash(&fs::read(&manifest).at(&manifest)?);
    let finished = ctx.cache.dir(format!("guest/{key}"))?.join("root");
    if finished.exists() {
        return Ok(finished);
    }
    let step = progress::step("packing the programs' root");
    let temporary = tempfile::tempdir().at("temporary folder")?;
    let out = temporary.path();
    let log = ctx.cache.path("log/initramfs.log");
    let mut command = toolchain.command(&[(&root, "/pack/debian"), (out, "/out")], "sh");
    command.args(["-c", PACK]);
    run::logged(&mut command, "initramfs", &log)?;
    fs::rename(out.join("root"), &finished).at(&finished)?;
    step.done();
    Ok(finished)
}

/// The initramfs with this archive behind it.
pub fn behind(initramfs: &Path, archive: &Path) -> Result<PathBuf> {
    let finished = initramfs.with_file_name("initramfs-with-root");
    if finished.exists() {
        return Ok(finished);
    }
    let mut both = tempfile::NamedTempFile::new().at("temporary file")?;
    for part in [initramfs, archive] {
        io::copy(&mut File::open(part).at(part)?, &mut both).at(both.path())?;
    }
    fs::rename(both.into_temp_path(), &finished).at(&finished)?;
    Ok(finished)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_goes_behind_the_initramfs() {
        let dir = tempfile::tempdir().unwrap();
        let (initramfs, archive) = (dir.path().join("initramfs"), dir.path().join("root"));
        fs::write(&initramfs, "first").unwrap();
        fs::write(&archive, "second").unwrap();
        let both = behind(&initramfs, &archive).unwrap();
        assert_eq!(fs::read(&both).unwrap(), b"firstsecond");
        assert_eq!(fs::read(&initramfs).unwrap(), b"first");
    }
}
