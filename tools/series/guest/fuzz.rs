// SPDX-License-Identifier: GPL-2.0
//! A fuzzer for /dev/udmabuf: calls of all kinds, right and wrong ones, on the device, its buffers and the files behind
//! them: memfds, a file of tmpfs, and guest_memfds, so that there has to be KVM. Each has to end as a plain model says, and
//! memory has to contain what the model contains.
//!
//! usage: fuzz SEED ROUNDS CALLS
//!
//! A round is a test case of its own and can be replayed: `fuzz SEED 1 CALLS` with the seed that it printed, here and
//! in the kernel's log. CALLS is how often something is chosen; how many system calls that were is said at the end. A
//! long run fails too if a kind of call was never made, or never ended in a way that it can end.

mod calls;
mod children;
mod counts;
mod descriptors;
mod kinds;
mod model;
mod round;
mod swap;
mod sys;
mod views;

use std::fs;
use std::panic;

use kinds::Done;

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

    swap::on();
    println!("TAP version 13\n1..{rounds}");
    let mut failed = false;
    let mut all = Done::default();
    for round in 0..rounds {
        let seed = seed + round;
        announce(seed);
        let before = counts::count();
        let ended = panic::catch_unwind(|| round::run(seed, calls));
        let right = counts::returned(&before) && ended.is_ok();
        if let Ok(done) = ended {
            println!("# seed {seed}: {done}");
            all.add(&done);
        }
        let word = if right { "ok" } else { "not ok" };
        println!("{word} {} seed-{seed}", round + 1);
        failed |= !right;
    }
    println!("# in all: {all}\n# figures: {}", all.figures());
    // A round that ended early has not done its part.
    failed = failed || !all.is_complete();
    swap::off();
    std::process::exit(failed.into());
}

/// Says which seed comes now, before it can do any harm: to who reads the results, and to the log of the kernel, so
/// that what the kernel complains about can be put to it.
fn announce(seed: u64) {
    println!("# seed {seed}");
    fs::write("/dev/kmsg", format!("fuzz: seed {seed}\n")).expect("/dev/kmsg can be written");
}
