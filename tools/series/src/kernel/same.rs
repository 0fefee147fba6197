// SPDX-License-Identifier: GPL-2.0
//! The kernel's own selftests: they need not pass, but must end as they end on the base. Cases that the stack mends, or
//! adds for what it mends, must fail there and pass here.

use std::collections::{BTreeMap, BTreeSet};

use super::GuestTest;
use super::boot::Run;
use super::ktap::{Case, Verdict};
use super::table::word;
use crate::report::Entry;

/// Every case of these tests that either kernel has; tests without `same_as_base` are left out.
pub fn compare(base: &Run, run: &Run, tests: &[GuestTest]) -> Vec<Entry> {
    let mut compared = Vec::new();
    for test in tests.iter().filter(|test| test.same_as_base) {
        for case in names(base, run, &test.name) {
            let there = base.verdict(&test.name, case);
            let here = run.verdict(&test.name, case);
            let pass = || Entry::pass(&run.name, &test.name, case);
            let fail = || Entry::fail(&run.name, &test.name, case);
            let skip = || Entry::skip(&run.name, &test.name, case);
            let both = || {
                format!(
                    "{} here, {} on the base",
                    here.map_or("no verdict", word),
                    there.map_or("no verdict", word)
                )
            };
            let mended = test.fails_on_base.iter().any(|name| name == case);
            compared.push(match (there, here) {
                (Some(Verdict::Fail), Some(Verdict::Pass)) if mended => {
                    pass().because("fails on the base, as it must")
                }
                (_, Some(Verdict::Pass)) if mended && test.base_may_pass => pass().because(both()),
                (_, Some(Verdict::Skip)) if mended && test.base_may_pass => skip().because(both()),
                _ if mended => fail().because(format_args!("{}, where it must fail", both())),
                (Some(Verdict::CutOff), Some(Verdict::CutOff)) => {
                    fail().because("CUT OFF, on the base too")
                }
                (Some(Verdict::Skip), Some(Verdict::Skip)) => skip().because("as on the base"),
                (Some(Verdict::Fail), Some(Verdict::Fail)) => {
                    pass().because("fails, as on the base")
                }
                (Some(there), Some(here)) if there == here => pass(),
                _ => fail().because(both()),
            });
        }
    }
    compared
}

