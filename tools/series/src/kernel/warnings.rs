// SPDX-License-Identifier: GPL-2.0
//! What the tools of a build complained about, as a set of "file: text" that can be compared with another build's.
//!
//! There are no line numbers and no offsets in it: those move with every patch.

use std::collections::BTreeSet;
use std::path::Path;

use crate::error::{Error, Result};

/// The complaints in the log of a build that went well: what calls itself an error there is sparse's, which ends with 0.
pub fn find(log: &str) -> BTreeSet<String> {
    each(log).into_iter().map(|found| found.text).collect()
}

struct Complaint {
    text: String,
    /// Who includes the place stands before it, and before no other.
    is_named: bool,
}

/// The complaints in their order.
fn each(log: &str) -> Vec<Complaint> {
    let mut found = Vec::new();
    let mut is_named = false;
    let mut lines = log.lines().peekable();
    while let Some(line) = lines.next() {
        // A note may say of its own who includes what it is about.
        is_named = including_place(line).is_some() || is_named && !line.contains(": note: ");
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
        let text = without_offsets(&match next {
            // rustc says where on a line of its own.
            Some(place) if !place.is_empty() => format!("{}: {text}", file(place)),
            _ if place.is_empty() => of_kernel_doc(text),
            _ => format!("{}: {text}", file(place)),
        });
        let is_named = std::mem::take(&mut is_named);
        found.push(Complaint { text, is_named });
    }
    found
}

