// SPDX-License-Identifier: GPL-2.0
//! The figures as tables: for a terminal, as Markdown, and narrow enough for a mail.

use super::limits::Limits;
use super::record::Record;
use super::rows::{Row, heading, number, rows};
use crate::cli::BenchForm;

/// A block for each buffer, a row for each operation.
pub fn render(
    form: BenchForm,
    record: &Record,
    kernels: &[&str],
    buffers: &[&str],
    limits: &Limits,
) -> String {
    let block = match form {
        BenchForm::Text => wide,
        BenchForm::Md => markdown,
        BenchForm::Mail => narrow,
    };
    buffers
        .iter()
        .map(|buffer| {
            let heading = heading(record, kernels, buffer);
            let rows = rows(record, kernels, buffer, limits);
            if rows.is_empty() {
                return heading + "\n\n";
            }
            block(&heading, kernels, &rows) + "\n"
        })
        .collect()
}

/// Two columns for each kernel.
fn wide(heading: &str, kernels: &[&str], rows: &[Row]) -> String {
    let mut text = format!("{heading:22}");
    for kernel in kernels {
        text += &format!(" {kernel:>11} {:>10}", "fixed");
    }
    text += "   ratio    bound    times   target\n";
    for row in rows {
        let mut line = format!("  {:20}", label(row));
        for found in &row.figures {
            let fixed = found
                .and_then(|found| found.fixed)
                .map_or(String::new(), |fixed| format!("{fixed:.0}"));
            line += &format!(" {:>11} {fixed:>10}", cost(found.map(|found| found.cost)));
        }
        line += &format!(
            " {:>7} {:>8} {:>8}   {}",
            ratio(row),
            bound(row),
            times(row),
            target(row)
        );
        text += line.trim_end();
        text.push('\n');
    }
    text
}

/// For the README.
fn markdown(heading: &str, kernels: &[&str], rows: &[Row]) -> String {
    let mut text = format!("| {heading} |");
    for kernel in kernels {
        text += &format!(" {kernel} |");
    }
    text += " ratio | bound | times | target |\n|---|";
    text += &"---:|".repeat(kernels.len() + 3);
    text += "---|\n";
    for row in rows {
        text += &format!("| {} |", label(row));
        for found in &row.figures {
            text += &format!(" {} |", cost(found.map(|found| found.cost)));
        }
        text += &format!(
            " {} | {} | {} | {} |\n",
            ratio(row),
            bound(row),
            times(row),
            target(row)
        );
    }
    text
}

/// So many signs are a ratio of one in a mail.
const BAR: f64 = 8.0;

