// SPDX-License-Identifier: GPL-2.0
//! Complaints of the kernel on its console, each put to the test that was running, and counted once for it.

use std::collections::BTreeSet;

use super::settings::{Complaint, GuestTest};

/// One complaint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Splat {
    /// The test that ran, "after" the one before, or "boot".
    pub test: String,
    pub line: String,
}

impl Splat {
    /// What series.toml knows of it at this time, in seconds since 1970. `tests` are those of the guest.
    fn known<'a>(
        &self,
        complaints: &'a [Complaint],
        tests: &[GuestTest],
        now: u64,
    ) -> Option<&'a Complaint> {
        let ran = |test: &&GuestTest| test.runs().iter().any(|(name, _)| *name == self.test);
        let test = tests.iter().find(ran)?;
        let mut complaints = complaints.iter();
        complaints.find(|known| known.covers(&self.line, test, now))
    }
}

/// What init.sh says where CONFIG_DMA_API_DEBUG counted errors, of which it shows the first one only, or gave up.
const COUNTED: &str = "series: dma-api: ";

/// Complaints of CONFIG_DMA_API_DEBUG.
const DMA_API: &str = "DMA-API: ";

const SIGNS: [&str; 20] = [
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
    // Of lockdep, which is off from there on.
    "INFO: trying to register",
    "rcu: INFO: ",
    "kmemleak: ",
    DMA_API,
    // What init.sh says.
    COUNTED,
    "page_owner: left by ",
    "page_owner: 0 stacks",
    "Kernel panic - not syncing",
    "general protection fault",
    // As arm64 calls it.
    "Unable to handle kernel",
];

/// Lines that look like a complaint and are none.
const HARMLESS: [&str; 9] = [
    // The end of a complaint that was found already.
    "---[ end ",
    "kmemleak: Kernel memory leak detector initialized",
    "kmemleak: Automatic memory scanning thread started",
    "DMA-API: preallocated",
    "DMA-API: debugging enabled",
    "DMA-API: Mapped at:",
    "DMA-API: dma_debug_entry pool grown",
    "kmemleak: Memory pool ",
    "kmemleak: Cannot insert 0x0",
];

/// What the console complains about: what series.toml does not know, and what it knows, with the reason.
pub fn judge(
    console: &str,
    complaints: &[Complaint],
    tests: &[GuestTest],
    now: u64,
) -> (Vec<Splat>, Vec<(Splat, String)>) {
    let (mut splats, mut excused) = (Vec::new(), Vec::new());
    for splat in find(console) {
        let reason = match splat.known(complaints, tests, now) {
            Some(known) => Some(known.reason.clone()),
            None => counted_with(&splat, &excused),
        };
        match reason {
            Some(reason) => excused.push((splat, reason)),
            None => splats.push(splat),
        }
    }
    (splats, excused)
}

/// A count of errors that stands behind a known complaint about one of them has the reason of that.
fn counted_with(splat: &Splat, excused: &[(Splat, String)]) -> Option<String> {
    let is_of_it = |(known, _): &&(Splat, String)| {
        splat.line.contains(COUNTED) && known.test == splat.test && known.line.contains(DMA_API)
    };
    excused
        .iter()
        .find(is_of_it)
        .map(|(_, reason)| reason.clone())
}

/// What the console complains about, in order.
fn find(console: &str) -> Vec<Splat> {
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
    let mut seen = BTreeSet::new();
    splats.retain(|splat| seen.insert((splat.test.clone(), fingerprint(&splat.line))));
    splats
}

/// A line without what differs each time that it is said: numbers and addresses, but for the line of a source file.
fn fingerprint(line: &str) -> String {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut print = String::new();
    let mut rest = line;
    while let Some(next) = rest.chars().next() {
        let end = rest.find(|c| is_word(c) != is_word(next));
        let (part, behind) = rest.split_at(end.unwrap_or(rest.len()));
        let is_number = part.starts_with(|c: char| c.is_ascii_digit())
            || part.len() >= 8 && part.bytes().all(|c| c.is_ascii_hexdigit());
        let is_of_file = [".c:", ".h:", ".rs:"]
            .iter()
            .any(|end| print.ends_with(end));
        print += if is_number && !is_of_file { "#" } else { part };
        rest = behind;
    }
    print
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
    fn the_same_splat_counts_once_in_a_test() {
        let splat = |time: &str, cpu, pid, at: &str| {
            format!("[{time}] WARNING: mm/gup.c:{at} at f+0x1a/0x{pid}, CPU#{cpu}: race/{pid}\n")
        };
        let first = splat("   1.0", 0, 77, "12");
        let again = splat("  11.5", 1, 1078, "12");
        let other = splat("  11.5", 1, 1078, "99");
        let console = format!("series: begin a\n{first}{again}{other}series: begin b\n{again}");
        let found: Vec<_> = find(&console)
            .into_iter()
            .map(|splat| (splat.test, splat.line.contains(":99 ")))
            .collect();
        let of = |test: &str, other| (test.to_owned(), other);
        assert_eq!(found, [of("a", false), of("a", true), of("b", false)]);
    }

    #[test]
    fn numbers_and_addresses_are_in_no_fingerprint() {
        for (line, print) in [
            (
                "BUG: unable to handle page fault for address: ffff888003a51c00",
                "BUG: unable to handle page fault for address: #",
            ),
            (
                "WARNING: CPU: 1 PID: 77 at mm/gup.c:12 try_grab_folio+0x1a/0x40",
                "WARNING: CPU: # PID: # at mm/gup.c:12 try_grab_folio+#/#",
            ),
            (
                "INFO: task kworker/1:2:88 blocked for more than 120 seconds.",
                "INFO: task kworker/#:#:# blocked for more than # seconds.",
            ),
            (
                "BUG: KASAN: slab-use-after-free in deadbeef_add+0x8/0x10",
                "BUG: KASAN: slab-use-after-free in deadbeef_add+#/#",
            ),
        ] {
            assert_eq!(fingerprint(line), print);
        }
    }

    #[test]
    fn other_words_for_a_splat() {
        for line in [
            "Unable to handle kernel paging request at virtual address dead000000000108",
            "INFO: trying to register non-static key.",
        ] {
            assert_eq!(find(line).len(), 1, "{line}");
        }
    }

    #[test]
    fn a_complaint_is_known_in_its_test_and_for_a_while() {
        let complaints = [Complaint {
            lines: vec!["tracking ENOMEM".to_owned()],
            reason: "it was made to fail".to_owned(),
            until: "2026-11-15".to_owned(),
            tests: vec!["a".to_owned()],
            on_base: false,
        }];
        let tests = [GuestTest::plain("b", 1), GuestTest::plain("a", 1)];
        let is_known = |splat: &Splat, now| splat.known(&complaints, &tests, now).is_some();
        let splat = |test: &str, line: &str| Splat {
            test: test.to_owned(),
            line: line.to_owned(),
        };
        let known = splat("a", "DMA-API: cacheline tracking ENOMEM");
        assert!(is_known(&known, 0));
        assert!(!is_known(&known, 2_000_000_000));
        assert!(!is_known(&splat("a", "DMA-API: else"), 0));
        for other in ["b", "boot", "after a"] {
            assert!(!is_known(&splat(other, &known.line), 0));
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