/// An error that names what the base does not complain about.
pub fn none_new(place: &str, base: &BTreeSet<String>, here: &BTreeSet<String>) -> Result<()> {
    let new: Vec<&str> = here.difference(base).map(String::as_str).collect();
    if new.is_empty() {
        return Ok(());
    }
    Err(Error::finding(place, "new warnings")
        .detail(new.join("\n"))
        .mend("mend them in the patch that brings them, then cargo series refresh"))
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

/// The objects in this folder whose making was complained about in this log, with these complaints. There may be more:
/// whatever includes something is named before that is complained about. None if one of them cannot be told: a compiler
/// does not name it before each complaint, and kbuild does not always call an object after its file.
pub fn complaining(
    folder: &Path,
    log: &str,
    complaints: &BTreeSet<String>,
) -> Option<BTreeSet<String>> {
    let named = each(log).into_iter().filter(|found| found.is_named);
    let named: BTreeSet<String> = named.map(|found| found.text).collect();
    let mut objects = including(folder, log)?;
    for complaint in complaints {
        let (file, _) = complaint.split_once(": ")?;
        let is_named = named.contains(complaint);
        match file.rsplit_once('.')? {
            (name, "c") => {
                let made = made_from(folder, name);
                if made.is_empty() && !is_named {
                    return None;
                }
                objects.extend(made);
            }
            (_, "h") if is_named => (),
            // A crate is one object, and what uses it is compiled again with it.
            (_, "rs") if file.starts_with("rust/kernel/") => {
                objects.insert("rust/kernel.o".to_owned());
            }
            _ => return None,
        }
    }
    Some(objects)
}

/// The objects of the files in C that a compiler or sparse names because it complains about what they include. None if
/// that is included by something else, such as the command line, or by what no object here is called after.
fn including(folder: &Path, log: &str) -> Option<BTreeSet<String>> {
    let mut objects = BTreeSet::new();
    for place in log.lines().filter_map(including_place) {
        match file(place).rsplit_once('.')? {
            (name, "c") => {
                let made = made_from(folder, name);
                if made.is_empty() {
                    return None;
                }
                objects.extend(made);
            }
            (_, "h") => (),
            _ => return None,
        }
    }
    Some(objects)
}

/// The objects in this folder that are called after the file of this name in C, which lies in the tree. Of a few, such as
/// asm-offsets.c, kbuild reads the assembly, and KVM on arm64 compiles some twice. What else is compiled a second time, in
/// another folder, is not known here: what only the second object is complained about for is lost.
fn made_from(folder: &Path, name: &str) -> Vec<String> {
    if name.starts_with(['/', '.']) {
        return Vec::new();
    }
    let called = [".o", ".s", ".nvhe.o"].map(|end| format!("{name}{end}"));
    let is_there = |object: &String| folder.join(object).exists();
    called.into_iter().filter(is_there).collect()
}

/// Who includes what this line, or one behind it, is about.
fn including_place(line: &str) -> Option<&str> {
    let included = line.trim_start().strip_prefix("In file included ");
    let from = included.unwrap_or(line.trim_start()).strip_prefix("from ");
    let noted = || Some(line.split_once(": note: in included file")?.0);
    from.or_else(noted)
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
    use std::fs;

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

    /// What has to be made again in a folder of these objects.
    fn made_of(there: &[&str], log: &str) -> Option<Vec<String>> {
        let folder = tempfile::tempdir().unwrap();
        for object in there {
            let object = folder.path().join(object);
            fs::create_dir_all(object.parent().unwrap()).unwrap();
            fs::write(object, "").unwrap();
        }
        let objects = complaining(folder.path(), log, &find(log))?;
        Some(objects.into_iter().collect())
    }

    fn made(log: &str) -> Option<Vec<String>> {
        made_of(&["mm/gup.o", "mm/shmem.o"], log)
    }

    const GCC: &str = "In file included from /src/include/linux/mm.h:7,\n                 from /src/mm/gup.c:3:\n\
                       /src/include/linux/pin_fd.h: In function 'f':\n\
                       /src/include/linux/pin_fd.h:9:6: warning: unused variable 'x' [-Wunused-variable]\n";

    #[test]
    fn who_includes_a_header_is_named_by_each_compiler() {
        let clang = "In file included from /src/mm/gup.c:3:\nIn file included from /src/include/linux/mm.h:7:\n\
                     /src/include/linux/pin_fd.h:9:6: warning: unused variable 'x' [-Wunused-variable]\n";
        let sparse = "/src/mm/gup.c: note: in included file (through /src/include/linux/mm.h):\n\
                      /src/include/linux/pin_fd.h:9:6: warning: dereference of noderef expression\n\
                      /src/include/linux/pin_fd.h:10:6: warning: dereference of noderef expression\n";
        for log in [GCC, clang, sparse] {
            assert_eq!(made(log).unwrap(), ["mm/gup.o"], "{log}");
            let more = format!("{log}mm/shmem.c:1:2: warning: x\n");
            let objects = ["mm/gup.o", "mm/shmem.o"];
            assert_eq!(made(&more).unwrap(), objects, "{more}");
        }
    }

    #[test]
    fn a_complaint_about_a_header_that_nobody_is_named_for_is_nobody_s() {
        let unnamed = "/src/include/linux/pin_fd.h:9:6: warning: x\n";
        assert_eq!(made(unnamed), None);
        assert_eq!(made(&format!("{GCC}{unnamed}")), None, "beside another");
        let note = "In file included from /src/mm/gup.c:3:\n/src/include/linux/mm.h:7:1: note: declared here\n";
        assert_eq!(made(&format!("{GCC}{note}{unnamed}")), None, "a note's");
        let named = format!("{GCC}In file included from /src/mm/shmem.c:3:\n{unnamed}");
        assert_eq!(made(&named).unwrap(), ["mm/gup.o", "mm/shmem.o"]);
        for root in [
            "<command-line>",
            "<built-in>:3",
            "/src/arch/x86/entry/entry.S:3",
        ] {
            let log = format!("{GCC}In file included from {root}:\n{unnamed}");
            assert_eq!(made(&log), None, "{root}");
        }
    }

    #[test]
    fn an_object_is_made_again_only_if_it_is_called_after_its_file() {
        let included = |from: &str| {
            format!("In file included from {from}:3:\ninclude/linux/mm.h:1:2: warning: x\n")
        };
        let there = ["mm/gup.o", "mm/offsets.s", "kvm/gup.nvhe.o", "scripts/sign"];
        for (name, object) in [
            ("mm/gup", "mm/gup.o"),
            ("mm/offsets", "mm/offsets.s"),
            ("kvm/gup", "kvm/gup.nvhe.o"),
        ] {
            let itself = format!("{name}.c:1:2: warning: x\n");
            for log in [included(&format!("{name}.c")), itself] {
                assert_eq!(made_of(&there, &log).unwrap(), [object], "{log}");
            }
        }
        // A host program of one file; and what does not lie in the tree, though an object lies beside it.
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("gup.o"), "").unwrap();
        let outside = outside.path().join("gup.c").display().to_string();
        for file in ["scripts/sign.c", "../mm/gup.c", &outside] {
            let itself = format!("{file}:1:2: warning: x\n");
            for log in [included(file), itself] {
                assert_eq!(made_of(&there, &log), None, "{log}");
            }
        }
    }

    #[test]
    fn what_includes_a_file_in_c_is_made_again() {
        let log = "/src/kernel/sched/build_policy.c: note: in included file:\n\
                   /src/kernel/sched/rt.c:2:1: warning: x\n";
        let policy = "kernel/sched/build_policy.o";
        assert_eq!(made_of(&[policy], log).unwrap(), [policy]);
    }

    #[test]
    fn of_rust_the_kernel_crate_is_known() {
        let log = |file: &str| format!("warning: unused import: `a`\n  --> /src/{file}:3:5\n");
        assert_eq!(
            made(&log("rust/kernel/mm/pin.rs")).unwrap(),
            ["rust/kernel.o"]
        );
        for other in ["rust/macros/lib.rs", "drivers/android/binder/node.rs"] {
            assert_eq!(made(&log(other)), None, "{other}");
        }
    }

    #[test]
    fn only_new_ones_are_findings() {
        let set = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        assert!(none_new("tip", &set(&["a", "b"]), &set(&["b"])).is_ok());
        let error = none_new("tip", &set(&["a"]), &set(&["a", "mm/x.c: c"])).unwrap_err();
        let said = error.to_string();
        let start = "error: tip: new warnings\n    mm/x.c: c\n  mend: ";
        assert!(said.starts_with(start), "{said}");
    }

    #[test]
    fn other_lines_are_none() {
        assert!(found("  CC mm/gup.o\nmake[1]: Entering '/obj'\nno warning here\n").is_empty());
    }
}
