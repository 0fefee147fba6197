// SPDX-License-Identifier: GPL-2.0
//! `bench --wall`: ratios of time, where an accelerator works.
//!
//! Time differs from run to run as instructions do not. So the first and the last kernel are booted in turn, each pair
//! gives one ratio for each operation, and the table shows the least, the middle one and the most.

use super::figures::{OPERATIONS, Unit, figure};
use super::record::Record;

/// How often each kernel is booted.
pub const ROUNDS: usize = 5;

/// What one pair of boots measured: the first kernel's record and the last one's, each under the name "wall".
pub struct Pair {
    pub first: Record,
    pub last: Record,
}

/// Least, middle and most of the ratios of an operation, and how many there are.
#[derive(Debug, PartialEq)]
struct Spread {
    least: f64,
    middle: f64,
    most: f64,
    ratios: usize,
}

fn spread(mut ratios: Vec<f64>) -> Option<Spread> {
    ratios.sort_by(f64::total_cmp);
    Some(Spread {
        least: *ratios.first()?,
        middle: ratios[ratios.len() / 2],
        most: *ratios.last()?,
        ratios: ratios.len(),
    })
}

/// A row for each operation.
pub fn render(pairs: &[Pair], names: (&str, &str), buffers: &[&str]) -> String {
    let mut text = format!(
        "time of {} as a part of that of {}, {} pairs\n",
        names.1,
        names.0,
        pairs.len()
    );
    for buffer in buffers {
        text += &format!(
            "{buffer:22} {:>7} {:>7} {:>7} {:>7}\n",
            "least", "median", "most", "pairs"
        );
        for op in OPERATIONS
            .iter()
            .filter(|op| !["runs", "metadata"].contains(&op.name) && op.unit != Unit::Piece)
        {
            let ratios = pairs
                .iter()
                .filter_map(|pair| {
                    let first = figure(&pair.first, "wall", buffer, op)?.cost;
                    let last = figure(&pair.last, "wall", buffer, op)?.cost;
                    // A difference between two sizes that is lost in noise is no cost.
                    (first > 0.0 && last > 0.0).then_some(last / first)
                })
                .collect();
            if let Some(found) = spread(ratios) {
                text += &format!(
                    "  {:20} {:>7.2} {:>7.2} {:>7.2} {:>7}\n",
                    op.name, found.least, found.middle, found.most, found.ratios
                );
            }
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(first: i64, last: i64) -> Pair {
        let record = |ticks: i64| {
            let mut record = Record::default();
            let text = format!("bench: thp 16 first_touch {ticks}\nbench: end\n");
            record.add("wall", &text).unwrap();
            record
        };
        Pair {
            first: record(first),
            last: record(last),
        }
    }

    #[test]
    fn ratios_are_those_of_pairs() {
        // A machine that gets slower: the ratio of each pair tells, those of sums would not.
        let pairs = [pair(100, 50), pair(1000, 250), pair(10_000, 9000)];
        let text = render(&pairs, ("base+c", "tip+rust"), &["thp"]);
        assert!(text.starts_with("time of tip+rust as a part of that of base+c, 3 pairs"));
        assert!(
            text.contains("first_touch             0.25    0.50    0.90       3"),
            "{text}"
        );
    }

    #[test]
    fn what_is_lost_in_noise_is_left_out() {
        let pairs = [pair(100, 50), pair(100, -3), pair(-5, 40)];
        let text = render(&pairs, ("base+c", "tip+rust"), &["thp"]);
        assert!(
            text.contains("first_touch             0.50    0.50    0.50       1"),
            "{text}"
        );
    }

    #[test]
    fn nothing_has_no_spread() {
        assert_eq!(spread(Vec::new()), None);
    }
}
