// SPDX-License-Identifier: GPL-2.0
//! The figures as a picture: bars for each operation, as parts of what the first kernel needs.

use super::figures::{OPERATIONS, Unit, figure};
use super::record::Record;
use super::table::number;

const COLOURS: [&str; 3] = ["#9aa5b1", "#4a7fb5", "#d9822b"];
const BAR: f64 = 14.0;
const LEFT: f64 = 190.0;
/// The length of a bar that stands for the first kernel.
const FULL: f64 = 320.0;
/// Longer bars are cut off; their number says how long they would be.
const MOST: f64 = 1.5;

/// An SVG image.
pub fn svg(record: &Record, kernels: &[&str], buffers: &[&str]) -> String {
    let mut body = String::new();
    let mut y = 24.0;
    for (i, kernel) in kernels.iter().enumerate() {
        let x = LEFT + 130.0 * i as f64;
        let colour = COLOURS[i % COLOURS.len()];
        body += &format!(
            "<rect x=\"{x}\" y=\"{}\" width=\"12\" height=\"12\" fill=\"{colour}\"/>\
             <text x=\"{}\" y=\"{y}\">{kernel}</text>\n",
            y - 11.0,
            x + 17.0
        );
    }
    for buffer in buffers {
        y += 34.0;
        body += &format!("<text x=\"10\" y=\"{y}\" font-weight=\"bold\">{buffer}</text>\n");
        y += 8.0;
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
            body += &format!("<text x=\"24\" y=\"{}\">{}</text>\n", y + 12.0, op.name);
            for (i, cost) in costs.iter().enumerate() {
                let Some(cost) = cost else { continue };
                let part = if full > 0.0 { cost / full } else { 0.0 };
                let width = part.clamp(0.0, MOST) * FULL;
                body += &format!(
                    "<rect x=\"{LEFT}\" y=\"{y}\" width=\"{width:.1}\" height=\"{}\" fill=\"{}\"/>\
                     <text x=\"{:.1}\" y=\"{}\" font-size=\"11\">{}</text>\n",
                    BAR - 2.0,
                    COLOURS[i % COLOURS.len()],
                    LEFT + width + 5.0,
                    y + 10.0,
                    number(*cost)
                );
                y += BAR;
            }
            y += 6.0;
        }
    }
    let (width, height) = (LEFT + FULL * MOST + 90.0, y + 10.0);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n{body}</svg>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_for_each_kernel() {
        let mut record = Record::default();
        for (kernel, touch) in [("base+c", 1000), ("tip+rust", 500)] {
            let text = format!("bench: thp 16 first_touch {touch}\nbench: end\n");
            record.add(kernel, &text).unwrap();
        }
        let picture = svg(&record, &["base+c", "tip+rust"], &["thp", "shmem"]);
        assert!(picture.starts_with("<svg ") && picture.ends_with("</svg>\n"));
        assert!(picture.contains("width=\"320.0\"") && picture.contains("width=\"160.0\""));
        assert_eq!(picture.matches("first_touch").count(), 1);
    }
}
