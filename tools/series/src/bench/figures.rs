// SPDX-License-Identifier: GPL-2.0
//! Figures from counts: the cost of a page is the slope between the two largest sizes, the rest is fixed.

use super::record::Record;

const PAGES_PER_MIB: f64 = 256.0;

/// How many pages the guest touches at random.
const TOUCHES: f64 = 256.0;

/// What a count is divided by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Pages of 4 KiB, by the slope.
    Page,
    /// Nothing: the operation at the largest size.
    Whole,
    /// The touches that it consists of, at the largest size.
    Touch,
    /// Pieces of contiguous memory, at the largest size.
    Piece,
}

/// An operation that gets a row.
#[derive(Debug)]
pub struct Operation {
    /// As the guest calls it.
    pub name: &'static str,
    pub unit: Unit,
    /// A count that is no part of the operation: what the loop itself costs.
    pub less: Option<&'static str>,
}

impl Operation {
    /// As the files of targets and bounds call it.
    pub fn key(&self) -> String {
        match self.unit {
            Unit::Piece => format!("{}_piece", self.name),
            _ => self.name.to_owned(),
        }
    }
}

const fn operation(name: &'static str, unit: Unit) -> Operation {
    Operation {
        name,
        unit,
        less: None,
    }
}

pub const OPERATIONS: [Operation; 21] = [
    operation("create", Unit::Page),
    operation("first_touch", Unit::Whole),
    Operation {
        name: "touch_all",
        unit: Unit::Page,
        less: Some("touch_loop"),
    },
    operation("random_touch", Unit::Touch),
    operation("munmap", Unit::Page),
    operation("first_sync", Unit::Page),
    operation("first_sync", Unit::Piece),
    operation("later_sync", Unit::Page),
    operation("attach", Unit::Page),
    operation("attach", Unit::Piece),
    operation("detach", Unit::Page),
    operation("vmap", Unit::Page),
    operation("vunmap", Unit::Page),
    operation("close", Unit::Page),
    operation("metadata", Unit::Page),
    operation("pin", Unit::Page),
    operation("unpin", Unit::Page),
    operation("pin_fast", Unit::Page),
    operation("unpin_fast", Unit::Page),
    operation("killed", Unit::Whole),
    operation("runs", Unit::Whole),
];

/// What an operation costs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figure {
    /// By the unit.
    pub cost: f64,
    /// What it costs apart from the pages.
    pub fixed: Option<f64>,
}

/// Cost by page and fixed cost of two (MiB, count).
pub fn slope(small: (u32, f64), large: (u32, f64)) -> (f64, f64) {
    let pages = |mib: u32| f64::from(mib) * PAGES_PER_MIB;
    let per_page = (large.1 - small.1) / (pages(large.0) - pages(small.0));
    (per_page, small.1 - per_page * pages(small.0))
}

/// What an operation costs in all, at one size.
pub fn total(record: &Record, kernel: &str, buffer: &str, op: &Operation, mib: u32) -> Option<f64> {
    let all = record.get(kernel, buffer, mib, op.name)?;
    let less = match op.less {
        Some(name) => record.get(kernel, buffer, mib, name)?,
        None => 0,
    };
    Some((all - less) as f64)
}

/// The figure of an operation, if it was measured at enough sizes.
pub fn figure(record: &Record, kernel: &str, buffer: &str, op: &Operation) -> Option<Figure> {
    let sizes = record.sizes(kernel, buffer);
    let count = |mib: u32| total(record, kernel, buffer, op, mib);
    let (&largest, smaller) = sizes.split_last()?;
    match op.unit {
        Unit::Page => {
            let &small = smaller.last()?;
            let (cost, fixed) = slope((small, count(small)?), (largest, count(largest)?));
            Some(Figure {
                cost,
                fixed: Some(fixed),
            })
        }
        Unit::Whole | Unit::Touch | Unit::Piece => {
            let parts = match op.unit {
                Unit::Touch => TOUCHES,
                Unit::Piece => record.get(kernel, buffer, largest, "runs")? as f64,
                _ => 1.0,
            };
            Some(Figure {
                cost: count(largest)? / parts,
                fixed: None,
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(lines: &str) -> Record {
        let mut record = Record::default();
        record.add("k", &format!("{lines}bench: end\n")).unwrap();
        record
    }

    fn find(name: &str) -> &'static Operation {
        OPERATIONS.iter().find(|op| op.name == name).unwrap()
    }

    #[test]
    fn a_line_has_a_slope_and_a_fixed_part() {
        let count = |mib: u32| f64::from(mib) * 256.0 * 120.0 + 5000.0;
        assert_eq!(slope((64, count(64)), (256, count(256))), (120.0, 5000.0));
    }

    #[test]
    fn the_two_largest_sizes_count() {
        // 10 a page from 16 MiB to 64 MiB; what 1 MiB costs does not matter.
        let record = record(
            "bench: b 1 create 999999\nbench: b 64 create 164840\nbench: b 16 create 41960\n",
        );
        let figure = figure(&record, "k", "b", find("create")).unwrap();
        assert_eq!(figure.cost, 10.0);
        assert_eq!(figure.fixed, Some(1000.0));
    }

    #[test]
    fn the_loop_is_not_the_kernels() {
        let record = record(
            "bench: b 16 touch_all 8192\nbench: b 16 touch_loop 4096\n\
             bench: b 32 touch_all 16384\nbench: b 32 touch_loop 8192\n",
        );
        assert_eq!(
            figure(&record, "k", "b", find("touch_all")).unwrap().cost,
            1.0
        );
    }

    #[test]
    fn wholes_and_touches_are_those_of_the_largest_size() {
        let record = record(
            "bench: b 16 first_touch 1\nbench: b 32 first_touch 2\nbench: b 32 random_touch 512\n",
        );
        assert_eq!(
            figure(&record, "k", "b", find("first_touch")).unwrap().cost,
            2.0
        );
        assert_eq!(
            figure(&record, "k", "b", find("random_touch"))
                .unwrap()
                .cost,
            2.0
        );
    }

    #[test]
    fn the_first_sync_is_paid_for_each_piece() {
        let record = record("bench: b 16 first_sync 300\nbench: b 16 runs 3\n");
        let op = OPERATIONS.iter().find(|op| op.unit == Unit::Piece).unwrap();
        assert_eq!(figure(&record, "k", "b", op).unwrap().cost, 100.0);
    }

    #[test]
    fn one_size_has_no_slope() {
        let record = record("bench: b 16 create 1\n");
        assert_eq!(figure(&record, "k", "b", find("create")), None);
        assert_eq!(figure(&record, "k", "other", find("create")), None);
    }
}
