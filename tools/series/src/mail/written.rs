// SPDX-License-Identifier: GPL-2.0
//! A mailbox is written over what this tool wrote and nobody has edited since, and over nothing else.

use std::fs;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::cache;
use crate::context::{Context, hex, short_hash};
use crate::error::{At, Error, Result};

/// Fails if these bytes would replace somebody's work.
pub fn may_replace(ctx: &Context, mbox: &Path, text: &str) -> Result<()> {
    let refuse = |cause: &str| {
        let verify = "cargo series mail --verify, which proves it as it is";
        Err(Error::finding(mbox.display(), cause)
            .mend("move it away")
            .mend(verify)
            .mend("cargo series mail --force, which replaces it"))
    };
    match mbox.metadata() {
        Err(_) => return Ok(()),
        Ok(there) if !there.is_file() => return refuse("is there, and is no plain file"),
        Ok(_) => {}
    }
    let there = fs::read(mbox).at(mbox)?;
    let known = fs::read_to_string(record(ctx, mbox)?).unwrap_or_default();
    if there == text.as_bytes() || known.lines().any(|line| line == digest(&there)) {
        return Ok(());
    }
    refuse("is not as this tool left it: it may hold work of yours")
}

pub fn write(ctx: &Context, mbox: &Path, text: &str) -> Result<()> {
    // First what will be there: a run that ends between the two has changed nothing.
    let record = record(ctx, mbox)?;
    let digest = digest(text.as_bytes());
    let known = fs::read_to_string(&record).unwrap_or_default();
    if !known.lines().any(|line| line == digest) {
        cache::write_whole(&record, format!("{known}{digest}\n").as_bytes())?;
    }
    cache::write_whole(mbox, text.as_bytes())
}

fn digest(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Holds the digests of all that was written there.
fn record(ctx: &Context, mbox: &Path) -> Result<PathBuf> {
    let path = std::path::absolute(mbox).at(mbox)?;
    let name = short_hash(path.as_os_str().as_encoded_bytes());
    Ok(ctx.cache.dir("mail/written")?.join(name))
}
