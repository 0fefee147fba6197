// SPDX-License-Identifier: GPL-2.0
//! Compressed memory to swap to, so that pages can leave their files.

use std::fs;
use std::process::Command;

const DEVICE: &str = "/dev/zram0";

/// Says so if that cannot be had; pages stay where they are then.
pub fn on() {
    // It may have its size already.
    let _ = fs::write("/sys/block/zram0/disksize", "64M");
    for program in ["mkswap", "swapon"] {
        run(program);
    }
    let swaps = fs::read_to_string("/proc/swaps").unwrap_or_default();
    if !swaps.contains("zram0") {
        println!("# there is no swap: what swaps will fail");
    }
}

pub fn off() {
    run("swapoff");
}

fn run(program: &str) {
    let _ = Command::new(format!("/bin/{program}")).arg(DEVICE).output();
}
