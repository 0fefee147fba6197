// SPDX-License-Identifier: GPL-2.0
//! Programs of this tool that run in the guest beside the kernel's selftests. They are written in Rust, without crates,
//! and built in the toolchain root; or they are scripts that run programs of Debian, which the guest has a root for.

use std::fs;
use std::path::Path;

use super::{GuestTest, guest};
use crate::error::{At, Result};
use crate::run;
use crate::toolchain::Toolchain;

/// All files of the folder.
pub const SOURCES: [(&str, &str); 22] = [
    ("blobs.rs", include_str!("../../guest/blobs.rs")),
    ("blocks.rs", include_str!("../../guest/blocks.rs")),
    ("buffers.rs", include_str!("../../guest/buffers.rs")),
    ("children.rs", include_str!("../../guest/children.rs")),
    ("calls.rs", include_str!("../../guest/calls.rs")),
    ("counts.rs", include_str!("../../guest/counts.rs")),
    ("descriptors.rs", include_str!("../../guest/descriptors.rs")),
    ("fuzz.rs", include_str!("../../guest/fuzz.rs")),
    ("frames.rs", include_str!("../../guest/frames.rs")),
    ("hotplug.rs", include_str!("../../guest/hotplug.rs")),
    ("kinds.rs", include_str!("../../guest/kinds.rs")),
    ("meanwhile.rs", include_str!("../../guest/meanwhile.rs")),
    ("memory.rs", include_str!("../../guest/memory.rs")),
    ("model.rs", include_str!("../../guest/model.rs")),
    ("offline.rs", include_str!("../../guest/offline.rs")),
    ("pairs.rs", include_str!("../../guest/pairs.rs")),
    ("race.rs", include_str!("../../guest/race.rs")),
    ("round.rs", include_str!("../../guest/round.rs")),
    ("swap.rs", include_str!("../../guest/swap.rs")),
    ("sys.rs", include_str!("../../guest/sys.rs")),
    ("video.rs", include_str!("../../guest/video.rs")),
    ("views.rs", include_str!("../../guest/views.rs")),
];

/// Scripts for the guest's shell.
pub const SCRIPTS: [(&str, &str); 1] = [("programs", include_str!("../../guest/programs.sh"))];

/// Why they do not run in a lane of another architecture.
pub const NATIVE_ONLY: &str = "is a program of this tool, which is built for x86-64 only";

/// Whether there is a program of this name.
pub fn is_known(program: &str) -> bool {
    let main = |(name, text): &(&str, &str)| {
        name.strip_suffix(".rs") == Some(program) && text.contains("fn main()")
    };
    script(program).is_some() || SOURCES.iter().any(main)
}

fn script(program: &str) -> Option<&'static str> {
    let found = SCRIPTS.iter().find(|(name, _)| *name == program);
    found.map(|(_, text)| *text)
}

/// Whether one of these tests runs programs of Debian.
pub fn need_root(tests: &[GuestTest]) -> bool {
    tests
        .iter()
        .any(|test| test.own && script(&test.program).is_some())
}

/// Puts a program into the bin folder of a guest.
pub fn build(toolchain: &Toolchain, guest: &Path, program: &str, log: &Path) -> Result<()> {
    if let Some(text) = script(program) {
        let path = guest.join("bin").join(program);
        fs::write(&path, text).at(&path)?;
        return guest::make_executable(&path);
    }
    let sources = tempfile::tempdir().at(guest)?;
    for (name, text) in SOURCES {
        let path = sources.path().join(name);
        fs::write(&path, text).at(&path)?;
    }
    let mut command = toolchain.command(&[(sources.path(), "/own"), (guest, "/guest")], "rustc");
    command.args(["--edition=2024", "-O", "-C", "target-feature=+crt-static"]);
    command.args(["-D", "warnings", "-o", &format!("/guest/bin/{program}")]);
    command.arg(format!("/own/{program}.rs"));
    run::logged(&mut command, "guest program", log)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_scripts_need_a_root() {
        let mut test = GuestTest::plain("programs", 1);
        assert!(!need_root(std::slice::from_ref(&test)));
        test.own = true;
        assert!(need_root(std::slice::from_ref(&test)));
        test.program = "fuzz".to_owned();
        assert!(!need_root(&[test]));
    }

    #[test]
    fn a_program_has_a_main_function() {
        assert!(is_known("fuzz") && is_known("race") && is_known("programs"));
        assert!(!is_known("model"));
        assert!(!is_known("none"));
    }
}
