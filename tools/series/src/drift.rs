// SPDX-License-Identifier: GPL-2.0
//! `drift`: how far other bases are from the one that the patches are written for.

use crate::base;
use crate::cli::DriftArgs;
use crate::context::Context;
use crate::error::{Error, Outcome, Result};
use crate::patches::{self, PartFiles};
use crate::progress;
use crate::stack::{self, Applied};

pub fn drift(ctx: &Context, args: &DriftArgs) -> Result<Outcome> {
    let names = match &args.base {
        Some(name) => vec![name.as_str()],
        None => ctx.config.other_bases(),
    };
    if names.is_empty() {
        return Err(Error::config("drift", "series.toml has no other base")
            .mend("add [bases.\"NAME\"] to series.toml, with git = or package ="));
    }
    let parts = patches::read(ctx)?;
    // A 3-way merge starts from its blobs.
    base::ensure(ctx)?;
    let mut columns = Vec::new();
    for name in names {
        let base = base::ensure(&ctx.on_base(name)?)?;
        let step = progress::step(format_args!("trying the patches on {name}"));
        columns.push((name, stack::each(&base, &parts)?));
        step.done();
    }
    out!("{}", table(&parts, &columns));
    let conflicts: usize = columns.iter().map(|(_, all)| conflicts(all)).sum();
    Ok(if conflicts == 0 {
        Outcome::Clean
    } else {
        Outcome::Findings
    })
}

fn conflicts(all: &[Applied]) -> usize {
    let conflict = |applied: &&Applied| matches!(applied, Applied::Conflict(_));
    all.iter().filter(conflict).count()
}

fn word(applied: &Applied) -> &'static str {
    match applied {
        Applied::Clean => "clean",
        Applied::Merged => "3-way",
        Applied::There => "there",
        Applied::Conflict(_) => "CONFLICT",
    }
}

/// A row for each patch, a column for each base; below it the sums and what conflicts.
fn table(parts: &[PartFiles], columns: &[(&str, Vec<Applied>)]) -> String {
    let names: Vec<String> = parts
        .iter()
        .flat_map(|part| &part.patches)
        .map(|patch| {
            let path = patch.path.strip_prefix("patches").unwrap_or(&patch.path);
            path.display().to_string()
        })
        .collect();
    let width = names.iter().map(String::len).max().unwrap_or(0).max(5);
    let mut text = format!("{:width$}", "patch");
    for (base, _) in columns {
        text += &format!("  {base:>10}");
    }
    text.push('\n');
    for (i, name) in names.iter().enumerate() {
        text += &format!("{name:width$}");
        for (_, all) in columns {
            text += &format!("  {:>10}", word(&all[i]));
        }
        text.push('\n');
    }
    for (base, all) in columns {
        let count = |wanted: &str| all.iter().filter(|a| word(a) == wanted).count();
        text += &format!(
            "{base}: {} clean, {} 3-way, {} there already, {} in conflict\n",
            count("clean"),
            count("3-way"),
            count("there"),
            conflicts(all)
        );
        for (name, applied) in names.iter().zip(all) {
            if let Applied::Conflict(said) = applied {
                text += &format!("  {name}\n");
                for line in said.lines() {
                    text += &format!("    {}\n", line.trim_start_matches("error: "));
                }
            }
        }
    }
    text
}
