// SPDX-License-Identifier: GPL-2.0
//! The figures as pictures: bars for each operation, and how operations grow with the size of a buffer.

use super::drawing::{Anchor, BLACK, Colour, Drawing, GREY, Style};
use super::figures::{OPERATIONS, Unit, figure, total};
use super::record::Record;
use super::rows::number;

const COLOURS: [Colour; 3] = [
    Colour(0x9a, 0xa5, 0xb1),
    Colour(0x4a, 0x7f, 0xb5),
    Colour(0xd9, 0x82, 0x2b),
];

/// How bars are laid out: columns of buffers next to each other.
const COLUMNS: usize = 3;
const COLUMN: f64 = 430.0;
const LABEL: f64 = 120.0;
const BAR: f64 = 13.0;
/// The length of a bar that stands for the first kernel.
const FULL: f64 = 150.0;
/// Longer bars are cut off; their number says how long they would be.
const MOST: f64 = 1.5;

/// Bars for each operation, as parts of what the first kernel needs.
pub fn bars(record: &Record, kernels: &[&str], buffers: &[&str]) -> Drawing {
    let mut drawing = Drawing::default();
    legend(
        &mut drawing,
        kernels,
        "instructions by page of 4 KiB, or whole",
    );
    let mut ends = [48.0; COLUMNS];
    for buffer in buffers {
        // Where there is most room.
        let column = (0..COLUMNS).fold(0, |a, b| if ends[b] < ends[a] { b } else { a });
        let x = 12.0 + column as f64 * COLUMN;
        ends[column] = block(&mut drawing, record, kernels, buffer, x, ends[column]);
    }
    drawing
}

/// The bars of one buffer. Returns where they end.
fn block(
    drawing: &mut Drawing,
    record: &Record,
    kernels: &[&str],
    buffer: &str,
    x: f64,
    start: f64,
) -> f64 {
    let mut y = start + 22.0;
    for op in OPERATIONS
        .iter()
        .filter(|op| op.name != "runs" && op.unit != Unit::Piece)
    {
        let costs: Vec<Option<f64>> = kernels
            .iter()
            .map(|kernel| figure(record, kernel, buffer, op).map(|found| found.cost))
            .collect();
        let Some(Some(full)) = costs.first().copied() else {
            continue;
        };
        drawing.word(x + 8.0, y + 11.0, op.name, Style::Normal, Anchor::Start);
        for (i, cost) in costs.iter().enumerate() {
            let Some(cost) = cost else { continue };
            let part = if full > 0.0 { cost / full } else { 0.0 };
            let width = part.clamp(0.0, MOST) * FULL;
            let colour = COLOURS[i % COLOURS.len()];
            drawing.rectangle(x + LABEL, y, width, BAR - 2.0, colour);
            let end = x + LABEL + width + 5.0;
            drawing.word(end, y + 9.5, number(*cost), Style::Small, Anchor::Start);
            y += BAR;
        }
        y += 6.0;
    }
    if y == start + 22.0 {
        return start;
    }
    drawing.word(x, start + 14.0, buffer, Style::Heading, Anchor::Start);
    y + 8.0
}

fn legend(drawing: &mut Drawing, kernels: &[&str], title: &str) {
    drawing.word(12.0, 22.0, title, Style::Heading, Anchor::Start);
    for (i, kernel) in kernels.iter().enumerate() {
        let x = 400.0 + 130.0 * i as f64;
        drawing.rectangle(x, 12.0, 12.0, 12.0, COLOURS[i % COLOURS.len()]);
        drawing.word(x + 18.0, 22.0, *kernel, Style::Normal, Anchor::Start);
    }
}

/// What grows, in the order in which it happens to a buffer.
const GROWING: [&str; 7] = [
    "create",
    "first_touch",
    "touch_all",
    "munmap",
    "first_sync",
    "vmap",
    "close",
];
const PANEL: (f64, f64) = (170.0, 120.0);
const GAP: (f64, f64) = (52.0, 52.0);

/// A panel for each buffer and operation: whole instructions over MiB, both on log axes.
pub fn growth(record: &Record, kernels: &[&str], buffers: &[&str]) -> Drawing {
    let mut drawing = Drawing::default();
    legend(&mut drawing, kernels, "instructions over size, log axes");
    let mut y = 70.0;
    for buffer in buffers {
        let mut x = 60.0;
        for name in GROWING {
            if panel(&mut drawing, record, kernels, buffer, name, (x, y)) {
                x += PANEL.0 + GAP.0;
            }
        }
        if x > 60.0 {
            y += PANEL.1 + GAP.1;
        }
    }
    drawing
}

