// SPDX-License-Identifier: GPL-2.0
//! What keeps a block of memory from going offline.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;

const BLOCKS: &str = "/sys/devices/system/memory";

/// Bits of /proc/kpageflags: a frame that is free, bad, or none at all is in nobody's way.
const BUDDY: u64 = 1 << 10;
const HWPOISON: u64 = 1 << 19;
const NOPAGE: u64 = 1 << 20;

const SHOWN: usize = 20;

fn number(path: String, radix: u32) -> Option<u64> {
    u64::from_str_radix(fs::read_to_string(path).ok()?.trim(), radix).ok()
}

/// A word for each frame of this file of proc.
fn words(file: &str, frames: std::ops::Range<u64>) -> io::Result<Vec<u64>> {
    let mut bytes = vec![0; (frames.end - frames.start) as usize * 8];
    File::open(file)?.read_exact_at(&mut bytes, frames.start * 8)?;
    let word = |bytes: &[u8]| u64::from_ne_bytes(bytes.try_into().expect("there are eight"));
    Ok(bytes.chunks(8).map(word).collect())
}

/// Says which blocks are about to go offline, and which of their frames are in use: flags of /proc/kpageflags, and how often
/// they are mapped.
pub fn say_what_stays() {
    let pages = number(format!("{BLOCKS}/block_size_bytes"), 16).unwrap_or(0) / 4096;
    for entry in fs::read_dir(BLOCKS).into_iter().flatten().flatten() {
        let path = entry.path().display().to_string();
        let state = fs::read_to_string(format!("{path}/state")).unwrap_or_default();
        if state.trim() != "going-offline" {
            continue;
        }
        let start = number(format!("{path}/phys_index"), 16).unwrap_or(0) * pages;
        println!("# {path} is going offline, frames from {start:#x}");
        let frames = start..start + pages;
        let read = words("/proc/kpageflags", frames.clone())
            .and_then(|flags| Ok((flags, words("/proc/kpagecount", frames)?)));
        let (flags, counts) = match read {
            Ok(read) => read,
            Err(e) => {
                println!("# {e}");
                continue;
            }
        };
        let all = flags.iter().zip(&counts).zip(start..);
        let stay = all.filter(|((flags, _), _)| *flags & (BUDDY | HWPOISON | NOPAGE) == 0);
        for ((flags, count), frame) in stay.take(SHOWN) {
            println!("# frame {frame:#x} flags {flags:#x} mapped {count}");
        }
    }
}
