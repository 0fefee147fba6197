// SPDX-License-Identifier: GPL-2.0
//! What keeps a block of memory from going offline.

use crate::blocks::Block;
use crate::sys::words;

/// Bits of /proc/kpageflags: a frame that is free, bad, or none at all is in nobody's way.
const BUDDY: u64 = 1 << 10;
const HWPOISON: u64 = 1 << 19;
const NOPAGE: u64 = 1 << 20;

const SHOWN: usize = 20;

/// Says which blocks are about to go offline, and which of their frames are in use: flags of /proc/kpageflags, and how often
/// they are mapped.
pub fn say_what_stays() {
    let going = Block::all()
        .into_iter()
        .filter(|block| block.is("going-offline"));
    for block in going {
        let frames = block.frames();
        let (number, start) = (block.number(), frames.start);
        println!("# memory{number} is going offline, frames from {start:#x}");
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
