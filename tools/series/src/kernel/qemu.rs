// SPDX-License-Identifier: GPL-2.0
//! Runs a guest under QEMU, bounded in time, and says how it ended.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::accel::Accel;
use super::arch::Machine;
use crate::cache::{self, Lock};
use crate::error::{At, Error, Result};
use crate::run;
use crate::toolchain::Toolchain;

/// A machine to be booted.
#[derive(Debug)]
pub struct Guest<'a> {
    pub machine: &'static Machine,
    pub image: &'a Path,
    pub initrd: &'a Path,
    /// Behind what the tool itself puts on the kernel's command line.
    pub append: &'a str,
    /// As QEMU takes it: 3G, 512M. In 3G+2G, the 2 GiB are plugged in.
    pub memory: &'a str,
    pub accel: Accel,
    /// Time is the number of instructions, on one CPU.
    pub icount: bool,
    /// It is given up when it has said nothing on the results port for this long.
    pub timeout: Duration,
    /// Gets console.log and results.log.
    pub logs: &'a Path,
    /// Copy the console to standard output, and take standard input from there.
    pub interactive: bool,
    /// As QEMU takes it after -plugin; needs TCG.
    pub plugin: Option<&'a str>,
}

/// How a guest ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum End {
    PowerOff,
    Panic,
    /// No end within the time that it had.
    Hang,
    /// QEMU itself failed.
    Qemu,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ran {
    pub end: End,
    pub console: String,
    pub results: String,
    pub console_log: PathBuf,
}

impl Ran {
    /// It ended because it had done all that it was to do. QEMU ends like this when a guest resets, too: init says so.
    pub fn is_complete(&self) -> bool {
        self.end == End::PowerOff && self.results.contains("series: finished")
    }
}

/// What is behind -m, and the memory of a module that is plugged in, if there is one.
fn memory(text: &str) -> (String, Option<String>) {
    match text.split_once('+') {
        None => (text.to_owned(), None),
        Some((size, plugged)) => (
            format!("{size},slots=1,maxmem=64G"),
            Some(format!("memory-backend-ram,id=plugged,size={plugged}")),
        ),
    }
}

