// SPDX-License-Identifier: GPL-2.0
//! What `test` found, said at once, counted at the end, and kept for `report`.

use super::same::Compared;
use crate::error::Result;
use crate::report::{Entry, Kind};

#[derive(Debug, Default)]
pub struct Tally {
    pub passed: usize,
    pub failed: usize,
    /// By the kernel's own selftests, on the base too, and by tests that are known to.
    pub skipped: usize,
    pub entries: Vec<Entry>,
}

impl Tally {
    fn note(&mut self, kind: Kind, what: String) {
        self.entries.push(Entry { kind, what });
    }

    pub fn pass(&mut self, what: impl std::fmt::Display) {
        self.passed += 1;
        println!("pass  {what}");
        self.note(Kind::Pass, what.to_string());
    }

    pub fn fail(&mut self, what: impl std::fmt::Display) {
        self.failed += 1;
        println!("FAIL  {what}");
        self.note(Kind::Fail, what.to_string());
    }

    pub fn skip(&mut self, what: impl std::fmt::Display) {
        self.skipped += 1;
        println!("skip  {what}");
        self.note(Kind::Skip, what.to_string());
    }

    pub fn compared(&mut self, compared: Compared) {
        match compared {
            Compared::Same(what) => self.pass(what),
            Compared::Different(what) => self.fail(what),
            Compared::Skipped(what) => self.skip(format_args!("{what}, as on the base")),
        }
    }

    pub fn result(&mut self, what: &str, result: &Result<()>) {
        match result {
            Ok(()) => self.pass(what),
            Err(e) => self.fail(format_args!("{what}\n{e}")),
        }
    }

    /// Many tests that were counted by somebody else.
    pub fn counted(&mut self, what: &str, passed: usize, failed: usize) {
        self.passed += passed;
        self.failed += failed;
        println!("pass  {what}: {passed}");
        self.note(Kind::Pass, format!("{what}: {passed}"));
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
    use crate::error::Error;

    #[test]
    fn skips_are_counted_apart_and_only_named_if_there_are_any() {
        let mut tally = Tally::default();
        tally.compared(Compared::Same("a".to_owned()));
        assert_eq!(tally.sum(), "1 passed, 0 failed");
        tally.compared(Compared::Skipped("b".to_owned()));
        tally.compared(Compared::Different("c".to_owned()));
        assert_eq!(tally.sum(), "1 passed, 1 failed, 1 skipped");
        let kinds: Vec<Kind> = tally.entries.iter().map(|entry| entry.kind).collect();
        assert_eq!(kinds, [Kind::Pass, Kind::Skip, Kind::Fail]);
    }

    #[test]
    fn an_error_is_kept_with_what_failed() {
        let mut tally = Tally::default();
        tally.result(
            "it builds",
            &Err(Error::finding("mm/x.c", "does not compile")),
        );
        assert_eq!(
            tally.entries[0].what,
            "it builds\nerror: mm/x.c: does not compile"
        );
        tally.counted("own tests", 12, 1);
        assert_eq!(tally.sum(), "12 passed, 2 failed");
    }
}
