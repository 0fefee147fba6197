// SPDX-License-Identifier: GPL-2.0
//! The figures as one table: a block for each buffer, a row for each operation, two columns for each kernel.

use super::figures::{OPERATIONS, Operation, Unit, figure};
use super::record::Record;
use super::targets::Targets;

/// A number with as many digits as it deserves.
pub fn number(value: f64) -> String {
    if value.abs() < 10.0 {
        format!("{value:.2}")
    } else if value.abs() < 10_000.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.0}")
    }
}

fn label(op: &Operation) -> String {
    let unit = match (op.name, op.unit) {
        ("metadata", _) => "bytes/page",
        ("runs", _) => "sg entries",
        (_, Unit::Page) => "/page",
        (_, Unit::Whole) => "whole",
        (_, Unit::Touch) => "/touch",
        (_, Unit::Piece) => "/sg entry",
    };
    format!("{} {unit}", op.name)
}

/// The table. Ratios are those of the last kernel to the first; targets are for the Rust driver.
pub fn render(record: &Record, kernels: &[&str], buffers: &[&str], targets: &Targets) -> String {
    let mut text = String::new();
    for buffer in buffers {
        text += &format!("{:22}", heading(record, kernels, buffer));
        for kernel in kernels {
            text += &format!(" {kernel:>11} {:>10}", "fixed");
        }
        text += "   ratio   target\n";
        for op in &OPERATIONS {
            text += &row(record, kernels, buffer, op, targets).unwrap_or_default();
        }
        text.push('\n');
    }
    text
}

/// "shmem 64..256 MiB": what the slope is taken between.
fn heading(record: &Record, kernels: &[&str], buffer: &str) -> String {
    let sizes = kernels
        .iter()
        .map(|kernel| record.sizes(kernel, buffer))
        .find(|sizes| !sizes.is_empty())
        .unwrap_or_default();
    match sizes[..] {
        [.., small, large] => format!("{buffer} {small}..{large} MiB"),
        [only] => format!("{buffer} {only} MiB"),
        [] => format!("{buffer} NOT RUN"),
    }
}

fn row(
    record: &Record,
    kernels: &[&str],
    buffer: &str,
    op: &Operation,
    targets: &Targets,
) -> Option<String> {
    let figures: Vec<_> = kernels
        .iter()
        .map(|kernel| figure(record, kernel, buffer, op))
        .collect();
    if figures.iter().all(Option::is_none) {
        return None;
    }
    let mut text = format!("  {:20}", label(op));
    for found in &figures {
        let cost = found.map_or("-".to_owned(), |found| number(found.cost));
        let fixed = found
            .and_then(|found| found.fixed)
            .map_or(String::new(), |fixed| format!("{fixed:.0}"));
        text += &format!(" {cost:>11} {fixed:>10}");
    }
    let first = figures.first().copied().flatten();
    let last = figures.last().copied().flatten();
    let ratio = match (first, last) {
        (Some(first), Some(last)) if first.cost.abs() >= 0.01 => {
            format!("{:.2}", last.cost / first.cost)
        }
        _ => String::new(),
    };
    text += &format!(" {ratio:>7}");
    let limit = kernels
        .last()
        .filter(|kernel| kernel.ends_with("+rust") && op.unit != Unit::Piece)
        .and_then(|_| targets.limit(buffer, op.name));
    if let (Some(limit), Some(last)) = (limit, last) {
        let verdict = if last.cost <= limit { "met" } else { "MISSED" };
        text += &format!("   {limit} {verdict}");
    }
    Some(text.trim_end().to_owned() + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        let mut record = Record::default();
        for (kernel, cost, touch) in [("base+c", 265, 20_000_000), ("tip+rust", 106, 41_347)] {
            let count = |mib: i64| mib * 256 * cost + 5000;
            let text = format!(
                "bench: shmem 64 create {}\nbench: shmem 256 create {}\n\
                 bench: shmem 256 first_touch {touch}\nbench: end\n",
                count(64),
                count(256)
            );
            record.add(kernel, &text).unwrap();
        }
        record
    }

    #[test]
    fn a_table() {
        let targets = Targets::load();
        let text = render(&record(), &["base+c", "tip+rust"], &["shmem"], &targets);
        let expected = "\
shmem 64..256 MiB           base+c      fixed    tip+rust      fixed   ratio   target
  create /page               265.0       5000       106.0       5000    0.40   120 met
  first_touch whole       20000000                  41347               0.00   60000 met

";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_target_that_is_missed_shows() {
        let targets = Targets::load();
        let mut record = record();
        let text = "bench: shmem 256 first_touch 60001\nbench: end\n";
        record.add("tip+rust", text).unwrap();
        let text = render(&record, &["base+c", "tip+rust"], &["shmem"], &targets);
        assert!(
            text.contains("120 met") && text.contains("60000 MISSED"),
            "{text}"
        );
        // The C driver has no targets.
        let text = render(&record, &["base+c"], &["shmem"], &targets);
        assert!(!text.contains("met") && !text.contains("MISSED"), "{text}");
    }

    #[test]
    fn numbers() {
        assert_eq!(number(0.284), "0.28");
        assert_eq!(number(264.91), "264.9");
        assert_eq!(number(20_000_000.0), "20000000");
    }

    #[test]
    fn a_buffer_that_was_not_run_says_so() {
        let targets = Targets::load();
        let text = render(&Record::default(), &["base+c"], &["thp"], &targets);
        assert!(text.starts_with("thp NOT RUN"));
    }
}
