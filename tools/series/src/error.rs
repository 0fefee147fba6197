// SPDX-License-Identifier: GPL-2.0
//! The one error type: where, why, and the command that mends it.

use std::fmt;
use std::io;
use std::path::Path;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What an error means for the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Something is wrong with the patches, the kernel or a test.
    Finding = 1,
    /// Wrong usage, or a wrong `series.toml`.
    Config = 2,
    /// The machine lacks something: a program, disk, network, a right.
    Environment = 3,
}

/// How a command that did not fail ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    Clean,
    /// Nothing failed, and something was not run.
    NotRun,
    Findings,
}

impl Outcome {
    pub fn exit_code(self) -> u8 {
        match self {
            Outcome::Clean => 0,
            Outcome::Findings => 1,
            Outcome::NotRun => 4,
        }
    }

    /// The worse of two outcomes.
    pub fn and(self, other: Outcome) -> Outcome {
        self.max(other)
    }
}

#[derive(Debug)]
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    kind: Kind,
    place: String,
    cause: String,
    details: Vec<String>,
    mend: Vec<String>,
}

impl Error {
    pub fn new(kind: Kind, place: impl fmt::Display, cause: impl fmt::Display) -> Self {
        Error(Box::new(Inner {
            kind,
            place: place.to_string(),
            cause: cause.to_string(),
            details: Vec::new(),
            mend: Vec::new(),
        }))
    }

    pub fn finding(place: impl fmt::Display, cause: impl fmt::Display) -> Self {
        Self::new(Kind::Finding, place, cause)
    }

    pub fn config(place: impl fmt::Display, cause: impl fmt::Display) -> Self {
        Self::new(Kind::Config, place, cause)
    }

    pub fn environment(place: impl fmt::Display, cause: impl fmt::Display) -> Self {
        Self::new(Kind::Environment, place, cause)
    }

    /// Adds lines that are shown indented below the cause, such as a log's end.
    pub fn detail(mut self, text: impl fmt::Display) -> Self {
        let text = text.to_string();
        self.0.details.extend(text.lines().map(str::to_owned));
        self
    }

    /// Adds a command or an action that mends it; several are alternatives.
    pub fn mend(mut self, action: impl fmt::Display) -> Self {
        self.0.mend.push(action.to_string());
        self
    }

    /// Takes this for the only action that mends it.
    pub fn mend_only(mut self, action: impl fmt::Display) -> Self {
        self.0.mend.clear();
        self.mend(action)
    }

    pub fn place(&self) -> &str {
        &self.0.place
    }

    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    pub fn exit_code(&self) -> u8 {
        self.0.kind as u8
    }

    /// "place: cause" in one line, for tables and logs.
    pub fn summary(&self) -> String {
        format!("{}: {}", self.0.place, self.0.cause)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}: {}", self.0.place, self.0.cause)?;
        for line in &self.0.details {
            write!(f, "\n    {line}")?;
        }
        for (i, action) in self.0.mend.iter().enumerate() {
            let label = if i == 0 { "mend" } else { "  or" };
            write!(f, "\n  {label}: {action}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

/// Gives an I/O error the place that it lacks.
pub trait At<T> {
    fn at(self, place: impl AsRef<Path>) -> Result<T>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, place: impl AsRef<Path>) -> Result<T> {
        self.map_err(|e| Error::environment(place.as_ref().display(), e))
    }
}
