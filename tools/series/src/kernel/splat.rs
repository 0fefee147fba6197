// SPDX-License-Identifier: GPL-2.0
//! Complaints of the kernel on its console, each put to the test that was running.

use super::settings::{Complaint, GuestTest};

/// One complaint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Splat {
    /// The test that ran, "after" the one before, or "boot".
    pub test: String,
    pub line: String,
}

impl Splat {
    /// What series.toml knows of it at this time, in seconds since 1970.
    pub fn known<'a>(&self, tests: &'a [GuestTest], now: u64) -> Option<&'a Complaint> {
        let ran = |test: &&GuestTest| test.runs().iter().any(|(name, _)| *name == self.test);
        let mut complaints = tests.iter().find(ran)?.complaints.iter();
        complaints.find(|known| self.line.contains(&known.line) && known.holds_at(now))
    }
}

const SIGNS: [&str; 15] = [
    "WARNING: ",
    "BUG: ",
    "kernel BUG at",
    "Oops: ",
    "KASAN: ",
    "UBSAN: ",
    "KCSAN: ",
    "INFO: possible recursive locking",
    "possible circular locking dependency",
    "INFO: task ",
    "rcu: INFO: ",
    "kmemleak: ",
    "DMA-API: ",
    "Kernel panic - not syncing",
    "general protection fault",
];

/// Lines that look like a complaint and are none.
const HARMLESS: [&str; 7] = [
    // The end of a complaint that was found already.
    "---[ end ",
    "kmemleak: Kernel memory leak detector initialized",
    "kmemleak: Automatic memory scanning thread started",
    "DMA-API: preallocated",
    "DMA-API: debugging enabled",
    "kmemleak: Memory pool ",
    "kmemleak: Cannot insert 0x0",
];

/// What the console complains about, in order.
pub fn find(console: &str) -> Vec<Splat> {
    let mut test = "boot".to_owned();
    let mut splats = Vec::new();
    for line in console.lines().map(|line| line.trim_end_matches('\r')) {
        if let Some((_, word)) = line.split_once("series: begin ") {
            word.clone_into(&mut test);
        } else if let Some((_, word)) = line.split_once("series: end ") {
            test = format!("after {}", word.split(' ').next().unwrap_or(word));
        } else if SIGNS.iter().any(|sign| line.contains(sign))
            && !HARMLESS.iter().any(|harmless| line.contains(harmless))
        {
            splats.push(Splat {
                test: test.clone(),
                line: without_time(line).to_owned(),
            });
        }
    }
    splats
}

/// Without "[   12.345678]".
fn without_time(line: &str) -> &str {
    match line.split_once("] ") {
        Some((time, rest)) if time.starts_with('[') => rest,
        _ => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_splat_belongs_to_the_test_that_ran() {
        let console = "[    0.1] DMA-API: preallocated 65536 debug entries\n\
            [    1.0] series: begin a\r\n[    1.1] BUG: KASAN: slab-out-of-bounds in f\r\n\
            [    2.0] series: begin b\n[    2.1] WARNING: possible circular locking dependency detected\n";
        let found = find(console);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].test, "a");
        assert_eq!(found[0].line, "BUG: KASAN: slab-out-of-bounds in f");
        assert_eq!(found[1].test, "b");
    }

    #[test]
    fn a_complaint_is_known_in_its_test_and_for_a_while() {
        let mut test = GuestTest::plain("a", 1);
        test.complaints = vec![Complaint {
            line: "tracking ENOMEM".to_owned(),
            reason: "it was made to fail".to_owned(),
            until: "2026-11-15".to_owned(),
        }];
        let tests = [GuestTest::plain("b", 1), test];
        let splat = |test: &str, line: &str| Splat {
            test: test.to_owned(),
            line: line.to_owned(),
        };
        let known = splat("a", "DMA-API: cacheline tracking ENOMEM");
        assert!(known.known(&tests, 0).is_some());
        assert!(known.known(&tests, 2_000_000_000).is_none());
        assert!(splat("a", "DMA-API: else").known(&tests, 0).is_none());
        for other in ["b", "boot", "after a"] {
            assert!(splat(other, &known.line).known(&tests, 0).is_none());
        }
    }

    #[test]
    fn one_before_any_test_belongs_to_the_boot() {
        let found = find("[ 0.5] WARNING: mm/gup.c:12 at f\n");
        assert_eq!(found[0].test, "boot");
    }

    #[test]
    fn a_quiet_console_has_none() {
        assert!(find("Linux version 7.3.4\nseries: begin a\nall is well\n").is_empty());
    }
}
