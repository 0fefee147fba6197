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
    // There is nothing to say of a cover letter.
    let results = match String::from_utf8_lossy(&bytes).contains("\ndiff --git ") {
        true => of_patch(ctx, bytes, checks),
        false => Vec::new(),
    };
    let failed = results.iter().any(|result| result["status"] == "fail");
    let text = serde_json::to_string_pretty(&results).expect("plain data");
    outln!("{text}");
    Ok(if failed {
        Outcome::Findings
    } else {
        Outcome::Clean
    })
}

fn of_patch<'a>(
    ctx: &Context,
    bytes: Vec<u8>,
    checks: impl Iterator<Item = &'a Check>,
) -> Vec<Value> {
    let file = PatchFile {
        path: PathBuf::from("mail"),
        bytes,
    };
    let patch = match file.parse() {
        Ok(patch) => patch,
        Err(e) => return vec![result("mail can be read", Ok(vec![e.summary()]))],
    };
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
    alone
        .map(|check| result(check.name, check.findings(&subject)))
        .collect()
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
