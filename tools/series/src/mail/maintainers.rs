// SPDX-License-Identifier: GPL-2.0
//! Whom the base tree's MAINTAINERS names for a part. Printed for the person who sends, and kept nowhere.

use std::fs;

use crate::base::Base;
use crate::check;
use crate::context::Context;
use crate::error::{At, Result};
use crate::patches::PartFiles;
use crate::progress;
use crate::run;
use crate::toolchain::Toolchain;

/// Prints get_maintainer.pl's answer, if the toolchain is there to run it.
pub fn print(ctx: &Context, base: &Base, part: &PartFiles) -> Result<()> {
    let Some(toolchain) = Toolchain::existing(ctx)? else {
        progress::note("no toolchain: get_maintainer.pl was not run");
        return Ok(());
    };
    if let Some(said) = ask(ctx, &toolchain, base, part)? {
        outln!("  MAINTAINERS names, for To: and Cc: of {}:", part.dir);
        for line in said.lines() {
            outln!("    {line}");
        }
    }
    Ok(())
}

/// get_maintainer.pl's answer, a line for each address with its role, if the base has that program.
pub fn ask(
    ctx: &Context,
    toolchain: &Toolchain,
    base: &Base,
    part: &PartFiles,
) -> Result<Option<String>> {
    let script = format!("{}:scripts/get_maintainer.pl", base.commit);
    if part.patches.is_empty() || !base.git().test(&["cat-file", "-e", &script])? {
        return Ok(None);
    }
    let tree = check::base_scripts(ctx, base)?;
    let dir = tempfile::tempdir().at("temporary folder")?;
    for (i, patch) in part.patches.iter().enumerate() {
        let file = dir.path().join(format!("{i:04}.patch"));
        fs::write(&file, &patch.bytes).at(&file)?;
    }
    let mut command = toolchain.command(&[(&tree, "/src"), (dir.path(), "/patches")], "sh");
    command.args([
        "-c",
        "cd /src && perl scripts/get_maintainer.pl --nogit --nogit-fallback --rolestats /patches/*.patch",
    ]);
    let output = run::capture(&mut command)?;
    let said = run::succeed(&command, output)?;
    Ok(Some(String::from_utf8_lossy(&said).into_owned()))
}
