// SPDX-License-Identifier: GPL-2.0
//! What the tools of a build complained about, as a set of "file: text" that can be compared with another build's.
//!
//! There are no line numbers and no offsets in it: those move with every patch.

use std::collections::BTreeSet;

use crate::error::{Error, Result};

/// The complaints in the log of a build that went well: what calls itself an error there is sparse's, which ends with 0.
pub fn find(log: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut lines = log.lines().peekable();
    while let Some(line) = lines.next() {
        let Some((place, text)) = split(line) else {
            continue;
        };
        if text.ends_with(" emitted") {
            // rustc adds up what it has said.
            continue;
        }
        let next = lines
            .peek()
            .and_then(|next| next.trim().strip_prefix("--> "));
        found.insert(without_offsets(&match next {
            // rustc says where on a line of its own.
            Some(place) if !place.is_empty() => format!("{}: {text}", file(place)),
            _ if place.is_empty() => of_kernel_doc(text),
            _ => format!("{}: {text}", file(place)),
        }));
    }
    found
}

/// An error that names what the base does not complain about.
pub fn none_new(place: &str, base: &BTreeSet<String>, here: &BTreeSet<String>) -> Result<()> {
    let new: Vec<&str> = here.difference(base).map(String::as_str).collect();
    if new.is_empty() {
        return Ok(());
    }
    Err(Error::finding(place, "new warnings").detail(new.join("\n")))
}

/// The objects of the files that are complained about, if each complaint is about a file in C.
pub fn objects(warnings: &BTreeSet<String>) -> Option<Vec<String>> {
    let object = |warning: &String| {
        let (file, _) = warning.split_once(": ")?;
        Some(format!("{}.o", file.strip_suffix(".c")?))
    };
    let objects: Option<BTreeSet<String>> = warnings.iter().map(object).collect();
    Some(objects?.into_iter().collect())
}

/// The place in front of the word that says what kind of line this is, and what is behind it.
fn split(line: &str) -> Option<(&str, &str)> {
    if let Some((_, text)) = line
        .strip_prefix("warning[")
        .and_then(|l| l.split_once("]: "))
    {
        return Some(("", text.trim()));
    }
    ["warning: ", "Warning: ", "WARNING: ", "error: "]
        .iter()
        .find_map(|word| line.split_once(word))
        .map(|(place, text)| (place.trim(), text.trim()))
        // "a warning: " in the middle of a sentence follows another word.
        .filter(|(place, _)| place.is_empty() || place.ends_with(':'))
}

fn file(place: &str) -> &str {
    let name = place.split(':').next().unwrap_or("");
    name.trim_start_matches("/src/").trim_start_matches("./")
}

/// kernel-doc and modpost have the place, if any, in front of the text: "mm/gup.c:12 Excess parameter".
fn of_kernel_doc(text: &str) -> String {
    match text.split_once(' ') {
        Some((place, rest)) if place.contains('/') && place.contains(':') => {
            format!("{}: {}", file(place), rest.trim())
        }
        _ => format!(": {text}"),
    }
}

/// objtool and modpost say where in a function: "f+0x12".
fn without_offsets(text: &str) -> String {
    let mut parts = text.split("+0x");
    let mut all = parts.next().unwrap_or("").to_owned();
    for part in parts {
        all += part.trim_start_matches(|c: char| c.is_ascii_hexdigit());
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(log: &str) -> Vec<String> {
        find(log).into_iter().collect()
    }

    #[test]
    fn files_in_c_can_be_compiled_by_themselves() {
        let set = |lines: &[&str]| lines.iter().map(|&line| line.to_owned()).collect();
        let in_c = set(&["lib/a.c: text: more", "lib/a.c: other", "ipc/sem.c: x"]);
        assert_eq!(
            objects(&in_c).unwrap(),
            ["ipc/sem.o".to_owned(), "lib/a.o".to_owned()]
        );
        for other in ["mm/internal.h: x", "rust/kernel/lib.rs: x", ": modpost"] {
            assert_eq!(objects(&set(&["lib/a.c: x", other])), None, "{other}");
        }
    }

    #[test]
    fn compilers_and_objtool_have_no_line_numbers() {
        let log = "  CC mm/gup.o\n/src/mm/gup.c:12:3: warning: unused variable 'x'\n\
                   mm/gup.c:99:1: warning: unused variable 'x'\nvmlinux.o: warning: objtool: f+0x1a: falls through\n\
                   vmlinux.o: warning: objtool: f+0x2f: falls through\n";
        assert_eq!(
            found(log),
            [
                "mm/gup.c: unused variable 'x'",
                "vmlinux.o: objtool: f: falls through"
            ]
        );
    }

    #[test]
    fn rustc_says_the_place_on_the_next_line() {
        let log = "warning: unused import: `a`\n  --> /src/rust/kernel/mm.rs:3:5\n   |\n\n\
                   warning: unused import: `a`\n  --> /src/rust/kernel/mm.rs:9:5\n   |\n\n\
                   warning[E0133]: call to unsafe function\n  --> /src/rust/kernel/mm.rs:12:5\n\n\
                   warning: 3 warnings emitted\n\n";
        assert_eq!(
            found(log),
            [
                "rust/kernel/mm.rs: call to unsafe function",
                "rust/kernel/mm.rs: unused import: `a`"
            ]
        );
    }

    #[test]
    fn sparse_calls_some_of_it_errors() {
        let log = "/src/mm/gup.c:7:1: error: incompatible types\n";
        assert_eq!(found(log), ["mm/gup.c: incompatible types"]);
    }

    #[test]
    fn kernel_doc_and_modpost_write_the_word_first() {
        let log = "Warning: /src/mm/gup.c:12 function parameter 'x' not described in 'f'\n\
                   WARNING: modpost: vmlinux: section mismatch in reference: a -> b\n";
        assert_eq!(
            found(log),
            [
                ": modpost: vmlinux: section mismatch in reference: a -> b",
                "mm/gup.c: function parameter 'x' not described in 'f'"
            ]
        );
    }

    #[test]
    fn only_new_ones_are_findings() {
        let set = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        assert!(none_new("tip", &set(&["a", "b"]), &set(&["b"])).is_ok());
        let error = none_new("tip", &set(&["a"]), &set(&["a", "mm/x.c: c"])).unwrap_err();
        assert_eq!(error.to_string(), "error: tip: new warnings\n    mm/x.c: c");
    }

    #[test]
    fn other_lines_are_none() {
        assert!(found("  CC mm/gup.o\nmake[1]: Entering '/obj'\nno warning here\n").is_empty());
    }
}
