// SPDX-License-Identifier: GPL-2.0
//! What the guests counted: read from their lines, kept as JSON.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::clock;
use crate::error::{At, Error, Result};

/// Counts of one run. Written to a file, it is also the baseline of the gate.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// "tip+rust shmem 64 create": instructions, or bytes where that is what the operation counts.
    pub counts: BTreeMap<String, i64>,
}

/// The name of a count.
pub fn key(kernel: &str, buffer: &str, mib: u32, operation: &str) -> String {
    format!("{kernel} {buffer} {mib} {operation}")
}

impl Record {
    pub fn get(&self, kernel: &str, buffer: &str, mib: u32, operation: &str) -> Option<i64> {
        self.counts
            .get(&key(kernel, buffer, mib, operation))
            .copied()
    }

    /// Adds what the guest of `kernel` said on its results channel.
    pub fn add(&mut self, kernel: &str, results: &str) -> Result<()> {
        let place = format!("bench on {kernel}");
        let results = results.replace('\r', "");
        let mut ended = false;
        for line in results.lines() {
            let Some(line) = line.strip_prefix("bench: ") else {
                continue;
            };
            if let Some(what) = line.strip_prefix("error ") {
                return Err(Error::finding(place, what));
            }
            if line == "end" {
                ended = true;
                continue;
            }
            let wrong = || Error::finding(&place, format!("the guest said {line:?}"));
            let (name, value) = line.rsplit_once(' ').ok_or_else(wrong)?;
            let value = value.parse().map_err(|_| wrong())?;
            self.counts.insert(format!("{kernel} {name}"), value);
        }
        if ended {
            return Ok(());
        }
        Err(Error::finding(place, "the guest ended before it was done"))
    }

    /// With what was counted later. Of a kernel and a buffer that were counted again, nothing old stays, in any size: costs
    /// by page are taken between two.
    pub fn updated(mut self, later: &Record) -> Self {
        let measured =
            |key: &str| -> Vec<String> { key.split(' ').take(2).map(str::to_owned).collect() };
        let again: BTreeSet<_> = later.counts.keys().map(|key| measured(key)).collect();
        self.counts.retain(|key, _| !again.contains(&measured(key)));
        self.counts.extend(later.counts.clone());
        self
    }

    /// The sizes in MiB that were measured on this buffer, ascending.
    pub fn sizes(&self, kernel: &str, buffer: &str) -> Vec<u32> {
        let start = format!("{kernel} {buffer} ");
        let mut sizes: Vec<u32> = self
            .counts
            .keys()
            .filter_map(|key| key.strip_prefix(&start)?.split(' ').next()?.parse().ok())
            .collect();
        sizes.sort_unstable();
        sizes.dedup();
        sizes
    }

    pub fn read(path: &Path) -> Result<Self> {
        let wrong = |cause: String| {
            Error::config(path.display(), cause)
                .mend("name bench.json of an earlier run, or the recorded counts")
        };
        let text = fs::read_to_string(path).map_err(|e| wrong(e.to_string()))?;
        serde_json::from_str(&text).map_err(|e| wrong(format!("holds no counts: {e}")))
    }

    /// What is kept in this file, with its date in seconds since 1970; or what `count` gives, which is kept then.
    pub fn kept(
        path: &Path,
        use_kept: bool,
        count: impl FnOnce() -> Result<Self>,
    ) -> Result<(Self, Option<u64>)> {
        if let (true, Ok(record)) = (use_kept, Self::read(path)) {
            let written = path.metadata().and_then(|meta| meta.modified()).at(path)?;
            return Ok((record, Some(clock::seconds(written))));
        }
        let record = count()?;
        record.write(path)?;
        Ok((record, None))
    }

    pub fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self).expect("plain data");
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir).at(dir)?;
        }
        fs::write(path, text + "\n").at(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_counted_again_stays() {
        let of = |counts: &[(&str, i64)]| Record {
            counts: counts
                .iter()
                .map(|(key, n)| (key.to_string(), *n))
                .collect(),
        };
        let record = of(&[
            ("base+c shmem 64 create", 1),
            ("tip+rust list 16 create", 2),
            ("tip+rust shmem 16 create", 3),
            ("tip+rust shmem 64 gone", 4),
        ]);
        let expected = of(&[
            ("base+c shmem 64 create", 1),
            ("tip+rust list 16 create", 2),
            ("tip+rust shmem 64 create", 5),
        ]);
        assert_eq!(
            record.updated(&of(&[("tip+rust shmem 64 create", 5)])),
            expected
        );
    }

    #[test]
    fn lines_become_counts() {
        let mut record = Record::default();
        let text =
            "noise\r\nbench: shmem 64 create 100\r\nbench: shmem 16 create 7\r\nbench: end\r\n";
        record.add("base+c", text).unwrap();
        assert_eq!(record.get("base+c", "shmem", 64, "create"), Some(100));
        assert_eq!(record.get("tip+c", "shmem", 64, "create"), None);
        assert_eq!(record.sizes("base+c", "shmem"), [16, 64]);
    }

    #[test]
    fn a_guest_that_fails_is_an_error() {
        let add = |text| Record::default().add("tip+c", text);
        assert!(add("bench: shmem 64 create 100\n").is_err());
        assert!(add("bench: shmem 64 create many\nbench: end\n").is_err());
        assert!(add("bench: error create: Bad address (shmem, 64 MiB)\nbench: end\n").is_err());
    }

    #[test]
    fn what_was_counted_is_counted_again_only_if_it_must_be() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kept.json");
        let get = |use_kept: bool, now: i64| {
            let count = || {
                let mut record = Record::default();
                record.add("c", &format!("bench: thp 16 close {now}\nbench: end\n"))?;
                Ok(record)
            };
            let (record, date) = Record::kept(&path, use_kept, count).unwrap();
            (record.get("c", "thp", 16, "close").unwrap(), date.is_some())
        };
        assert_eq!(get(true, 1), (1, false));
        assert_eq!(get(true, 2), (1, true));
        assert_eq!(get(false, 3), (3, false));
        std::fs::write(&path, "{ \"counts\": {").unwrap();
        assert_eq!(get(true, 4), (4, false), "half a file is none");
        let fails = || Err(Error::finding("guest", "died"));
        assert!(Record::kept(&dir.path().join("none"), true, fails).is_err());
        assert!(!dir.path().join("none").exists());
    }

    #[test]
    fn what_is_written_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/record.json");
        let mut record = Record::default();
        record
            .add("c", "bench: thp 16 close 5\nbench: end\n")
            .unwrap();
        record.write(&path).unwrap();
        assert_eq!(Record::read(&path).unwrap(), record);
        assert!(Record::read(&dir.path().join("missing")).is_err());
    }
}