/// Returns false where there is nothing to show.
fn panel(
    drawing: &mut Drawing,
    record: &Record,
    kernels: &[&str],
    buffer: &str,
    name: &str,
    (x, y): (f64, f64),
) -> bool {
    let Some(op) = OPERATIONS.iter().find(|op| op.name == name) else {
        return false;
    };
    let curves: Vec<Vec<(f64, f64)>> = kernels
        .iter()
        .map(|kernel| {
            let count = |mib: u32| total(record, kernel, buffer, op, mib);
            let sizes = record.sizes(kernel, buffer).into_iter();
            sizes
                .filter_map(|mib| Some((f64::from(mib).log2(), count(mib)?)))
                .filter(|point| point.1 > 0.0)
                .map(|(mib, count)| (mib, count.log10()))
                .collect()
        })
        .collect();
    let points = || curves.iter().flatten();
    let bounds = |value: fn(&(f64, f64)) -> f64| {
        let least = points().map(value).fold(f64::INFINITY, f64::min);
        let most = points().map(value).fold(f64::NEG_INFINITY, f64::max);
        (least, most)
    };
    let (small, large) = bounds(|point| point.0);
    let (low, high) = bounds(|point| point.1);
    if large <= small {
        return false;
    }
    let (low, high) = (low.floor(), high.ceil().max(low.floor() + 1.0));
    let place = |point: &(f64, f64)| {
        (
            x + (point.0 - small) / (large - small) * PANEL.0,
            y + (high - point.1) / (high - low) * PANEL.1,
        )
    };

    let title = format!("{buffer}: {name}");
    drawing.word(x, y - 8.0, title, Style::Heading, Anchor::Start);
    let mut decade = low;
    while decade <= high {
        let (_, level) = place(&(small, decade));
        drawing.line(vec![(x, level), (x + PANEL.0, level)], 1.0, GREY);
        drawing.word(
            x - 4.0,
            level + 4.0,
            power(decade),
            Style::Small,
            Anchor::End,
        );
        decade += 1.0;
    }
    drawing.line(
        vec![(x, y), (x, y + PANEL.1), (x + PANEL.0, y + PANEL.1)],
        1.0,
        BLACK,
    );
    let under = y + PANEL.1 + 15.0;
    drawing.word(x, under, size(small), Style::Small, Anchor::Start);
    drawing.word(x + PANEL.0, under, size(large), Style::Small, Anchor::End);
    for (i, curve) in curves.iter().enumerate() {
        let colour = COLOURS[i % COLOURS.len()];
        drawing.line(curve.iter().map(place).collect(), 2.0, colour);
        for point in curve {
            let (x, y) = place(point);
            drawing.rectangle(x - 2.5, y - 2.5, 5.0, 5.0, colour);
        }
    }
    true
}

/// "10k" for 10 to the power of 4.
fn power(decade: f64) -> String {
    let decade = decade as usize;
    let unit = ["", "k", "M", "G", "T"][(decade / 3).min(4)];
    format!("1{}{unit}", "0".repeat(decade % 3))
}

/// "4 GiB" for 2 to the power of 12 MiB.
fn size(log_mib: f64) -> String {
    let mib = log_mib.exp2().round() as u64;
    match mib {
        0..1024 => format!("{mib} MiB"),
        _ => format!("{} GiB", mib / 1024),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        let mut record = Record::default();
        for (kernel, touch) in [("base+c", 1000), ("tip+rust", 500)] {
            let text = format!(
                "bench: thp 16 first_touch {touch}\nbench: thp 1024 first_touch {touch}\nbench: end\n"
            );
            record.add(kernel, &text).unwrap();
        }
        record
    }

    #[test]
    fn a_bar_for_each_kernel() {
        let picture = bars(&record(), &["base+c", "tip+rust"], &["thp", "shmem"]).svg();
        assert!(picture.contains("width=\"150.0\"") && picture.contains("width=\"75.0\""));
        assert_eq!(picture.matches("first_touch").count(), 1);
        assert!(picture.contains(">thp<") && !picture.contains(">shmem<"));
    }

    #[test]
    fn a_curve_for_each_kernel() {
        let picture = growth(&record(), &["base+c", "tip+rust"], &["thp", "shmem"]).svg();
        assert_eq!(picture.matches("stroke-width=\"2\"").count(), 2);
        assert!(picture.contains(">thp: first_touch<") && picture.contains(">1 GiB<"));
        // A factor of two is that part of a decade.
        assert!(picture.contains(">100<") && picture.contains(">1k<"));
        // 1000 is at the top of the panel, 500 lower by 0.301 of its height.
        assert!(picture.contains("60.0,70.0 230.0,70.0"));
        assert!(picture.contains("60.0,106.1 230.0,106.1"), "{picture}");
    }

    #[test]
    fn one_size_does_not_grow() {
        let mut record = Record::default();
        let text = "bench: thp 16 create 5\nbench: end\n";
        record.add("base+c", text).unwrap();
        let picture = growth(&record, &["base+c"], &["thp"]).svg();
        assert!(!picture.contains("polyline"));
    }
}
