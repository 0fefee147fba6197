// SPDX-License-Identifier: GPL-2.0
//! The sources of the kernels that are counted on: those of the stack, and one file more that is no part of it.
//!
//! It lets the guest ask for what only the kernel can call. Made with git's plumbing; no worktree is touched.

use crate::error::{At, Result};
use crate::git::Git;
use crate::kernel::build::Source;

const HELPER: &str = include_str!("../../data/bench/series_bench.c");
const DIR: &str = "drivers/dma-buf";

/// The same sources with the helper, as a commit on top.
pub fn with_helper(repository: &Git, source: &Source) -> Result<Source> {
    let scratch = tempfile::tempdir().at("temporary folder")?;
    let index = scratch.path().join("index");
    let git = repository.with("GIT_INDEX_FILE", index.to_string_lossy());
    git.run(&["read-tree", &source.commit])?;
    let makefile = format!("{DIR}/Makefile");
    let mut rules = git.run(&["show", &format!("{}:{makefile}", source.commit)])?;
    rules += "\nobj-y += series_bench.o\n";
    add(&git, &format!("{DIR}/series_bench.c"), HELPER)?;
    add(&git, &makefile, &rules)?;
    let tree = git.run(&["write-tree"])?;
    let commit = git.run_with_input(
        &["commit-tree", &tree, "-p", &source.commit],
        b"what only the kernel can call, for bench\n",
    )?;
    // Or git would be free to remove what a worktree is about to check out.
    git.set_ref(&format!("refs/series/bench/{tree}"), &commit)?;
    Ok(Source::new(&git, &source.name, &commit, &tree))
}

fn add(git: &Git, path: &str, text: &str) -> Result<()> {
    let blob = git.run_with_input(&["hash-object", "-w", "--stdin"], text.as_bytes())?;
    git.run(&[
        "update-index",
        "--add",
        "--cacheinfo",
        &format!("100644,{blob},{path}"),
    ])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_helper_is_built_and_nothing_else_changes() {
        let dir = tempfile::tempdir().unwrap();
        let git = Git::at(dir.path());
        git.run(&["init", "--quiet", "."]).unwrap();
        add(&git, "drivers/dma-buf/Makefile", "obj-y := dma-buf.o\n").unwrap();
        add(&git, "mm/gup.c", "int pin;\n").unwrap();
        let tree = git.run(&["write-tree"]).unwrap();
        let commit = git.run(&["commit-tree", &tree, "-m", "base"]).unwrap();
        let base = Source::new(&git, "base", &commit, &tree);

        let made = with_helper(&git, &base).unwrap();
        assert_eq!(made.name, "base");
        let changed = git
            .run(&["diff-tree", "-r", "--name-status", &commit, &made.commit])
            .unwrap();
        assert_eq!(
            changed,
            "M\tdrivers/dma-buf/Makefile\nA\tdrivers/dma-buf/series_bench.c"
        );
        let rules = git
            .run(&["show", &format!("{}:drivers/dma-buf/Makefile", made.commit)])
            .unwrap();
        assert_eq!(rules, "obj-y := dma-buf.o\nobj-y += series_bench.o");
        // The same commit on every machine: kernels are kept by their tree.
        assert_eq!(with_helper(&git, &base).unwrap().commit, made.commit);
    }
}
