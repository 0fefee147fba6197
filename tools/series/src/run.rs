// SPDX-License-Identifier: GPL-2.0
//! Runs other programs, and turns their failure into an [`Error`] that shows the end of what they said.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::process::{Command, ExitStatus, Output, Stdio};

use crate::error::{At, Error, Result};

/// How many lines of a failed program's output an error shows.
const TAIL_LINES: usize = 12;

/// The program's name, for messages.
fn name(command: &Command) -> String {
    Path::new(command.get_program())
        .file_name()
        .unwrap_or(command.get_program())
        .to_string_lossy()
        .into_owned()
}

/// The program's name; of git, all that it was asked for.
fn asked(command: &Command) -> String {
    let name = name(command);
    let arguments: Vec<_> = command.get_args().map(|a| a.to_string_lossy()).collect();
    // Settings that are the same each time stand before the folder.
    match arguments.iter().position(|a| a == "-C") {
        Some(at) if name == "git" => format!("git {}", arguments[at..].join(" ")),
        _ => name,
    }
}

/// A program that could not be started, and how to get it if it is not there.
pub fn not_started(command: &Command, e: std::io::Error) -> Error {
    let name = name(command);
    if e.kind() == std::io::ErrorKind::NotFound {
        Error::environment(&name, "this program is not installed")
            .mend(format!("install {name} with your package manager"))
    } else {
        Error::environment(&name, format!("could not be started: {e}"))
    }
}

/// "exit code 2" or "killed by signal 9".
pub fn describe(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("killed by signal {signal}"),
        (None, None) => "ended in an unknown way".to_owned(),
    }
}

/// The last lines of a text.
pub fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.trim_end().lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}

/// Runs to the end and returns everything, whether the program failed or not.
pub fn capture(command: &mut Command) -> Result<Output> {
    command
        .stdin(Stdio::null())
        .output()
        .map_err(|e| not_started(command, e))
}

/// Runs with `input` on standard input and returns everything, whether the program failed or not.
pub fn capture_with_input(command: &mut Command, input: &[u8]) -> Result<Output> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| not_started(command, e))?;
    let mut stdin = child.stdin.take().expect("stdin was piped");
    std::thread::scope(|scope| {
        // A program that ends without reading all of it is not an error of ours.
        scope.spawn(move || stdin.write_all(input));
        child.wait_with_output()
    })
    .map_err(|e| not_started(command, e))
}

/// Fails unless the program ended well.
pub fn succeed(command: &Command, output: Output) -> Result<Vec<u8>> {
    if output.status.success() {
        return Ok(output.stdout);
    }
    let mut said = String::from_utf8_lossy(&output.stderr).into_owned();
    if said.trim().is_empty() {
        said = String::from_utf8_lossy(&output.stdout).into_owned();
    }
    let error = Error::environment(asked(command), describe(output.status)).detail(tail(&said));
    Err(match stale_lock(&said) {
        Some(file) => error.mend(format!(
            "rm '{file}', if no git is at work there: one that was killed left it"
        )),
        None => error,
    })
}

/// The file that git finds in its way when another git works there, or was killed there.
fn stale_lock(said: &str) -> Option<&str> {
    let (_, rest) = said.split_once("Unable to create '")?;
    Some(rest.split_once("': File exists")?.0)
}

/// Runs and returns standard output as text.
pub fn text(command: &mut Command) -> Result<String> {
    let output = capture(command)?;
    let stdout = succeed(command, output)?;
    Ok(String::from_utf8_lossy(&stdout).into_owned())
}

/// Runs with both outputs appended to a log file. The status is the caller's to judge.
pub fn log_status(command: &mut Command, log: &Path) -> Result<ExitStatus> {
    if let Some(dir) = log.parent() {
        fs::create_dir_all(dir).at(dir)?;
    }
    let file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(log)
        .at(log)?;
    let second = file.try_clone().at(log)?;
    command
        .stdin(Stdio::null())
        .stdout(file)
        .stderr(second)
        .status()
        .map_err(|e| not_started(command, e))
}

/// Runs with both outputs appended to a log file; fails with the log's end and its place.
pub fn logged(command: &mut Command, place: &str, log: &Path) -> Result<()> {
    let status = log_status(command, log)?;
    if status.success() {
        return Ok(());
    }
    Err(Error::environment(place, describe(status))
        .detail(tail(&end_of(log)?))
        .mend(format!("read {}", log.display())))
}

/// The last few kilobytes of a file, as text.
pub fn end_of(path: &Path) -> Result<String> {
    const BYTES: u64 = 16 * 1024;
    let mut file = File::open(path).at(path)?;
    let len = file.metadata().at(path)?.len();
    file.seek(SeekFrom::Start(len.saturating_sub(BYTES)))
        .at(path)?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).at(path)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_git_that_failed_is_named_with_what_it_was_asked_for() {
        let mut git = Command::new("git");
        git.args(["-c", "core.abbrev=40", "-C", "/", "no-such-command", "x"]);
        let error = text(&mut git).unwrap_err();
        assert_eq!(error.place(), "git -C / no-such-command x");
        let error = text(Command::new("sh").args(["-c", "exit 3"])).unwrap_err();
        assert_eq!(error.summary(), "sh: exit code 3");
    }

    #[test]
    fn a_lock_that_a_killed_git_left_is_named() {
        let said = "fatal: Unable to create '/a b/it's/index.lock': File exists.\n\nAnother git\n";
        assert_eq!(stale_lock(said), Some("/a b/it's/index.lock"));
        assert_eq!(
            stale_lock("fatal: Unable to create 'x': No space left"),
            None
        );
    }
}
