// SPDX-License-Identifier: GPL-2.0
//! What the table says of an operation on a buffer, before anybody decides how that looks.

use serde::Serialize;

use super::figures::{Figure, OPERATIONS, Operation, Unit, figure};
use super::limits::Limits;
use super::record::Record;

/// One operation on one buffer.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    pub operation: String,
    /// What the cost is divided by, in words.
    pub unit: &'static str,
    /// Of each kernel.
    pub figures: Vec<Option<Figure>>,
    /// The last kernel's cost as a part of the first one's.
    pub ratio: Option<f64>,
    /// What any implementation needs.
    pub bound: Option<f64>,
    /// How many times the bound the last kernel needs.
    pub distance: Option<f64>,
    /// What the Rust driver may need, if the last kernel has it.
    pub target: Option<f64>,
    /// Whether it does not need more.
    pub met: bool,
}

/// A figure as bench.json has it.
#[derive(Debug, PartialEq, Serialize)]
pub struct Entry {
    kernel: String,
    buffer: String,
    operation: String,
    unit: &'static str,
    cost: f64,
    fixed: Option<f64>,
    bound: Option<f64>,
    distance: Option<f64>,
    target: Option<f64>,
}

/// The rows of a buffer. An operation that no kernel did has none.
pub fn rows(record: &Record, kernels: &[&str], buffer: &str, limits: &Limits) -> Vec<Row> {
    OPERATIONS
        .iter()
        .filter_map(|op| row(record, kernels, buffer, op, limits))
        .collect()
}

fn row(
    record: &Record,
    kernels: &[&str],
    buffer: &str,
    op: &Operation,
    limits: &Limits,
) -> Option<Row> {
    let figures: Vec<_> = kernels
        .iter()
        .map(|kernel| figure(record, kernel, buffer, op))
        .collect();
    if figures.iter().all(Option::is_none) {
        return None;
    }
    let first = figures.first().copied().flatten();
    let last = figures.last().copied().flatten();
    let ratio = match (first, last) {
        (Some(first), Some(last)) if first.cost.abs() >= 0.01 => Some(last.cost / first.cost),
        _ => None,
    };
    let bound = limits.bound(buffer, op);
    let target = kernels
        .last()
        .filter(|kernel| kernel.ends_with("+rust"))
        .and_then(|_| limits.target(buffer, op))
        .filter(|_| last.is_some());
    Some(Row {
        operation: op.name.to_owned(),
        unit: unit(op),
        ratio,
        bound,
        distance: distance(last, bound),
        target,
        met: matches!((target, last), (Some(target), Some(last)) if last.cost <= target),
        figures,
    })
}

fn distance(figure: Option<Figure>, bound: Option<f64>) -> Option<f64> {
    match (figure, bound) {
        (Some(figure), Some(bound)) if bound > 0.0 => Some(figure.cost / bound),
        _ => None,
    }
}

/// Every figure, for other programs.
pub fn entries(record: &Record, kernels: &[&str], buffers: &[&str], limits: &Limits) -> Vec<Entry> {
    let mut entries = Vec::new();
    for kernel in kernels {
        for buffer in buffers {
            for op in &OPERATIONS {
                let Some(found) = figure(record, kernel, buffer, op) else {
                    continue;
                };
                let bound = limits.bound(buffer, op);
                entries.push(Entry {
                    kernel: (*kernel).to_owned(),
                    buffer: (*buffer).to_owned(),
                    operation: op.name.to_owned(),
                    unit: unit(op),
                    cost: found.cost,
                    fixed: found.fixed,
                    bound,
                    distance: distance(Some(found), bound),
                    target: limits.target(buffer, op),
                });
            }
        }
    }
    entries
}

fn unit(op: &Operation) -> &'static str {
    match (op.name, op.unit) {
        ("metadata", _) => "bytes/page",
        ("runs", _) => "sg entries",
        (_, Unit::Page) => "/page",
        (_, Unit::Whole) => "whole",
        (_, Unit::Touch) => "/touch",
        (_, Unit::Piece) => "/sg entry",
    }
}

/// "shmem 64..256 MiB": what the slope is taken between.
pub fn heading(record: &Record, kernels: &[&str], buffer: &str) -> String {
    let sizes = kernels
        .iter()
        .map(|kernel| record.sizes(kernel, buffer))
        .find(|sizes| !sizes.is_empty())
        .unwrap_or_default();
    match sizes[..] {
        [.., small, large] => format!("{buffer} {small}..{large} MiB"),
        [only] => format!("{buffer} {only} MiB"),
        [] if buffer == "hugetlb-1g" => format!("{buffer} NOT RUN: --sizes 1024,4096"),
        [] => format!("{buffer} NOT RUN"),
    }
}

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

#[cfg(test)]
pub mod tests {
    use super::*;

    /// Creation at 265 and 106 a page, and a first touch.
    pub fn record() -> Record {
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
    fn ratio_distance_and_target_are_those_of_the_last_kernel() {
        let limits = Limits::load();
        let rows = rows(&record(), &["base+c", "tip+rust"], "shmem", &limits);
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[0].ratio, Some(0.4));
        assert_eq!(rows[0].bound, Some(12.0));
        assert_eq!(rows[0].distance, Some(106.0 / 12.0));
        assert_eq!((rows[0].target, rows[0].met), (Some(120.0), true));
        // The C driver has no targets.
        let rows = super::rows(&record(), &["base+c"], "shmem", &limits);
        assert_eq!((rows[0].target, rows[0].met), (None, false));
        assert_eq!(rows[0].distance, Some(265.0 / 12.0));
    }

    #[test]
    fn a_target_that_is_missed_shows() {
        let mut record = record();
        let text = "bench: shmem 256 first_touch 60001\nbench: end\n";
        record.add("tip+rust", text).unwrap();
        let rows = rows(&record, &["base+c", "tip+rust"], "shmem", &Limits::load());
        assert!(rows[0].met && !rows[1].met && rows[1].target.is_some());
    }

    #[test]
    fn nothing_is_so_many_times_of_nothing() {
        let cost = Figure {
            cost: 1.0,
            fixed: None,
        };
        assert_eq!(distance(Some(cost), Some(0.0)), None);
        assert_eq!(distance(Some(cost), Some(0.5)), Some(2.0));
    }

    #[test]
    fn every_figure_is_an_entry() {
        let entries = entries(
            &record(),
            &["base+c", "tip+rust"],
            &["shmem"],
            &Limits::load(),
        );
        assert_eq!(entries.len(), 4);
        assert_eq!(entries[2].kernel, "tip+rust");
        assert_eq!(entries[2].cost, 106.0);
        assert_eq!(entries[2].distance, Some(106.0 / 12.0));
    }

    #[test]
    fn numbers() {
        assert_eq!(number(0.284), "0.28");
        assert_eq!(number(264.91), "264.9");
        assert_eq!(number(20_000_000.0), "20000000");
    }

    #[test]
    fn a_buffer_that_was_not_run_says_so() {
        let head = |buffer| heading(&Record::default(), &["base+c"], buffer);
        assert_eq!(head("thp"), "thp NOT RUN");
        assert!(head("hugetlb-1g").contains("--sizes 1024,4096"));
    }
}