impl Guest<'_> {
    /// The arguments behind the program's name. Paths are those inside the toolchain root.
    pub(super) fn arguments(&self) -> Vec<String> {
        let (memory, module) = memory(self.memory);
        let mut arguments: Vec<&str> = vec!["-nodefaults", "-no-user-config", "-display", "none"];
        arguments.extend(self.machine.model);
        arguments.extend(["-no-reboot", "-m", &memory]);
        if let Some(module) = &module {
            arguments.extend(["-object", module, "-device", "pc-dimm,memdev=plugged"]);
        }
        // A fixed clock and no random instructions: two runs see the same machine.
        arguments.extend(["-rtc", "base=2026-11-15T00:00:00,clock=vm"]);
        match (self.icount, self.accel) {
            (true, _) => arguments.extend([
                "-accel",
                "tcg",
                "-icount",
                "shift=0,sleep=off",
                "-smp",
                "1",
                "-cpu",
                self.machine.steady_cpu,
            ]),
            (false, Accel::Kvm) => {
                arguments.extend(["-accel", "kvm", "-smp", "2", "-cpu", "host"]);
            }
            (false, Accel::Tcg) => {
                arguments.extend(["-accel", "tcg", "-smp", "2", "-cpu", self.machine.cpu]);
            }
        }
        if let Some(plugin) = self.plugin {
            arguments.extend(["-plugin", plugin]);
        }
        arguments.extend(["-chardev", "stdio,id=console,signal=off"]);
        arguments.extend(["-serial", "chardev:console"]);
        arguments.extend(["-serial", "file:/out/results.log"]);
        let image = self.image.file_name().expect("an image has a name");
        let image = format!("/kernel/{}", image.to_string_lossy());
        arguments.extend(["-kernel", &image, "-initrd", "/initrd"]);
        let mut arguments: Vec<String> = arguments.into_iter().map(str::to_owned).collect();
        // Where something is decides which page tables it needs.
        let fixed = if self.icount {
            " nokaslr norandmaps"
        } else {
            ""
        };
        arguments.push("-append".to_owned());
        arguments.push(
            format!(
                "console={} panic=-1 oops=panic{fixed} {}",
                self.machine.console, self.append
            )
            .trim_end()
            .to_owned(),
        );
        arguments
    }

    pub fn run(&self, toolchain: &Toolchain) -> Result<Ran> {
        let place = self.image.parent().expect("an image lies in a folder");
        let (results, _lock) = self.claim_logs()?;
        let mut command = toolchain.command(
            &[
                (place, "/kernel"),
                (self.initrd, "/initrd"),
                (self.logs, "/out"),
            ],
            self.machine.qemu,
        );
        command.args(self.arguments());
        command.stdin(if self.interactive {
            Stdio::inherit()
        } else {
            Stdio::null()
        });
        let child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|e| run::not_started(&command, e))?;
        self.watch(child, &results)
    }

    /// An empty file for the results, which no other process writes as long as the lock is held: two runs of the same
    /// stack have the same logs.
    fn claim_logs(&self) -> Result<(PathBuf, Lock)> {
        fs::create_dir_all(self.logs).at(self.logs)?;
        let lock = cache::lock(&self.logs.join("lock"))?;
        let results = self.logs.join("results.log");
        File::create(&results).at(&results)?;
        Ok((results, lock))
    }

    pub(super) fn watch(&self, mut child: Child, results: &Path) -> Result<Ran> {
        let console_log = self.logs.join("console.log");
        let log = File::create(&console_log).at(&console_log)?;
        let mut out = child.stdout.take().expect("stdout was piped");
        let mut err = child.stderr.take().expect("stderr was piped");
        let interactive = self.interactive;
        let console = thread::spawn(move || copy_console(&mut out, log, interactive));
        let complaints = thread::spawn(move || {
            let mut text = String::new();
            // What QEMU says is shown if it fails; half of it is better than none.
            let _ = err.read_to_string(&mut text);
            text
        });

        let mut heard = 0;
        let mut quiet_since = Instant::now();
        let mut hang = false;
        let status = loop {
            let ended = child
                .try_wait()
                .map_err(|e| Error::environment("qemu", e))?;
            if let Some(status) = ended {
                break status;
            }
            let said = fs::metadata(results).at(results)?.len();
            if said != heard {
                heard = said;
                quiet_since = Instant::now();
            }
            if quiet_since.elapsed() > self.timeout && !hang {
                hang = true;
                child.kill().map_err(|e| Error::environment("qemu", e))?;
            }
            thread::sleep(Duration::from_millis(50));
        };
        let console = console
            .join()
            .expect("copying does not panic")
            .at(&console_log)?;
        let complaints = complaints.join().expect("reading does not panic");
        let console = String::from_utf8_lossy(&console).into_owned();
        let end = if hang {
            End::Hang
        } else if console.contains("Kernel panic - not syncing") {
            End::Panic
        } else if status.success() {
            End::PowerOff
        } else {
            End::Qemu
        };
        if end == End::Qemu && console.is_empty() {
            return Err(self.not_booted(status, &complaints));
        }
        Ok(Ran {
            end,
            console,
            results: String::from_utf8_lossy(&fs::read(results).at(results)?).into_owned(),
            console_log,
        })
    }

    /// Why no guest said anything. A root has its QEMU: only the machine itself may lack one.
    fn not_booted(&self, status: ExitStatus, complaints: &str) -> Error {
        let qemu = self.machine.qemu;
        let error = |cause: &str| Error::environment(qemu, cause).detail(run::tail(complaints));
        match status.code() {
            Some(NO_PROGRAM) => error("this program is not installed")
                .mend(format!("install {qemu} with your package manager"))
                .mend("leave out --toolchain host"),
            _ => error(&run::describe(status))
                .mend("give QEMU what it says it lacks, then run this again"),
        }
    }
}

/// How a shell and env say that there is no such program.
const NO_PROGRAM: i32 = 127;

/// Keeps what the guest says, and shows it at once where somebody looks.
fn copy_console(from: &mut impl Read, mut log: File, show: bool) -> std::io::Result<Vec<u8>> {
    let mut all = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let n = from.read(&mut buffer)?;
        if n == 0 {
            return Ok(all);
        }
        all.extend_from_slice(&buffer[..n]);
        log.write_all(&buffer[..n])?;
        if show {
            let mut stdout = std::io::stdout().lock();
            // Nobody reads any more: the guest goes on all the same.
            let _ = stdout.write_all(&buffer[..n]).and_then(|()| stdout.flush());
        }
    }
}