/// For a cover letter: no more than 72 columns, and nothing but what two kernels differ in. A mail has no pictures: where
/// there is room, the ratio is drawn.
fn narrow(heading: &str, kernels: &[&str], rows: &[Row]) -> String {
    let mut text = format!("{heading:21}");
    for kernel in kernels {
        text += &format!(" {kernel:>9}");
    }
    text += " ratio  bound  times";
    let draws = kernels.len() == 2;
    text += if draws { " 0      1\n" } else { "\n" };
    for row in rows.iter().filter(|row| row.operation != "runs") {
        let mut line = format!("  {:19}", label(row).replace("/sg entry", "/entry"));
        for found in &row.figures {
            line += &format!(" {:>9}", cost(found.map(|found| found.cost)));
        }
        line += &format!(" {:>5} {:>6} {:>6}", ratio(row), bound(row), times(row));
        if let Some(ratio) = row.ratio.filter(|_| draws) {
            let signs = (ratio * BAR).round().clamp(0.0, 10.0) as usize;
            line += &format!(" {}", "#".repeat(signs));
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}

fn label(row: &Row) -> String {
    format!("{} {}", row.operation, row.unit)
}

fn cost(cost: Option<f64>) -> String {
    cost.map_or("-".to_owned(), number)
}

fn ratio(row: &Row) -> String {
    row.ratio
        .map_or(String::new(), |ratio| format!("{ratio:.2}"))
}

fn bound(row: &Row) -> String {
    row.bound.map_or(String::new(), |bound| {
        // Two digits of what is small, and no zeroes behind what is whole.
        let text = format!("{bound:.*}", if bound < 0.1 { 3 } else { 2 });
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    })
}

fn times(row: &Row) -> String {
    row.distance
        .map_or(String::new(), |times| format!("{times:.1}"))
}

fn target(row: &Row) -> String {
    row.target.map_or(String::new(), |target| {
        format!("{target} {}", if row.met { "met" } else { "MISSED" })
    })
}

#[cfg(test)]
mod tests {
    use super::super::rows::tests::record;
    use super::*;

    const KERNELS: [&str; 2] = ["base+c", "tip+rust"];

    fn table(form: BenchForm) -> String {
        render(form, &record(), &KERNELS, &["shmem"], &Limits::load())
    }

    #[test]
    fn a_table() {
        let expected = "\
shmem 64..256 MiB           base+c      fixed    tip+rust      fixed   ratio    bound    times   target
  create /page               265.0       5000       106.0       5000    0.40       12      8.8   120 met
  first_touch whole       20000000                  41347               0.00      596     69.4   60000 met

";
        assert_eq!(table(BenchForm::Text), expected);
    }

    #[test]
    fn a_table_of_markdown() {
        let expected = "\
| shmem 64..256 MiB | base+c | tip+rust | ratio | bound | times | target |
|---|---:|---:|---:|---:|---:|---|
| create /page | 265.0 | 106.0 | 0.40 | 12 | 8.8 | 120 met |
| first_touch whole | 20000000 | 41347 | 0.00 | 596 | 69.4 | 60000 met |

";
        assert_eq!(table(BenchForm::Md), expected);
    }

    #[test]
    fn a_table_for_a_mail() {
        let expected = "\
shmem 64..256 MiB        base+c  tip+rust ratio  bound  times 0      1
  create /page            265.0     106.0  0.40     12    8.8 ###
  first_touch whole    20000000     41347  0.00    596   69.4

";
        assert_eq!(table(BenchForm::Mail), expected);
        let three = ["base+c", "tip+c", "tip+rust"];
        let text = render(
            BenchForm::Mail,
            &record(),
            &three,
            &["shmem"],
            &Limits::load(),
        );
        assert!(text.lines().all(|line| line.len() <= 72), "{text}");
    }

    #[test]
    fn what_was_not_run_has_no_columns() {
        let text = render(
            BenchForm::Md,
            &record(),
            &KERNELS,
            &["thp"],
            &Limits::load(),
        );
        assert_eq!(text, "thp NOT RUN\n\n");
    }

    #[test]
    fn bounds_have_as_many_digits_as_they_need() {
        let limits = Limits::load();
        let bounds: Vec<String> = rows(&record(), &KERNELS, "shmem", &limits)
            .into_iter()
            .zip([12.0, 0.0234])
            .map(|(row, least)| {
                bound(&Row {
                    bound: Some(least),
                    ..row
                })
            })
            .collect();
        assert_eq!(bounds, ["12", "0.023"]);
    }

    #[test]
    fn a_target_that_is_missed_shows() {
        let mut record = record();
        let text = "bench: shmem 256 first_touch 60001\nbench: end\n";
        record.add("tip+rust", text).unwrap();
        let show = |kernels| {
            render(
                BenchForm::Text,
                &record,
                kernels,
                &["shmem"],
                &Limits::load(),
            )
        };
        let text = show(&KERNELS);
        assert!(
            text.contains("120 met") && text.contains("60000 MISSED"),
            "{text}"
        );
        // The C driver has no targets.
        let text = show(&KERNELS[..1]);
        assert!(!text.contains("met") && !text.contains("MISSED"), "{text}");
    }
}
