// SPDX-License-Identifier: GPL-2.0
//! Where in `series.toml` something stands that is wrong with it, shown as toml shows it.
//!
//! A cause says that in words: `kernel.guests "cma": no test "pin"`. The tables that it names first are looked into, and
//! in those, one word behind the other.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

type Value<'a> = Spanned<DeValue<'a>>;

/// The line that a cause is about, with a caret below what it names last.
pub fn shown(text: &str, cause: &str) -> Option<String> {
    let span = place(text, cause)?;
    let start = text[..span.start]
        .rfind('\n')
        .map_or(0, |newline| newline + 1);
    let number = text[..span.start].matches('\n').count() + 1;
    let line = text[start..].lines().next()?;
    let column = text[start..span.start].chars().count();
    let width = text[span].chars().count();
    let margin = " ".repeat(number.to_string().len());
    Some(format!(
        "at line {number}, column {}\n{margin} |\n{number} | {line}\n{margin} | {}{}",
        column + 1,
        " ".repeat(column),
        "^".repeat(width)
    ))
}

fn place(text: &str, cause: &str) -> Option<Range<usize>> {
    let document = DeTable::parse(text).ok()?;
    let whole = document.span();
    let document = Spanned::new(whole, DeValue::Table(document.into_inner()));
    let tables = cause
        .split(' ')
        .next()
        .and_then(|path| inside(&document, path));
    let tables = tables.unwrap_or(&document);

    let mut found = None;
    // Where the last word was found.
    let mut table: Option<&DeTable> = None;
    for (i, part) in cause.split('"').enumerate() {
        if i % 2 == 1 {
            let beside = table.and_then(|table| find(table.values(), table, part));
            let first = || find([tables].into_iter(), document.get_ref().as_table()?, part);
            if let Some((span, holder)) = beside.or_else(first) {
                (found, table) = (Some(span), Some(holder));
            }
        } else if let Some((before, _)) = part.split_once(" = ") {
            // A number has no quotes: timeout = 9999.
            let key = before.rsplit(' ').next()?;
            let value = table
                .or(document.get_ref().as_table())
                .and_then(|table| table.get(key));
            found = value.map(Spanned::span).or(found);
        }
    }
    found
}

/// The value at "kernel.guests".
fn inside<'a, 'b>(document: &'a Value<'b>, path: &str) -> Option<&'a Value<'b>> {
    let mut at = document;
    for key in path.split('.') {
        at = at.get_ref().as_table()?.get(key)?;
    }
    Some(at)
}

/// The string or key that is this word, the least deep one, and the table that it is in.
fn find<'a, 'b: 'a>(
    values: impl Iterator<Item = &'a Value<'b>>,
    holder: &'a DeTable<'b>,
    word: &str,
) -> Option<(Range<usize>, &'a DeTable<'b>)> {
    let mut level: Vec<(&DeTable, &Value)> = values.map(|value| (holder, value)).collect();
    while !level.is_empty() {
        let is_it = |(_, value): &&(_, &Value)| value.get_ref().as_str() == Some(word);
        if let Some((holder, value)) = level.iter().find(is_it) {
            return Some((value.span(), holder));
        }
        let mut below = Vec::new();
        for (holder, value) in level {
            match value.get_ref() {
                DeValue::Array(items) => below.extend(items.iter().map(|item| (holder, item))),
                DeValue::Table(table) => {
                    if let Some((key, _)) = table.get_key_value(word) {
                        return Some((key.span(), table));
                    }
                    below.extend(table.values().map(|value| (table, value)));
                }
                _ => (),
            }
        }
        level = below;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
base = "primary"

[[kernel.tests]]
name = "nope"

[[kernel.tests]]
name = "slow"
timeout = 9999
runs = ["nope", "-ä", "$x"]

[[kernel.complaints]]
lines = ["BUG: all of it"]
tests = ["slow", "gone"]

[[kernel.guests]]
name = "cma"
tests = { liveupdate = 0, pin = 0 }

[[kernel.guests]]
name = "liveupdate"
memory = "3 G"
tests = { nope = 0 }
"#;

    /// The number of the line, and what is underlined.
    fn underlined(cause: &str) -> Option<(usize, &'static str)> {
        let span = place(TEXT, cause)?;
        Some((TEXT[..span.start].matches('\n').count() + 1, &TEXT[span]))
    }

    #[test]
    fn what_a_cause_names_last_is_underlined_where_it_stands() {
        for (cause, line, word) in [
            (
                "base = \"primary\" names none of the bases: x",
                2,
                "\"primary\"",
            ),
            (
                "kernel.tests \"slow\": timeout = 9999 is not from 1 to 500 seconds",
                9,
                "9999",
            ),
            (
                "kernel.tests \"slow\": runs: \"$x\" has more than words",
                10,
                "\"$x\"",
            ),
            (
                "kernel.tests \"slow\": \"none\" is no word of it",
                8,
                "\"slow\"",
            ),
            ("kernel.guests \"cma\": no test \"pin\"", 18, "pin"),
            ("kernel.guests \"liveupdate\": no test \"nope\"", 23, "nope"),
            (
                "kernel.complaints \"BUG: all of it\": no test \"gone\"",
                14,
                "\"gone\"",
            ),
            (
                "kernel.guests \"liveupdate\": memory = \"3 G\" is no size",
                22,
                "\"3 G\"",
            ),
            ("two of kernel.tests have the name \"slow\"", 8, "\"slow\""),
        ] {
            assert_eq!(underlined(cause), Some((line, word)), "{cause}");
        }
        assert_eq!(underlined("nothing \"of\" it"), None);
    }

    #[test]
    fn the_caret_stands_below_the_word() {
        let shown = shown(TEXT, "kernel.tests \"slow\": \"$x\" is wrong").unwrap();
        let below = "at line 10, column 23\n   |\n10 | runs = [\"nope\", \"-ä\", \"$x\"]\n   |                       ^^^^";
        assert_eq!(shown, below);
    }
}
