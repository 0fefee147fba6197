// SPDX-License-Identifier: GPL-2.0
//! A fuzzer for /dev/udmabuf: calls of all kinds, right and wrong ones, on the device, its buffers and the files behind
//! them. Each has to end as a plain model says, and memory has to contain what the model contains.
//!
//! usage: fuzz SEED ROUNDS CALLS
//!
//! A round is a test case of its own and can be replayed: `fuzz SEED 1 CALLS` with the seed that it printed.

mod counts;
mod model;
mod round;
mod sys;

use std::panic;

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
        let before = counts::count();
        let ended = panic::catch_unwind(|| round::run(seed, calls));
        let right = counts::returned(&before) && ended.is_ok();
        if let Ok(done) = ended {
            println!("# seed {seed}: {done}");
        }
        let word = if right { "ok" } else { "not ok" };
        println!("{word} {} seed-{seed}", round + 1);
        failed |= !right;
    }
    std::process::exit(failed.into());
}
