// SPDX-License-Identifier: GPL-2.0
//! How long steps took, by their kind, kept in the cache: what a step that runs is expected to take.
//!
//! Nothing depends on it: what cannot be read or written is as if there were no past.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use crate::context::short_hash;

/// So many of the last durations are kept.
const KEPT: usize = 5;

static FOLDER: OnceLock<PathBuf> = OnceLock::new();

/// Where durations are kept from now on.
pub fn keep_in(folder: PathBuf) {
    // The first folder stays.
    let _ = FOLDER.set(folder);
}

/// The last durations of this kind of step, the newest last.
pub fn of(kind: &str) -> Vec<Duration> {
    FOLDER.get().map_or(Vec::new(), |folder| read(folder, kind))
}

/// Adds one.
pub fn add(kind: &str, time: Duration) {
    if let Some(folder) = FOLDER.get() {
        write(folder, kind, time);
    }
}

/// What a step of this kind usually takes: the one in the middle.
pub fn usual(kind: &str) -> Option<Duration> {
    let mut times = of(kind);
    times.sort();
    times.get(times.len() / 2).copied()
}

fn file(folder: &Path, kind: &str) -> PathBuf {
    folder.join(short_hash(kind.as_bytes()))
}

fn read(folder: &Path, kind: &str) -> Vec<Duration> {
    let text = fs::read_to_string(file(folder, kind)).unwrap_or_default();
    text.lines()
        .filter_map(|line| line.parse().ok())
        .map(Duration::from_millis)
        .collect()
}

fn write(folder: &Path, kind: &str, time: Duration) {
    let mut times = read(folder, kind);
    times.push(time);
    let last = &times[times.len().saturating_sub(KEPT)..];
    let text: String = last
        .iter()
        .map(|time| format!("{}\n", time.as_millis()))
        .collect();
    let _ = fs::write(file(folder, kind), text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_durations_are_kept_by_kind() {
        let dir = tempfile::tempdir().unwrap();
        assert!(read(dir.path(), "a").is_empty());
        for seconds in 1..=7 {
            write(dir.path(), "a", Duration::from_secs(seconds));
        }
        write(dir.path(), "b", Duration::from_millis(1500));
        let seconds: Vec<u64> = read(dir.path(), "a")
            .iter()
            .map(Duration::as_secs)
            .collect();
        assert_eq!(seconds, [3, 4, 5, 6, 7]);
        assert_eq!(read(dir.path(), "b"), [Duration::from_millis(1500)]);
    }

    #[test]
    fn what_is_no_duration_is_no_past() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(file(dir.path(), "a"), "x\n-1\n\n2000\n").unwrap();
        assert_eq!(read(dir.path(), "a"), [Duration::from_secs(2)]);
        write(&dir.path().join("gone"), "a", Duration::ZERO);
    }
}
