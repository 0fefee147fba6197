// SPDX-License-Identifier: GPL-2.0
//! What this tool has written or read into commits: it is replaced over that, and over nothing that somebody has edited
//! since.

use std::fs;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::cache;
use crate::context::{Context, hex, short_hash};
use crate::error::{At, Result};

/// Whether these bytes were noted for this file.
pub fn is_known(ctx: &Context, file: &Path, bytes: &[u8]) -> Result<bool> {
    let known = fs::read_to_string(record(ctx, file)?).unwrap_or_default();
    Ok(known.lines().any(|line| line == digest(bytes)))
}

/// Notes these bytes. To be done before they are written: a run that ends between the two has changed nothing.
pub fn note(ctx: &Context, file: &Path, bytes: &[u8]) -> Result<()> {
    if is_known(ctx, file, bytes)? {
        return Ok(());
    }
    let record = record(ctx, file)?;
    let known = fs::read_to_string(&record).unwrap_or_default();
    cache::write_whole(&record, format!("{known}{}\n", digest(bytes)).as_bytes())
}

fn digest(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Holds the digests of all that was noted for this file.
fn record(ctx: &Context, file: &Path) -> Result<PathBuf> {
    let path = std::path::absolute(file).at(file)?;
    let name = short_hash(path.as_os_str().as_encoded_bytes());
    Ok(ctx.cache.dir("written")?.join(name))
}
