// SPDX-License-Identifier: GPL-2.0
//! What a maintainer would say about a message at a glance.

use super::Subject;
use crate::error::Result;
use crate::patches::Patch;

/// Subjects longer than this do not fit into a log's line.
const SUBJECT: usize = 75;

/// Tags that somebody has to give; a stack that nobody has submitted has none of them.
const GIVEN: [&str; 5] = [
    "Signed-off-by:",
    "Reviewed-by:",
    "Acked-by:",
    "Tested-by:",
    "Reported-by:",
];

pub fn all(subject: &Subject) -> Result<Vec<String>> {
    let prefixes = &subject.ctx.config.prefixes;
    Ok(of_each(subject, |patch| {
        let mut causes = message(patch);
        causes.extend(prefix(prefixes, &patch.subject));
        causes
    }))
}

/// Mails of others have such tags.
pub fn given(subject: &Subject) -> Result<Vec<String>> {
    Ok(of_each(subject, tags))
}

fn of_each(subject: &Subject, causes: impl Fn(&Patch) -> Vec<String>) -> Vec<String> {
    let mut findings = Vec::new();
    for named in &subject.patches {
        let place = named.path.display();
        let causes = causes(&named.patch).into_iter();
        findings.extend(causes.map(|cause| format!("{place}: {cause}")));
    }
    findings
}

fn tags(patch: &Patch) -> Vec<String> {
    let known = |line| GIVEN.iter().find(|tag| after(line, tag).is_some());
    let found = patch.body.lines().filter_map(known);
    found
        .map(|tag| format!("{tag} is for the person who gives it"))
        .collect()
}

fn message(patch: &Patch) -> Vec<String> {
    let mut causes = Vec::new();
    if !patch.subject.contains(": ") {
        causes.push(format!(
            "subject {:?} has no subsystem prefix",
            patch.subject
        ));
    }
    if patch.subject.chars().count() > SUBJECT {
        causes.push(format!("subject is longer than {SUBJECT} characters"));
    }
    if patch.subject.ends_with('.') {
        causes.push("subject ends with a full stop".to_owned());
    }
    if patch.body.trim().is_empty() {
        causes.push("no message below the subject".to_owned());
    }
    for line in patch.body.lines() {
        if after(line, "Fixes:").is_some() && !well_formed_fixes(line) {
            causes.push(format!("{line:?} is not Fixes: <12 digits> (\"subject\")"));
        }
    }
    causes
}

/// A prefix that nobody uses. The base has no history that would tell, so series.toml may list those that are right.
fn prefix(known: &[String], subject: &str) -> Option<String> {
    let (prefix, _) = subject.split_once(": ")?;
    let is_known = known.is_empty() || known.iter().any(|known| known == prefix);
    (!is_known).then(|| format!("prefix {prefix:?} is none of the prefixes in series.toml"))
}

/// What stands behind a tag, however that is written: `signed-off-by:x` means the same to those who read it.
fn after<'a>(line: &'a str, tag: &str) -> Option<&'a str> {
    let line = line.trim_start();
    let (start, rest) = line.split_at_checked(tag.len())?;
    start.eq_ignore_ascii_case(tag).then_some(rest)
}

fn well_formed_fixes(line: &str) -> bool {
    let Some(text) = line.strip_prefix("Fixes: ") else {
        return false;
    };
    text.split_once(' ').is_some_and(|(id, title)| {
        id.len() == 12
            && id.bytes().all(|b| b.is_ascii_hexdigit())
            && title.starts_with("(\"")
            && title.ends_with("\")")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patch(subject: &str, body: &str) -> Patch {
        Patch {
            subject: subject.to_owned(),
            body: body.to_owned(),
            diffs: Vec::new(),
        }
    }

    #[test]
    fn messages() {
        let fixes = "why\n\nFixes: 89c1905d9c14 (\"mm/gup: x\")";
        assert!(message(&patch("mm: do it", fixes)).is_empty());
        for (subject, body) in [
            ("no prefix", "why"),
            ("mm: stop.", "why"),
            ("mm: empty", " \n"),
            ("mm: fixes", "why\n\nFixes: 89c1905 (\"short\")"),
        ] {
            assert_eq!(message(&patch(subject, body)).len(), 1, "{subject}");
        }
        assert_eq!(
            message(&patch(&format!("mm: {}", "x".repeat(80)), "why")).len(),
            1
        );
    }

    #[test]
    fn prefixes_are_those_of_series_toml() {
        let known = ["mm/gup".to_owned(), "rust".to_owned()];
        for (subject, found) in [
            ("mm/gup: x", false),
            ("rust: mm: x", false),
            ("mm: gup: x", true),
            ("no prefix", false),
        ] {
            assert_eq!(prefix(&known, subject).is_some(), found, "{subject}");
        }
        assert_eq!(prefix(&[], "any: x"), None);
    }

    #[test]
    fn tags_of_any_case_and_without_a_blank() {
        for line in [
            "Fixes:0123 x",
            "fixes: abc",
            "FIXES: 89c1905d9c14 (\"mm/gup: x\")",
            "Fixes:89c1905d9c14 (\"mm/gup: x\")",
            " Fixes: 89c1905d9c14 (\"mm/gup: x\")",
            "Signed-Off-By: A <a@b>",
            "signed-off-by:A <a@b>",
            "\tREVIEWED-BY: A <a@b>",
        ] {
            let patch = patch("mm: x", &format!("why\n\n{line}"));
            let found = [message(&patch), tags(&patch)].concat();
            assert_eq!(found.len(), 1, "{line}: {found:?}");
        }
        let found = message(&patch("mm: x", "This fixes: nothing.\nÄäääääääääääää"));
        assert!(found.is_empty(), "{found:?}");
    }
}
