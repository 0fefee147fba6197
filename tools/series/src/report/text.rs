// SPDX-License-Identifier: GPL-2.0
//! As `test` printed it.

use super::Report;

pub fn render(report: &Report) -> String {
    let mut text = format!("base {}, tip tree {}\n", report.base, report.tree);
    for entry in &report.entries {
        text += &format!("{entry}\n");
    }
    if !report.figures.is_empty() {
        text += &format!("{}\n", report.figures);
    }
    text + &report.sum + "\n"
}

#[cfg(test)]
mod tests {
    use super::super::tests::sample;
    use super::*;

    #[test]
    fn as_text() {
        let text = render(&sample());
        assert!(
            text.contains("\npass  tip+c: udmabuf: test-1\nskip  tip+c: iommufd: x: y: as on"),
            "{text}"
        );
        assert!(
            text.ends_with("\nin all: 12 calls, 3 refused\n4 passed, 2 failed, 1 skipped\n"),
            "{text}"
        );
    }
}