/// The cases of these tests that one of the runs has and the other does not have, or ends otherwise. Those that must fail
/// on the base are left out.
pub fn different(first: &Run, run: &Run, tests: &[GuestTest]) -> Vec<Entry> {
    let verdicts = |run: &Run| -> BTreeMap<(String, String), Verdict> {
        let compared = |name: &str, case: &Case| {
            let mut known = tests.iter().filter(|test| test.name == name);
            known.any(|test| !test.fails_on_base.contains(&case.name))
        };
        run.cases()
            .filter(|(name, case)| compared(name, case))
            .map(|(test, case)| ((test.to_owned(), case.name.clone()), case.verdict))
            .collect()
    };
    let (there, here) = (verdicts(first), verdicts(run));
    let all: BTreeSet<_> = there.keys().chain(here.keys()).collect();
    all.into_iter()
        .filter(|case| there.get(*case) != here.get(*case))
        .map(|case| {
            let said =
                |verdicts: &BTreeMap<_, _>| verdicts.get(case).map_or("no verdict", |v| word(*v));
            Entry::fail(&run.name, &case.0, &case.1).because(format_args!(
                "{} here, {} in {}",
                said(&here),
                said(&there),
                first.name
            ))
        })
        .collect()
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
    use crate::report::Kind;

    fn compared(base: &[(&str, Verdict)], tip: &[(&str, Verdict)]) -> Vec<Entry> {
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
                Entry::pass("tip+c", "iommufd", "a"),
                Entry::pass("tip+c", "iommufd", "b").because("fails, as on the base"),
                Entry::skip("tip+c", "iommufd", "c").because("as on the base"),
            ]
        );
    }

    #[test]
    fn a_result_in_a_name_differs() {
        let base = Run::of_cases(
            "base+c",
            "programs",
            &[("a 1", Verdict::Pass), ("b", Verdict::Pass)],
        );
        let tip = Run::of_cases(
            "tip+c",
            "programs",
            &[("a 2", Verdict::Pass), ("b", Verdict::Pass)],
        );
        let tests = [GuestTest::plain("programs", 2)];
        assert_eq!(different(&base, &tip, &[]), []);
        assert_eq!(different(&base, &base, &tests), []);
        assert_eq!(
            different(&base, &tip, &tests),
            [
                Entry::fail("tip+c", "programs", "a 1").because("no verdict here, pass in base+c"),
                Entry::fail("tip+c", "programs", "a 2").because("pass here, no verdict in base+c"),
            ]
        );
    }

    #[test]
    fn what_must_fail_on_the_base_may_differ() {
        let base = Run::of_cases("base+c", "pin", &[("a", Verdict::Fail)]);
        let tip = Run::of_cases("tip+c", "pin", &[("a", Verdict::Pass)]);
        let mut test = GuestTest::plain("pin", 1);
        assert_eq!(different(&base, &tip, &[test.clone()]).len(), 1);
        test.fails_on_base = vec!["a".to_owned()];
        assert_eq!(different(&base, &tip, &[test]), []);
    }

    #[test]
    fn every_difference_is_named_with_both_verdicts() {
        let all = [Verdict::Pass, Verdict::Fail, Verdict::Skip, Verdict::CutOff];
        for there in all {
            for here in all.into_iter().filter(|here| *here != there) {
                let reason = format!("{} here, {} on the base", word(here), word(there));
                assert_eq!(
                    compared(&[("a", there)], &[("a", here)]),
                    [Entry::fail("tip+c", "iommufd", "a").because(reason)]
                );
            }
        }
    }

    #[test]
    fn what_the_stack_mends_must_fail_on_the_base_and_pass_here() {
        let mut test = GuestTest::plain("iommufd", 1);
        test.same_as_base = true;
        test.fails_on_base = vec!["a".to_owned()];
        let verdict = |test: &GuestTest, there, here| {
            let base = Run::of_cases("base+c", "iommufd", &[("a", there)]);
            let tip = Run::of_cases("tip+c", "iommufd", &[("a", here)]);
            compare(&base, &tip, std::slice::from_ref(test)).remove(0)
        };
        let mut elsewhere = test.clone();
        elsewhere.base_may_pass = true;
        let all = [Verdict::Pass, Verdict::Fail, Verdict::Skip, Verdict::CutOff];
        for there in all {
            for here in all {
                let good = (there, here) == (Verdict::Fail, Verdict::Pass);
                assert_eq!(
                    verdict(&test, there, here).kind,
                    if good { Kind::Pass } else { Kind::Fail },
                    "{there:?} {here:?}"
                );
                // In other lanes, only what is seen here counts.
                let here_only = match here {
                    Verdict::Pass => Kind::Pass,
                    Verdict::Skip => Kind::Skip,
                    _ => Kind::Fail,
                };
                assert_eq!(verdict(&elsewhere, there, here).kind, here_only);
            }
        }
    }

    #[test]
    fn a_case_that_one_kernel_lacks_is_a_difference() {
        assert_eq!(
            compared(&[("gone", Verdict::Skip)], &[("new", Verdict::Pass)]),
            [
                Entry::fail("tip+c", "iommufd", "gone")
                    .because("no verdict here, skip on the base"),
                Entry::fail("tip+c", "iommufd", "new").because("pass here, no verdict on the base"),
            ]
        );
    }

    #[test]
    fn a_run_that_was_cut_off_on_both_is_no_agreement() {
        let both = [("case 1", Verdict::CutOff)];
        assert!(compared(&both, &both)[0].failed());
    }

    #[test]
    fn other_tests_are_not_compared() {
        let base = Run::of_cases("base+c", "udmabuf", &[("a", Verdict::Fail)]);
        let tip = Run::of_cases("tip+c", "udmabuf", &[("a", Verdict::Pass)]);
        assert!(compare(&base, &tip, &[GuestTest::plain("udmabuf", 1)]).is_empty());
    }
}
