// SPDX-License-Identifier: GPL-2.0
//! KTAP: what a test program says, as verdicts. Subtests are indented; what is planned and does not come is cut off.

/// How a test case ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Pass,
    Fail,
    Skip,
    /// Planned, and no result came.
    CutOff,
}

/// One test case. Subtests are named after the test that holds them: "suite.case".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    pub name: String,
    pub verdict: Verdict,
    /// Why it was skipped, if it was.
    pub reason: String,
}

/// The cases of one program's output, in order.
pub fn parse(text: &str) -> Vec<Case> {
    let mut levels = vec![Level::default()];
    for line in text.lines().map(|line| line.trim_end_matches('\r')) {
        let body = line.trim_start_matches(' ');
        let depth = (line.len() - body.len()) / 4;
        if let Some(plan) = plan(body) {
            open(&mut levels, depth);
            levels[depth].planned = Some(plan);
        } else if let Some(suite) = body.strip_prefix(SUBTEST) {
            open(&mut levels, depth);
            levels[depth].suite = format!("{suite}.");
        } else if let Some((ok, number, rest)) = result(body) {
            open(&mut levels, depth);
            // The subtests of this result are complete.
            let children: Vec<Case> = levels.drain(depth + 1..).flat_map(Level::finish).collect();
            levels[depth].add(ok, number, rest, children);
        }
    }
    // What is open still was cut off.
    let mut cases = Vec::new();
    while let Some(level) = levels.pop() {
        let outer = levels.iter().chain([&level]).skip(1);
        let suite: String = outer.map(|level| level.suite.as_str()).collect();
        cases.extend(level.finish().into_iter().map(|case| Case {
            name: suite.clone() + &case.name,
            ..case
        }));
    }
    cases
}

/// Why a program skipped all that it has: "1..0 # SKIP reason".
pub fn skipped(text: &str) -> Option<&str> {
    text.lines()
        .map(str::trim_end)
        .filter(|line| plan(line) == Some(0))
        .find_map(|line| Some(line.split_once("# ")?.1))
        .filter(|directive| directive.to_ascii_uppercase().starts_with("SKIP"))
}

/// Cases of one name get a number behind it, so that each can be told from the others.
pub fn tell_apart(cases: &mut [Case]) {
    for i in 0..cases.len() {
        let name = cases[i].name.clone();
        let mut count = 1;
        for case in cases[i + 1..].iter_mut().filter(|case| case.name == name) {
            count += 1;
            case.name = format!("{name} ({count})");
        }
    }
}

/// KUnit's results among everything else on a console: "suite.case".
pub fn kunit(console: &str) -> Vec<Case> {
    let is_ktap = |line: &&str| {
        let body = line.trim_start_matches(' ');
        plan(body).is_some() || result(body).is_some() || body.starts_with(SUBTEST)
    };
    // The list of suites stands at the left margin. What is indented before it is of something else.
    let said: Vec<&str> = console
        .lines()
        .skip_while(|line| plan(line).is_none())
        .filter(is_ktap)
        .collect();
    let mut cases = parse(&said.join("\n"));
    if said.is_empty() {
        cases.push(Case {
            name: "suites".to_owned(),
            verdict: Verdict::CutOff,
            reason: String::new(),
        });
    }
    tell_apart(&mut cases);
    cases
}

/// In front of the name of what is indented.
const SUBTEST: &str = "# Subtest: ";

#[derive(Default)]
struct Level {
    /// Its name with a dot, as far as it was said before its result.
    suite: String,
    planned: Option<usize>,
    seen: usize,
    cases: Vec<Case>,
}

fn open(levels: &mut Vec<Level>, depth: usize) {
    while levels.len() <= depth {
        levels.push(Level::default());
    }
}

