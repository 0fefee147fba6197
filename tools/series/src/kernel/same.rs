// SPDX-License-Identifier: GPL-2.0
//! The kernel's own selftests: they need not pass, but must end as they end on the base. Cases that the stack mends, or
//! adds for what it mends, must fail there and pass here.

use super::GuestTest;
use super::boot::Run;
use super::ktap::Verdict;
use super::table::word;

/// One case of one kernel, compared with the base.
#[derive(Debug, PartialEq, Eq)]
pub enum Compared {
    /// As on the base, and no skip.
    Same(String),
    /// Skipped, as on the base.
    Skipped(String),
    /// Ended in another way, or gave no verdict on one of the two.
    Different(String),
}

/// Every case of these tests that either kernel has; tests without `same_as_base` are left out.
pub fn compare(base: &Run, run: &Run, tests: &[GuestTest]) -> Vec<Compared> {
    let mut compared = Vec::new();
    for test in tests.iter().filter(|test| test.same_as_base) {
        for case in names(base, run, &test.name) {
            let there = base.verdict(&test.name, case);
            let here = run.verdict(&test.name, case);
            let what = format!("{}: {}: {case}", run.name, test.name);
            let mended = test.fails_on_base.iter().any(|name| name == case);
            compared.push(match (there, here) {
                (Some(Verdict::Fail), Some(Verdict::Pass)) if mended => {
                    Compared::Same(format!("{what} passes, and fails on the base, as it must"))
                }
                _ if mended => Compared::Different(format!(
                    "{what}: {} here, {} on the base, where it must fail",
                    here.map_or("no verdict", word),
                    there.map_or("no verdict", word)
                )),
                (Some(Verdict::CutOff), Some(Verdict::CutOff)) => {
                    Compared::Different(format!("{what}: CUT OFF, on the base too"))
                }
                (Some(Verdict::Skip), Some(Verdict::Skip)) => Compared::Skipped(what),
                (Some(Verdict::Fail), Some(Verdict::Fail)) => {
                    Compared::Same(format!("{what} fails, as on the base"))
                }
                (Some(there), Some(here)) if there == here => Compared::Same(what),
                _ => Compared::Different(format!(
                    "{what}: {} here, {} on the base",
                    here.map_or("no verdict", word),
                    there.map_or("no verdict", word)
                )),
            });
        }
    }
    compared
}

/// The base's cases in their order, then those that the base does not have.
fn names<'a>(base: &'a Run, run: &'a Run, test: &str) -> Vec<&'a str> {
    let mut names: Vec<&str> = Vec::new();
    for (found, case) in base.cases().chain(run.cases()) {
        if found == test && !names.contains(&case.name.as_str()) {
            names.push(&case.name);
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compared(base: &[(&str, Verdict)], tip: &[(&str, Verdict)]) -> Vec<Compared> {
        let mut test = GuestTest::plain("iommufd", 1);
        test.same_as_base = true;
        let other = GuestTest::plain("udmabuf", 1);
        let base = Run::of_cases("base+c", "iommufd", base);
        let tip = Run::of_cases("tip+c", "iommufd", tip);
        compare(&base, &tip, &[other, test])
    }

    #[test]
    fn a_verdict_of_any_kind_may_be_the_same() {
        let both = [
            ("a", Verdict::Pass),
            ("b", Verdict::Fail),
            ("c", Verdict::Skip),
        ];
        assert_eq!(
            compared(&both, &both),
            [
                Compared::Same("tip+c: iommufd: a".to_owned()),
                Compared::Same("tip+c: iommufd: b fails, as on the base".to_owned()),
                Compared::Skipped("tip+c: iommufd: c".to_owned()),
            ]
        );
    }

    #[test]
    fn every_difference_is_named_with_both_verdicts() {
        let all = [Verdict::Pass, Verdict::Fail, Verdict::Skip, Verdict::CutOff];
        for there in all {
            for here in all.into_iter().filter(|here| *here != there) {
                let expected = format!(
                    "tip+c: iommufd: a: {} here, {} on the base",
                    word(here),
                    word(there)
                );
                assert_eq!(
                    compared(&[("a", there)], &[("a", here)]),
                    [Compared::Different(expected)]
                );
            }
        }
    }

    #[test]
    fn what_the_stack_mends_must_fail_on_the_base_and_pass_here() {
        let mut test = GuestTest::plain("iommufd", 1);
        test.same_as_base = true;
        test.fails_on_base = vec!["a".to_owned()];
        let verdict = |there, here| {
            let base = Run::of_cases("base+c", "iommufd", &[("a", there)]);
            let tip = Run::of_cases("tip+c", "iommufd", &[("a", here)]);
            compare(&base, &tip, std::slice::from_ref(&test)).remove(0)
        };
        let all = [Verdict::Pass, Verdict::Fail, Verdict::Skip, Verdict::CutOff];
        for there in all {
            for here in all {
                let good = (there, here) == (Verdict::Fail, Verdict::Pass);
                assert_eq!(
                    matches!(verdict(there, here), Compared::Same(_)),
                    good,
                    "{there:?} {here:?}"
                );
            }
        }
    }

    #[test]
    fn a_case_that_one_kernel_lacks_is_a_difference() {
        assert_eq!(
            compared(&[("gone", Verdict::Skip)], &[("new", Verdict::Pass)]),
            [
                Compared::Different(
                    "tip+c: iommufd: gone: no verdict here, skip on the base".to_owned()
                ),
                Compared::Different(
                    "tip+c: iommufd: new: pass here, no verdict on the base".to_owned()
                ),
            ]
        );
    }

    #[test]
    fn a_run_that_was_cut_off_on_both_is_no_agreement() {
        let both = [("case 1", Verdict::CutOff)];
        assert!(matches!(
            compared(&both, &both)[..],
            [Compared::Different(_)]
        ));
    }

    #[test]
    fn other_tests_are_not_compared() {
        let base = Run::of_cases("base+c", "udmabuf", &[("a", Verdict::Fail)]);
        let tip = Run::of_cases("tip+c", "udmabuf", &[("a", Verdict::Pass)]);
        assert!(compare(&base, &tip, &[GuestTest::plain("udmabuf", 1)]).is_empty());
    }
}
