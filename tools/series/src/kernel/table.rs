// SPDX-License-Identifier: GPL-2.0
//! Verdicts side by side: a row for each test case, a column for each kernel.

use super::boot::Run;
use super::ktap::Verdict;

pub fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "pass",
        Verdict::Fail => "FAIL",
        Verdict::Skip => "skip",
        Verdict::CutOff => "CUT OFF",
    }
}

/// The table as text. Its rows are in the order in which the runs name them first.
pub fn render(runs: &[&Run]) -> String {
    let mut rows: Vec<(&str, &str)> = Vec::new();
    for run in runs {
        for result in &run.results {
            for case in &result.cases {
                let row = (result.test.as_str(), case.name.as_str());
                if !rows.contains(&row) {
                    rows.push(row);
                }
            }
        }
    }
    let name = |row: &(&str, &str)| format!("{}: {}", row.0, row.1);
    let width = rows
        .iter()
        .map(|row| name(row).len())
        .max()
        .unwrap_or(0)
        .max(4);
    let mut text = format!("{:width$}", "test");
    for run in runs {
        text += &format!("  {:>12}", run.name);
    }
    text.push('\n');
    for row in &rows {
        text += &format!("{:width$}", name(row));
        for run in runs {
            let verdict = run.verdict(row.0, row.1).map_or("-", word);
            text += &format!("  {verdict:>12}");
        }
        text.push('\n');
    }
    text
}