impl Level {
    fn add(&mut self, ok: bool, number: usize, rest: &str, children: Vec<Case>) {
        self.seen += 1;
        let (name, directive) = split_directive(rest);
        let name = tidy(name, number);
        let upper = directive.to_ascii_uppercase();
        let verdict = match ok {
            true if upper.starts_with("SKIP") => Verdict::Skip,
            true => Verdict::Pass,
            // Expected to fail, and does.
            false if upper.starts_with("XFAIL") || upper.starts_with("TODO") => Verdict::Pass,
            false => Verdict::Fail,
        };
        if children.is_empty() {
            self.cases.push(Case {
                name,
                verdict,
                reason: if verdict == Verdict::Skip {
                    directive.to_owned()
                } else {
                    String::new()
                },
            });
            return;
        }
        let blamed = children
            .iter()
            .any(|case| matches!(case.verdict, Verdict::Fail | Verdict::CutOff));
        for mut case in children {
            case.name = format!("{name}.{}", case.name);
            self.cases.push(case);
        }
        // A suite that fails although its cases pass says so itself.
        if verdict == Verdict::Fail && !blamed {
            self.cases.push(Case {
                name,
                verdict,
                reason: String::new(),
            });
        }
    }

    fn finish(mut self) -> Vec<Case> {
        for number in self.seen + 1..=self.planned.unwrap_or(0) {
            self.cases.push(Case {
                name: format!("case {number}"),
                verdict: Verdict::CutOff,
                reason: String::new(),
            });
        }
        self.cases
    }
}

/// "1..7"
fn plan(line: &str) -> Option<usize> {
    let count = line.strip_prefix("1..")?;
    count.split_whitespace().next()?.parse().ok()
}

/// "ok 3 - name # SKIP reason"
fn result(line: &str) -> Option<(bool, usize, &str)> {
    let (ok, rest) = match line.strip_prefix("not ok ") {
        Some(rest) => (false, rest),
        None => (true, line.strip_prefix("ok ")?),
    };
    let (number, rest) = rest.split_once(' ').unwrap_or((rest, ""));
    Some((
        ok,
        number.parse().ok()?,
        rest.strip_prefix("- ").unwrap_or(rest),
    ))
}

fn split_directive(rest: &str) -> (&str, &str) {
    match rest
        .split_once(" # ")
        .or_else(|| rest.strip_prefix("# ").map(|d| ("", d)))
    {
        Some((name, directive)) => (name.trim(), directive.trim()),
        None => (rest.trim(), ""),
    }
}

