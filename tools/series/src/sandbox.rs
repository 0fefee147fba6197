// SPDX-License-Identifier: GPL-2.0
//! The right to mount and change root: as root, or in a user namespace.

use std::process::Command;

use crate::error::{Error, Result};
use crate::run;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sandbox {
    /// We are root, and may mount.
    Root,
    /// A user namespace makes us root inside.
    User,
}

impl Sandbox {
    /// Tries what works here.
    pub fn probe() -> Result<Self> {
        let works = |sandbox: Sandbox| -> Result<(), String> {
            match run::capture(sandbox.command("true").arg("probe")) {
                Ok(output) if output.status.success() => Ok(()),
                Ok(output) => Err(run::tail(&String::from_utf8_lossy(&output.stderr))),
                Err(e) => Err(e.summary()),
            }
        };
        let as_root = if rustix::process::geteuid().is_root() {
            match works(Sandbox::Root) {
                Ok(()) => return Ok(Sandbox::Root),
                Err(why) => why,
            }
        } else {
            "not running as root".to_owned()
        };
        match works(Sandbox::User) {
            Ok(()) => Ok(Sandbox::User),
            Err(why) => Err(Error::environment(
                "toolchain",
                "needs the right to mount, as root or in a user namespace, and has neither",
            )
            .detail(format!("root: {as_root}"))
            .detail(format!("user namespace: {why}"))
            .mend("run this as root")
            .mend("allow user namespaces: apt-get install uidmap; usermod --add-subuids 100000-165535 --add-subgids 100000-165535 $USER")
            .mend("use the tools of this machine: cargo series --toolchain host ... (needs the same right, and no sub-ids)")),
        }
    }

    /// A command in mount and pid namespaces of its own. When it is killed, or when the thread that started it ends,
    /// all that it started ends too.
    pub fn command(self, program: &str) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "unshare"]);
        if self == Sandbox::User {
            command.args(["--user", "--map-root-user", "--map-auto"]);
        }
        command.args([
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
            "--",
            program,
        ]);
        command
    }
}
