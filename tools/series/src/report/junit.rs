// SPDX-License-Identifier: GPL-2.0
//! JUnit's XML, which CI systems read: a suite for each kernel.

use super::{Entry, Kind, Report, escape, join};

/// The suite of what needs no kernel.
const NO_KERNEL: &str = "series";

pub fn render(report: &Report) -> String {
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let all: Vec<&Entry> = report.entries.iter().collect();
    text += &format!(
        "<testsuites name=\"{NO_KERNEL}\" {} time=\"{}\">\n",
        counts(&all),
        report.seconds
    );
    for kernel in [""].into_iter().chain(report.kernels()) {
        let entries: Vec<&Entry> = report
            .entries
            .iter()
            .filter(|e| e.kernel == kernel)
            .collect();
        if !entries.is_empty() {
            text += &suite(if kernel.is_empty() { NO_KERNEL } else { kernel }, &entries);
        }
    }
    text + "</testsuites>\n"
}

/// Of the elements: an entry is one, whatever it stands for.
fn counts(entries: &[&Entry]) -> String {
    let tests = entries.len();
    let failures = entries.iter().filter(|e| e.failed()).count();
    let skipped = entries.iter().filter(|e| e.kind == Kind::Skip).count();
    format!("tests=\"{tests}\" failures=\"{failures}\" skipped=\"{skipped}\"")
}

fn suite(name: &str, entries: &[&Entry]) -> String {
    let cases: String = entries.iter().map(|entry| case(name, entry)).collect();
    format!(
        "<testsuite name=\"{}\" {}>\n{cases}</testsuite>\n",
        escape(name),
        counts(entries)
    )
}

fn case(suite: &str, entry: &Entry) -> String {
    let name = join(&[&entry.test, &entry.case]);
    let time = entry
        .seconds
        .map_or(String::new(), |s| format!(" time=\"{s:.3}\""));
    let inner = match entry.kind {
        Kind::Pass => String::new(),
        Kind::Skip => format!("<skipped message=\"{}\"/>", escape(&entry.reason)),
        Kind::Fail | Kind::NotRun => {
            let first = entry.reason.lines().next().unwrap_or("");
            let message = match entry.kind {
                Kind::NotRun => join(&[Kind::NotRun.word(), first]),
                _ => first.to_owned(),
            };
            format!(
                "<failure message=\"{}\">{}</failure>",
                escape(&message),
                escape(&entry.reason)
            )
        }
    };
    format!(
        "<testcase classname=\"{}\" name=\"{}\"{time}>{inner}</testcase>\n",
        escape(suite),
        escape(&name)
    )
}

#[cfg(test)]
mod tests {
    use super::super::tests::sample;
    use super::*;

    #[test]
    fn as_junit() {
        let text = render(&sample());
        for part in [
            "<testsuites name=\"series\" tests=\"7\" failures=\"2\" skipped=\"1\" time=\"125\">",
            "<testsuite name=\"tip+c\" tests=\"3\" failures=\"0\" skipped=\"1\">",
            "<testcase classname=\"series\" name=\"check\"></testcase>",
            "name=\"build: what it touches\" time=\"31.000\">",
            "<failure message=\"error: x\">error: x\n    &quot;a&quot; &lt; b &amp;&amp; c [0m</failure>",
            "<failure message=\"NOT RUN: the budget is spent\">",
            "<skipped message=\"as on the base\"/>",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert_eq!(text.matches("<testcase ").count(), 7);
        assert_eq!(text.matches("</testcase>").count(), 7);
    }
}
