// SPDX-License-Identifier: GPL-2.0
//! The base's own scripts, and whom its MAINTAINERS names.

use std::fs;
use std::path::PathBuf;

use crate::base::Base;
use crate::context::Context;
use crate::error::{At, Result};
use crate::patches::PartFiles;
use crate::run;
use crate::toolchain::Toolchain;

pub const GET_MAINTAINER: &str = "scripts/get_maintainer.pl";
pub const KERNEL_DOC: &str = "scripts/kernel-doc";

/// What the scripts are and what they read. Not every kernel has all of it.
const SCRIPTS: [&str; 10] = [
    "COPYING",
    "CREDITS",
    "Kbuild",
    "MAINTAINERS",
    "Makefile",
    "README",
    "include",
    "scripts",
    "tools/docs",
    "tools/lib/python",
];

/// The scripts of the base and what they read, apart from the build worktree: a build may be using that right now.
pub fn tree(ctx: &Context, base: &Base) -> Result<PathBuf> {
    let tree = ctx.cache.path(format!("scripts/{}", base.commit));
    if tree.exists() {
        return Ok(tree);
    }
    let parent = ctx.cache.dir("scripts")?;
    let new = tempfile::tempdir_in(&parent).at(&parent)?;
    let mut wanted = vec!["ls-tree", "--name-only", &base.commit, "--"];
    wanted.extend(SCRIPTS);
    let there = base.git().run(&wanted)?;
    let mut arguments = vec!["archive", "--format=tar", &base.commit, "--"];
    arguments.extend(there.lines());
    let mut command = base.git().command(&arguments);
    let output = run::capture(&mut command)?;
    let archive = run::succeed(&command, output)?;
    tar::Archive::new(archive.as_slice())
        .unpack(new.path())
        .at(new.path())?;
    // checkpatch takes a folder for a kernel only if these are there.
    for name in [
        "Documentation",
        "arch",
        "drivers",
        "fs",
        "init",
        "ipc",
        "kernel",
        "lib",
    ] {
        let dir = new.path().join(name);
        fs::create_dir_all(&dir).at(&dir)?;
    }
    fs::rename(new.keep(), &tree).at(&tree)?;
    Ok(tree)
}

/// Whether the base has this script. Not every kernel does.
pub fn has(base: &Base, script: &str) -> Result<bool> {
    let object = format!("{}:{script}", base.commit);
    base.git().test(&["cat-file", "-e", &object])
}

/// What [`GET_MAINTAINER`] says of a part that has patches: a line for each address with its role.
pub fn maintainers(
    ctx: &Context,
    toolchain: &Toolchain,
    base: &Base,
    part: &PartFiles,
) -> Result<String> {
    let tree = tree(ctx, base)?;
    let dir = tempfile::tempdir().at("temporary folder")?;
    for (i, patch) in part.patches.iter().enumerate() {
        let file = dir.path().join(format!("{i:04}.patch"));
        fs::write(&file, &patch.bytes).at(&file)?;
    }
    let mut command = toolchain.command(&[(&tree, "/src"), (dir.path(), "/patches")], "sh");
    command.args([
        "-c",
        "cd /src && exec perl \"$0\" --nogit --nogit-fallback --rolestats /patches/*.patch",
        GET_MAINTAINER,
    ]);
    run::text(&mut command)
}