/// A name that is the same whether the case passes or fails.
fn tidy(name: &str, number: usize) -> String {
    for sign in ["[PASS,", "[FAIL,"] {
        if let Some((_, inner)) = name.split_once(sign) {
            return inner.trim_end_matches(']').to_owned();
        }
    }
    if name.is_empty() {
        format!("case {number}")
    } else {
        name.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn short(text: &str) -> Vec<(String, Verdict)> {
        parse(text)
            .into_iter()
            .map(|case| (case.name, case.verdict))
            .collect()
    }

    fn expect(names: &[(&str, Verdict)]) -> Vec<(String, Verdict)> {
        names
            .iter()
            .map(|(name, verdict)| ((*name).to_owned(), *verdict))
            .collect()
    }

    #[test]
    fn cases_of_kunit_among_other_lines() {
        let console = "    ok 9 too early\nLinux version 7.3.4\nKTAP version 1\n1..4\r\n\
            \x20   KTAP version 1\n    # Subtest: rust_a\n    1..3\n\
            ok i am no result\n    not ok 1 inner\n    ok 2 other # SKIP no memory\nbusy\n\
            \x20       KTAP version 1\n        # Subtest: each\n        ok 1 small\r\n        ok 2 big\n\
            \x20   ok 3 each\n# rust_a: pass:1 fail:1 skip:1 total:3\nnot ok 1 rust_a\r\nbusy\nok 2 rust_b\n\
            \x20   1..1\n    ok 1 same # SKIP none\nnot ok 3 rust_c\n";
        let found: Vec<_> = kunit(console)
            .into_iter()
            .map(|case| (case.name, case.verdict))
            .collect();
        assert_eq!(
            found,
            expect(&[
                ("rust_a.inner", Verdict::Fail),
                ("rust_a.other", Verdict::Skip),
                ("rust_a.each.small", Verdict::Pass),
                ("rust_a.each.big", Verdict::Pass),
                ("rust_b", Verdict::Pass),
                ("rust_c.same", Verdict::Skip),
                ("rust_c", Verdict::Fail),
                ("case 4", Verdict::CutOff)
            ])
        );
        assert_eq!(kunit(console)[1].reason, "SKIP no memory");
    }

    #[test]
    fn a_kernel_that_dies_in_a_suite_is_cut_off_there() {
        let found = kunit(
            "1..1\n    # Subtest: mm\n    1..2\n    ok 1 a\n        # Subtest: each\n\
            \x20       ok 1 small\n[ 1.0] Oops: 0000\n",
        );
        let names: Vec<&str> = found.iter().map(|case| case.name.as_str()).collect();
        assert_eq!(names, ["mm.each.small", "mm.a", "mm.case 2", "case 1"]);
    }

    #[test]
    fn a_harness_program() {
        let text = "TAP version 13\n1..3\n# Starting 3 tests\n#  RUN  data.D1 ...\nok 1 data.D1\n\
            # x.c:5:D2: Expected 0\nnot ok 2 data.D2\nok 3 data.D3 # SKIP no swap\n# PASSED: 1 / 3\n";
        assert_eq!(
            short(text),
            expect(&[
                ("data.D1", Verdict::Pass),
                ("data.D2", Verdict::Fail),
                ("data.D3", Verdict::Skip)
            ])
        );
        assert_eq!(parse(text)[2].reason, "SKIP no swap");
    }

    #[test]
    fn names_do_not_change_with_the_verdict() {
        let text = "1..2\nok 1 drivers/dma-buf/udmabuf: [PASS,test-1]\nnot ok 2 drivers/dma-buf/udmabuf: [FAIL,test-2]\n";
        assert_eq!(
            short(text),
            expect(&[("test-1", Verdict::Pass), ("test-2", Verdict::Fail)])
        );
    }

    #[test]
    fn a_program_that_dies_leaves_cases_cut_off() {
        assert_eq!(
            short("TAP version 13\n1..3\nok 1 a\nSegmentation fault\n"),
            expect(&[
                ("a", Verdict::Pass),
                ("case 2", Verdict::CutOff),
                ("case 3", Verdict::CutOff)
            ])
        );
    }

    #[test]
    fn subtests_are_named_after_their_suite() {
        let text = "KTAP version 1\n1..1\n    # Subtest: suite\n    1..2\n    ok 1 one\n    not ok 2 two\nnot ok 1 suite\n";
        assert_eq!(
            short(text),
            expect(&[("suite.one", Verdict::Pass), ("suite.two", Verdict::Fail)])
        );
    }

    #[test]
    fn a_suite_can_fail_by_itself() {
        let text = "1..1\n    1..1\n    ok 1 one\nnot ok 1 suite\n";
        assert_eq!(
            short(text),
            expect(&[("suite.one", Verdict::Pass), ("suite", Verdict::Fail)])
        );
    }

    #[test]
    fn cut_off_in_a_subtest() {
        let text = "1..1\n    1..2\n    ok 1 one\n";
        let verdicts: Vec<Verdict> = parse(text).into_iter().map(|case| case.verdict).collect();
        assert_eq!(verdicts, [Verdict::Pass, Verdict::CutOff, Verdict::CutOff]);
    }

    #[test]
    fn a_program_that_skips_everything() {
        let text = "TAP version 13\n1..0 # SKIP Not enough huge pages\r\n";
        assert!(parse(text).is_empty());
        assert_eq!(skipped(text), Some("SKIP Not enough huge pages"));
        assert_eq!(skipped("1..0\n"), None);
        assert_eq!(skipped("1..2 # SKIP x\n"), None);
    }

    #[test]
    fn cases_of_one_name_are_told_apart() {
        let mut cases = parse("1..4\nok 1 a\nok 2 b\nnot ok 3 a\nok 4 a\n");
        tell_apart(&mut cases);
        let names: Vec<&str> = cases.iter().map(|case| case.name.as_str()).collect();
        assert_eq!(names, ["a", "b", "a (2)", "a (3)"]);
    }

    #[test]
    fn noise_is_no_result() {
        assert!(parse("hello\nokay 1 x\nnot okay\n[ 1.0] printk\n").is_empty());
    }
}
