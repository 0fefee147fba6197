// SPDX-License-Identifier: GPL-2.0
//! Blocks of memory, which go offline as a whole, as the kernel shows them.

use std::fs;
use std::ops::Range;

use crate::sys::PAGE;

pub const BLOCKS: &str = "/sys/devices/system/memory";

/// A number that is written in hexadecimal.
fn number(file: &str) -> u64 {
    let text = fs::read_to_string(file).expect("CONFIG_MEMORY_HOTPLUG");
    u64::from_str_radix(text.trim(), 16).expect("a number")
}

/// How many pages each of them has.
pub fn pages_each() -> u64 {
    number(&format!("{BLOCKS}/block_size_bytes")) / PAGE as u64
}

/// The page frames of the block with this folder.
pub fn frames_of(folder: &str) -> Range<u64> {
    let pages = pages_each();
    let start = number(&format!("{folder}/phys_index")) * pages;
    start..start + pages
}
