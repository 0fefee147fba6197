// SPDX-License-Identifier: GPL-2.0
//! Programs older than KTAP: they announce each step, go on when it went well, and abort in the step that did not.

use super::ktap::{Case, Verdict};

/// The steps of a program that starts a line with `prefix` before each. `ended_well` says how the last one went.
pub fn parse(text: &str, prefix: &str, ended_well: bool) -> Vec<Case> {
    let mut cases: Vec<Case> = text
        .lines()
        .filter_map(|line| line.trim_end_matches('\r').strip_prefix(prefix))
        .map(|name| Case {
            name: name.trim().to_owned(),
            verdict: Verdict::Pass,
            reason: String::new(),
        })
        .collect();
    if let Some(last) = cases.last_mut().filter(|_| !ended_well) {
        last.verdict = Verdict::Fail;
    }
    cases
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "memfd: CREATE\nmemfd: BASIC\r\nnoise\nmemfd: SEAL-WRITE \n";

    fn verdicts(ended_well: bool) -> Vec<(String, Verdict)> {
        parse(SAID, "memfd: ", ended_well)
            .into_iter()
            .map(|case| (case.name, case.verdict))
            .collect()
    }

    #[test]
    fn every_step_of_a_program_that_ended_well_passed() {
        let expected = ["CREATE", "BASIC", "SEAL-WRITE"].map(|s| (s.to_owned(), Verdict::Pass));
        assert_eq!(verdicts(true), expected);
    }

    #[test]
    fn the_step_in_which_a_program_died_failed() {
        let found = verdicts(false);
        assert_eq!(found[1].1, Verdict::Pass);
        assert_eq!(found[2], ("SEAL-WRITE".to_owned(), Verdict::Fail));
    }

    #[test]
    fn a_program_that_says_nothing_has_no_steps() {
        assert!(parse("noise\n", "memfd: ", false).is_empty());
    }
}
