// SPDX-License-Identifier: GPL-2.0
//! `check --b4-json`: a mail on standard input, results as `b4 review` takes them from an external command.

use std::io::Read;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::{Check, Named, Subject};
use crate::context::Context;
use crate::error::{At, Outcome, Result};
use crate::patches::PatchFile;

/// Runs the checks that need no other patch.
pub fn one_mail<'a>(ctx: &Context, checks: impl Iterator<Item = &'a Check>) -> Result<Outcome> {
    let mut bytes = Vec::new();
    std::io::stdin()
        .read_to_end(&mut bytes)
        .at("standard input")?;
    let mut results = Vec::new();
    // There is nothing to say of a cover letter.
    if String::from_utf8_lossy(&bytes).contains("\ndiff --git ") {
        let file = PatchFile {
            path: PathBuf::from("mail"),
            bytes,
        };
        let patch = file.parse()?;
        let subject = Subject {
            ctx,
            patches: vec![Named {
                // Where it belongs can be told from that alone.
                path: PathBuf::from(&patch.subject),
                bytes: file.bytes,
                patch,
            }],
            unread: Vec::new(),
        };
        let alone = checks.filter(|check| check.alone);
        results.extend(alone.map(|check| result(check.name, (check.look)(&subject))));
    }
    let failed = results.iter().any(|result| result["status"] == "fail");
    let text = serde_json::to_string_pretty(&results).expect("plain data");
    outln!("{text}");
    Ok(if failed {
        Outcome::Findings
    } else {
        Outcome::Clean
    })
}

fn result(name: &str, found: Result<Vec<String>>) -> Value {
    let tool = format!("series: {name}");
    match found {
        Ok(findings) if findings.is_empty() => json!({ "tool": tool, "status": "pass" }),
        Ok(findings) => json!({
            "tool": tool,
            "status": "fail",
            "summary": format!("found: {}", findings.len()),
            "details": findings.join("\n"),
        }),
        Err(e) => json!({
            "tool": tool,
            "status": "fail",
            "summary": e.summary(),
            "details": e.to_string(),
        }),
    }
}