/// The last lines that the guest said.
pub fn last_words(console: &str) -> String {
    run::tail(&console.replace('\r', ""))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::super::arch::Arch;
    use super::*;

    fn guest(icount: bool) -> Vec<String> {
        guest_of("x86_64", icount)
    }

    fn guest_of(arch: &str, icount: bool) -> Vec<String> {
        with_logs(arch, icount, Path::new("/l")).arguments()
    }

    fn with_logs<'a>(arch: &str, icount: bool, logs: &'a Path) -> Guest<'a> {
        let machine = Arch::of_test(arch).machine.unwrap();
        Guest {
            machine,
            image: Path::new("/k/bzImage"),
            initrd: Path::new("/i"),
            append: "udmabuf.list_limit=2",
            memory: "3G",
            accel: Accel::Tcg,
            icount,
            timeout: Duration::from_secs(1),
            logs,
            interactive: false,
            plugin: None,
        }
    }

    #[test]
    fn two_guests_do_not_write_the_same_logs() {
        let dir = tempfile::tempdir().unwrap();
        let guest = with_logs("x86_64", false, dir.path());
        let (results, first) = guest.claim_logs().unwrap();
        fs::write(&results, "ok 1").unwrap();
        thread::scope(|scope| {
            let second = scope.spawn(|| guest.claim_logs().map(|_| ()));
            thread::sleep(Duration::from_millis(200));
            assert_eq!(fs::read_to_string(&results).unwrap(), "ok 1");
            drop(first);
            second.join().unwrap().unwrap();
        });
        assert_eq!(fs::read_to_string(&results).unwrap(), "");
    }

    #[test]
    fn a_qemu_that_is_not_there_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let guest = with_logs("arm64", false, dir.path());
        let error = |script: &str| {
            let mut stub = Command::new("sh");
            stub.args(["-c", script]);
            let stub = stub.stdout(Stdio::piped()).stderr(Stdio::piped());
            let (results, _lock) = guest.claim_logs().unwrap();
            let ran = guest.watch(stub.spawn().unwrap(), &results);
            ran.err().unwrap().to_string()
        };
        let missing = error("exit 127");
        let mend = "mend: install qemu-system-aarch64 with";
        assert!(missing.contains(mend), "{missing}");
        assert!(missing.contains("leave out --toolchain host"), "{missing}");
        let other = error("echo no memory >&2; exit 1");
        assert!(other.contains("exit code 1\n    no memory"), "{other}");
        assert!(!other.contains("install"), "{other}");
    }

    #[test]
    fn counting_instructions_is_deterministic() {
        let line = guest(true).join(" ");
        for part in [
            "-icount shift=0,sleep=off -smp 1",
            "nokaslr norandmaps",
            "-rdrand",
            "-rtc base=",
        ] {
            assert!(line.contains(part), "{part} in {line}");
        }
        assert!(!guest(false).join(" ").contains("nokaslr"));
    }

    #[test]
    fn another_architecture_has_another_console() {
        let line = guest_of("arm64", true).join(" ");
        for part in [
            "-machine virt",
            "console=ttyAMA0 ",
            "-cpu max,pauth-impdef=on",
        ] {
            assert!(line.contains(part), "{part} in {line}");
        }
        assert!(!line.contains("rdrand"), "{line}");
    }

    #[test]
    fn memory_can_be_plugged_in() {
        let mut guest = with_logs("x86_64", false, Path::new("/l"));
        let line = guest.arguments().join(" ");
        assert!(line.contains("-m 3G ") && !line.contains("dimm"), "{line}");
        guest.memory = "3G+2G";
        let line = guest.arguments().join(" ");
        for part in ["-m 3G,slots=1,", ",size=2G", "-device pc-dimm"] {
            assert!(line.contains(part), "{part} in {line}");
        }
    }

    #[test]
    fn the_users_words_come_last() {
        let arguments = guest(false);
        assert!(arguments.last().unwrap().ends_with(" udmabuf.list_limit=2"));
    }
}
