// SPDX-License-Identifier: GPL-2.0
//! The last run of `test`, kept in the cache, and `report`, which shows it again in other forms.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::cli::{Form, ReportArgs};
use crate::context::Context;
use crate::error::{At, Error, Outcome, Result};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Pass,
    Fail,
    Skip,
}

/// One thing that was tested.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub kind: Kind,
    /// The first line says what; what follows says why it failed.
    pub what: String,
}

/// A whole run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The base's name and the git tree that the patches led to.
    pub base: String,
    pub tree: String,
    pub seconds: u64,
    /// As `test` prints it last.
    pub sum: String,
    pub entries: Vec<Entry>,
}

fn path(ctx: &Context) -> Result<PathBuf> {
    Ok(ctx.cache.dir("report")?.join(format!("{}.json", ctx.id())))
}

/// Forgets the last run: one that ends early must not be taken for it.
pub fn forget(ctx: &Context) -> Result<()> {
    let path = path(ctx)?;
    match fs::remove_file(&path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e).at(&path),
        _ => Ok(()),
    }
}

impl Report {
    pub fn save(&self, ctx: &Context) -> Result<()> {
        self.write(&path(ctx)?)
    }

    fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self).expect("plain data");
        fs::write(path, text).at(path)
    }

    fn read(path: &Path) -> Result<Self> {
        let missing = |cause: String| {
            Error::config(path.display(), cause)
                .mend("cargo series test, and let it come to its end")
        };
        let bytes =
            fs::read(path).map_err(|e| missing(format!("no finished run is kept here: {e}")))?;
        serde_json::from_slice(&bytes).map_err(|e| missing(e.to_string()))
    }

    fn text(&self) -> String {
        let mut text = format!("base {}, tip tree {}\n", self.base, self.tree);
        for entry in &self.entries {
            text += &format!("{}  {}\n", word(entry.kind), entry.what);
        }
        text + &self.sum + "\n"
    }

    /// What failed and was skipped in words, the rest as a number: it is read by people.
    fn markdown(&self) -> String {
        let mut text = format!(
            "## {}\n\nBase {}, tip tree `{}`, {} min {} s.\n",
            self.sum,
            self.base,
            self.tree,
            self.seconds / 60,
            self.seconds % 60
        );
        for (kind, title) in [(Kind::Fail, "Failed"), (Kind::Skip, "Skipped")] {
            let entries: Vec<&Entry> = self.entries.iter().filter(|e| e.kind == kind).collect();
            if entries.is_empty() {
                continue;
            }
            text += &format!("\n### {title}\n\n");
            for entry in entries {
                let (what, why) = entry.what.split_once('\n').unwrap_or((&entry.what, ""));
                text += &format!("- {what}\n");
                if !why.is_empty() {
                    let why: String = why.lines().map(|line| format!("      {line}\n")).collect();
                    text += &format!("\n{why}\n");
                }
            }
        }
        text
    }

    fn junit(&self) -> String {
        let count = |kind| self.entries.iter().filter(|e| e.kind == kind).count();
        let mut text = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n\
             <testsuite name=\"series\" tests=\"{}\" failures=\"{}\" skipped=\"{}\" time=\"{}\">\n",
            self.entries.len(),
            count(Kind::Fail),
            count(Kind::Skip),
            self.seconds
        );
        for entry in &self.entries {
            let (what, why) = entry.what.split_once('\n').unwrap_or((&entry.what, ""));
            let (class, name) = what.split_once(": ").unwrap_or(("series", what));
            text += &format!(
                "<testcase classname=\"{}\" name=\"{}\"",
                escape(class),
                escape(name)
            );
            text += &match entry.kind {
                Kind::Pass => "/>\n".to_owned(),
                Kind::Skip => "><skipped/></testcase>\n".to_owned(),
                Kind::Fail => format!(
                    "><failure message=\"{}\">{}</failure></testcase>\n",
                    escape(name),
                    escape(why)
                ),
            };
        }
        text + "</testsuite>\n</testsuites>\n"
    }
}

fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Pass => "pass",
        Kind::Fail => "FAIL",
        Kind::Skip => "skip",
    }
}

/// For text and attributes of XML; characters that XML does not have become spaces.
fn escape(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '&' => "&amp;".to_owned(),
            '<' => "&lt;".to_owned(),
            '>' => "&gt;".to_owned(),
            '"' => "&quot;".to_owned(),
            '\n' | '\t' => c.to_string(),
            c if c.is_control() => " ".to_owned(),
            c => c.to_string(),
        })
        .collect()
}

pub fn report(ctx: &Context, args: &ReportArgs) -> Result<Outcome> {
    let report = Report::read(&path(ctx)?)?;
    print!(
        "{}",
        match args.form {
            Form::Text => report.text(),
            Form::Md => report.markdown(),
            Form::Junit => report.junit(),
        }
    );
    Ok(if report.entries.iter().any(|e| e.kind == Kind::Fail) {
        Outcome::Findings
    } else {
        Outcome::Clean
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Report {
        let entry = |kind, what: &str| Entry {
            kind,
            what: what.to_owned(),
        };
        Report {
            base: "7.3.4".to_owned(),
            tree: "5b1b".to_owned(),
            seconds: 125,
            sum: "1 passed, 1 failed, 1 skipped".to_owned(),
            entries: vec![
                entry(Kind::Pass, "tip+c: udmabuf: test-1"),
                entry(Kind::Fail, "tip+c builds\nerror: \"a\" < b && c\u{1b}[0m"),
                entry(Kind::Skip, "tip+c: iommufd: x, as on the base"),
            ],
        }
    }

    #[test]
    fn what_was_kept_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.json");
        let error = Report::read(&path).unwrap_err().to_string();
        assert!(error.contains("cargo series test"), "{error}");
        sample().write(&path).unwrap();
        assert_eq!(Report::read(&path).unwrap(), sample());
    }

    #[test]
    fn as_text() {
        let text = sample().text();
        assert!(
            text.contains("\npass  tip+c: udmabuf: test-1\nFAIL  tip+c builds\n"),
            "{text}"
        );
        assert!(
            text.ends_with("\n1 passed, 1 failed, 1 skipped\n"),
            "{text}"
        );
    }

    #[test]
    fn as_markdown() {
        let text = sample().markdown();
        assert!(
            text.starts_with("## 1 passed, 1 failed, 1 skipped\n"),
            "{text}"
        );
        assert!(text.contains("2 min 5 s"), "{text}");
        assert!(
            text.contains("### Failed\n\n- tip+c builds\n\n      error: "),
            "{text}"
        );
        assert!(text.contains("### Skipped\n\n- tip+c: iommufd"), "{text}");
        assert!(!text.contains("test-1"), "what passed is a number: {text}");
    }

    #[test]
    fn as_junit() {
        let text = sample().junit();
        for part in [
            "tests=\"3\" failures=\"1\" skipped=\"1\" time=\"125\"",
            "<testcase classname=\"tip+c\" name=\"udmabuf: test-1\"/>",
            "<failure message=\"tip+c builds\">error: &quot;a&quot; &lt; b &amp;&amp; c [0m</failure>",
            "<skipped/>",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert_eq!(text.matches("<testcase").count(), 3);
    }
}
