// SPDX-License-Identifier: GPL-2.0
//! What failed and was skipped in words, the rest as a number: it is read by people.

use super::{Entry, Kind, Report};

pub fn render(report: &Report) -> String {
    let mut text = format!(
        "## {}\n\nBase {}, tip tree `{}`, {} UTC, {} min {} s.\n",
        report.sum,
        report.base,
        report.tree,
        report.date(),
        report.seconds / 60,
        report.seconds % 60
    );
    if !report.figures.is_empty() {
        text += &format!("\n{}\n", report.figures);
    }
    for (kind, title) in [
        (Kind::Fail, "Failed"),
        (Kind::NotRun, "Not run"),
        (Kind::Skip, "Skipped"),
    ] {
        let entries: Vec<&Entry> = report.entries.iter().filter(|e| e.kind == kind).collect();
        if entries.is_empty() {
            continue;
        }
        text += &format!("\n### {title}\n\n");
        for entry in entries {
            text += &format!("- {}", entry.name());
            text += &match &entry.reason {
                reason if reason.is_empty() => "\n".to_owned(),
                reason if !reason.contains('\n') => format!(": {reason}\n"),
                reason => {
                    let lines: String = reason
                        .lines()
                        .map(|line| format!("      {line}\n"))
                        .collect();
                    format!("\n\n{lines}\n")
                }
            };
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::tests::sample;
    use super::*;

    #[test]
    fn as_markdown() {
        let text = render(&sample());
        for part in [
            "## 4 passed, 2 failed, 1 skipped\n",
            ", 2 min 5 s.\n\nin all: 12 calls, 3 refused\n",
            "### Failed\n\n- patch 2+rust: build: whole kernel\n\n      error: x\n          \"a\"",
            "### Not run\n\n- tip+rust: boot: the budget",
            "### Skipped\n\n- tip+c: iommufd: x: y: as on the base\n",
        ] {
            assert!(text.contains(part), "{part:?} in {text}");
        }
        assert!(!text.contains("test-1"), "what passed is a number: {text}");
    }
}
