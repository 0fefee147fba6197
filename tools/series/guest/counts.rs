// SPDX-License-Identifier: GPL-2.0
//! Counts of the kernel that must be what they were when a test is over.

// Each program has its own use for them.
#![allow(dead_code)]

use std::fs;
use std::thread;
use std::time::Duration;

#[derive(Debug, PartialEq, Eq)]
pub struct Counts {
    pins: i64,
    huge_pages_free: i64,
    huge_pages_reserved: i64,
    fds: usize,
}

pub fn count() -> Counts {
    // CPUs keep differences to themselves until this asks for them.
    fs::write("/proc/sys/vm/stat_refresh", "1").expect("stat_refresh can be written");
    Counts {
        pins: value("/proc/vmstat", "nr_foll_pin_acquired ")
            - value("/proc/vmstat", "nr_foll_pin_released "),
        huge_pages_free: value("/proc/meminfo", "HugePages_Free:"),
        huge_pages_reserved: value("/proc/meminfo", "HugePages_Rsvd:"),
        fds: fs::read_dir("/proc/self/fd")
            .expect("proc is mounted")
            .count(),
    }
}

/// How often this has happened, as /proc/vmstat names it; or how much there is, as /proc/meminfo does, with a colon.
pub fn events(name: &str) -> i64 {
    let file = match name.ends_with(':') {
        true => "/proc/meminfo",
        false => "/proc/vmstat",
    };
    value(file, name)
}

fn value(file: &str, name: &str) -> i64 {
    let text = fs::read_to_string(file).expect("proc is mounted");
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let word = line.and_then(|rest| rest.split_whitespace().next());
    word.and_then(|word| word.parse().ok())
        .unwrap_or_else(|| panic!("{file} has no {name}"))
}

/// Whether they are what they were. A process that was killed may still be giving back: it has ten seconds for that.
pub fn returned(before: &Counts) -> bool {
    for _ in 0..200 {
        if count() == *before {
            return true;
        }
        thread::sleep(Duration::from_millis(50));
    }
    println!("# left behind: {before:?}, then {:?}", count());
    false
}
