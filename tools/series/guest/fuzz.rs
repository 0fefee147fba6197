// SPDX-License-Identifier: GPL-2.0
//! A fuzzer for /dev/udmabuf: calls of all kinds, right and wrong ones, on the device, its buffers and the files behind
//! them. Each has to end as a plain model says, and memory has to contain what the model contains.
//!
//! usage: fuzz SEED ROUNDS CALLS
//!
//! A round is a test case of its own and can be replayed: `fuzz SEED 1 CALLS` with the seed that it printed.

mod model;
mod round;
mod sys;

use std::fs;
use std::panic;

/// Counts that must be what they were when a round is over.
#[derive(Debug, PartialEq, Eq)]
struct Counts {
    pins: i64,
    huge_pages_free: i64,
    huge_pages_reserved: i64,
    fds: usize,
}

fn count() -> Counts {
    fs::write("/proc/sys/vm/stat_refresh", "1").expect("stat_refresh can be written");
    let value = |file: &str, name: &str| -> i64 {
        let text = fs::read_to_string(file).expect("proc is mounted");
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let word = line.and_then(|rest| rest.split_whitespace().next());
        word.and_then(|word| word.parse().ok())
            .unwrap_or_else(|| panic!("{file} has no {name}"))
    };
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

fn main() {
    let number = |n: usize, what: &str| -> u64 {
        let argument = std::env::args().nth(n);
        let parsed = argument.and_then(|text| text.parse().ok());
        parsed.unwrap_or_else(|| {
            eprintln!("fuzz: {what} is missing; usage: fuzz SEED ROUNDS CALLS");
            std::process::exit(2);
        })
    };
    let (seed, rounds, calls) = (number(1, "SEED"), number(2, "ROUNDS"), number(3, "CALLS"));

    println!("TAP version 13\n1..{rounds}");
    let mut failed = false;
    for round in 0..rounds {
        let seed = seed + round;
        let before = count();
        let ended = panic::catch_unwind(|| round::run(seed, calls));
        let after = count();
        let right = ended.is_ok() && before == after;
        if before != after {
            println!("# left behind: {before:?}, then {after:?}");
        }
        if let Ok(done) = ended {
            println!("# seed {seed}: {done}");
        }
        let word = if right { "ok" } else { "not ok" };
        println!("{word} {} seed-{seed}", round + 1);
        failed |= !right;
    }
    std::process::exit(failed.into());
}
