// SPDX-License-Identifier: GPL-2.0
//! What `test` found, said at once, counted at the end, and kept for `report`.

use super::figures::Figures;
use crate::report::{Entry, Kind};

#[derive(Debug, Default)]
pub struct Tally {
    pub passed: usize,
    /// Or not run.
    pub failed: usize,
    /// By the kernel's own selftests, on the base too, and by tests that are known to.
    pub skipped: usize,
    pub entries: Vec<Entry>,
    /// What programs printed, in all guests.
    pub figures: Figures,
}

impl Tally {
    pub fn add(&mut self, entry: Entry) {
        match entry.kind {
            Kind::Pass => self.passed += entry.tests,
            Kind::Skip => self.skipped += entry.tests,
            Kind::Fail | Kind::NotRun => self.failed += entry.tests,
        }
        outln!("{entry}");
        self.entries.push(entry);
    }

    /// "3 passed, 0 failed", and the skips if there are any.
    pub fn sum(&self) -> String {
        let sum = format!("{} passed, {} failed", self.passed, self.failed);
        match self.skipped {
            0 => sum,
            skipped => format!("{sum}, {skipped} skipped"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skips_are_counted_apart_and_only_named_if_there_are_any() {
        let mut tally = Tally::default();
        tally.add(Entry::pass("tip+c", "a", "1"));
        assert_eq!(tally.sum(), "1 passed, 0 failed");
        tally.add(Entry::skip("tip+c", "a", "2"));
        tally.add(Entry::fail("tip+c", "a", "3"));
        assert_eq!(tally.sum(), "1 passed, 1 failed, 1 skipped");
        let kinds: Vec<Kind> = tally.entries.iter().map(|entry| entry.kind).collect();
        assert_eq!(kinds, [Kind::Pass, Kind::Skip, Kind::Fail]);
    }

    #[test]
    fn what_did_not_run_counts_as_a_failure() {
        let mut tally = Tally::default();
        tally.add(Entry::not_run("tip+c", "boot", ""));
        assert_eq!(tally.sum(), "0 passed, 1 failed");
    }

    #[test]
    fn an_entry_counts_for_all_that_it_stands_for() {
        let mut tally = Tally::default();
        tally.add(Entry::pass("", "own tests", "").standing_for(12));
        tally.add(Entry::fail("", "own tests", "").standing_for(2));
        assert_eq!(tally.sum(), "12 passed, 2 failed");
        assert_eq!(tally.entries.len(), 2);
    }
}
