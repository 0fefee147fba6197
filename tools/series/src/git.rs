// SPDX-License-Identifier: GPL-2.0
//! A thin wrapper over git that behaves the same whatever the user's configuration is.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::error::Result;
use crate::run;

/// Commits that the tool makes: fixed, so that ids repeat.
pub const NAME: &str = "series";
pub const EMAIL: &str = "series@localhost";
/// 2026-01-01 00:00:00 UTC.
pub const DATE: &str = "1767225600 +0000";

#[derive(Debug, Clone)]
pub struct Git {
    dir: PathBuf,
    environment: Vec<(&'static str, String)>,
}

impl Git {
    /// git in this folder: a worktree, or a bare repository.
    pub fn at(dir: impl Into<PathBuf>) -> Self {
        Git {
            dir: dir.into(),
            environment: Vec::new(),
        }
    }

    /// The same with an environment variable.
    pub fn with(&self, name: &'static str, value: impl Into<String>) -> Self {
        let mut git = self.clone();
        git.environment.push((name, value.into()));
        git
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub fn command<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Command {
        let mut command = Command::new("git");
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("GIT_") {
                command.env_remove(name);
            }
        }
        command
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("LC_ALL", "C")
            .env("TZ", "UTC");
        for role in ["AUTHOR", "COMMITTER"] {
            command
                .env(format!("GIT_{role}_NAME"), NAME)
                .env(format!("GIT_{role}_EMAIL"), EMAIL)
                .env(format!("GIT_{role}_DATE"), DATE);
        }
        for setting in [
            "safe.directory=*",
            "core.autocrlf=false",
            "core.quotePath=false",
            "core.hooksPath=/dev/null",
            "core.fsmonitor=false",
            "commit.gpgSign=false",
            "gc.auto=0",
            "maintenance.auto=false",
            "advice.detachedHead=false",
            "i18n.commitEncoding=UTF-8",
        ] {
            command.args(["-c", setting]);
        }
        command.arg("-C").arg(&self.dir).args(arguments);
        command.envs(self.environment.iter().map(|(n, v)| (n, v)));
        command
    }

    /// Runs and returns standard output without its last newline.
    pub fn run<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Result<String> {
        let text = run::text(&mut self.command(arguments))?;
        Ok(text.strip_suffix('\n').unwrap_or(&text).to_owned())
    }

    /// Runs and returns everything, whether git failed or not.
    pub fn attempt<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Result<Output> {
        run::capture(&mut self.command(arguments))
    }

    /// Whether git ended well.
    pub fn test<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Result<bool> {
        Ok(self.attempt(arguments)?.status.success())
    }

    /// Runs with standard input and returns everything, whether git failed or not.
    pub fn attempt_with_input<S: AsRef<OsStr>>(
        &self,
        arguments: &[S],
        input: &[u8],
    ) -> Result<Output> {
        run::capture_with_input(&mut self.command(arguments), input)
    }

    /// Runs with standard input and returns standard output without its last newline.
    pub fn run_with_input<S: AsRef<OsStr>>(&self, arguments: &[S], input: &[u8]) -> Result<String> {
        let mut command = self.command(arguments);
        let output = run::capture_with_input(&mut command, input)?;
        let stdout = run::succeed(&command, output)?;
        let text = String::from_utf8_lossy(&stdout);
        Ok(text.strip_suffix('\n').unwrap_or(&text).to_owned())
    }

    /// Moves a ref that only this tool writes.
    pub fn set_ref(&self, reference: &str, commit: &str) -> Result<()> {
        self.unlock_ref(reference)?;
        self.run(&["update-ref", reference, commit])?;
        Ok(())
    }

    /// Removes what a git that was killed has left in the way of the next. For refs that nobody writes just now, or only
    /// those who write the same.
    pub fn unlock_ref(&self, reference: &str) -> Result<()> {
        let lock = format!("{reference}.lock");
        let lock = self.run(&["rev-parse", "--path-format=absolute", "--git-path", &lock])?;
        let _ = std::fs::remove_file(lock);
        Ok(())
    }

    /// The id that a name stands for, if it exists.
    pub fn resolve(&self, name: &str) -> Result<Option<String>> {
        let output = self.attempt(&["rev-parse", "--verify", "--quiet", name])?;
        let id = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        Ok(output.status.success().then_some(id))
    }
}
