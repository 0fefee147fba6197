// SPDX-License-Identifier: GPL-2.0
//! What operations may cost, and what they must: targets and lower bounds, which are data.

use serde::Deserialize;
use std::collections::BTreeMap;

use super::figures::Operation;

const TARGETS: &str = include_str!("../../data/bench/targets.toml");
const BOUNDS: &str = include_str!("../../data/bench/bounds.toml");

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TargetFile {
    target: Vec<Entry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct BoundFile {
    bound: Vec<Entry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    buffers: Vec<String>,
    operations: BTreeMap<String, f64>,
}

/// Targets and bounds, by buffer and operation.
#[derive(Debug)]
pub struct Limits {
    targets: Vec<Entry>,
    bounds: Vec<Entry>,
}

impl Limits {
    pub fn load() -> Self {
        let targets: TargetFile = toml::from_str(TARGETS).expect("a test reads it");
        let bounds: BoundFile = toml::from_str(BOUNDS).expect("a test reads it");
        Limits {
            targets: targets.target,
            bounds: bounds.bound,
        }
    }

    /// The most that the operation may cost the Rust driver on the buffer.
    pub fn target(&self, buffer: &str, op: &Operation) -> Option<f64> {
        find(&self.targets, buffer, op)
    }

    /// The least that the operation can cost any driver on the buffer.
    pub fn bound(&self, buffer: &str, op: &Operation) -> Option<f64> {
        find(&self.bounds, buffer, op)
    }
}

fn find(entries: &[Entry], buffer: &str, op: &Operation) -> Option<f64> {
    entries
        .iter()
        .filter(|entry| entry.buffers.iter().any(|known| known == buffer))
        .find_map(|entry| entry.operations.get(&op.key()).copied())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::{BUFFERS, KILLED, figures::OPERATIONS};

    #[test]
    fn limits_are_those_of_known_buffers_and_operations() {
        let limits = Limits::load();
        for entry in limits.targets.iter().chain(&limits.bounds) {
            for buffer in &entry.buffers {
                assert!(BUFFERS.contains(&buffer.as_str()), "{buffer}");
            }
            for name in entry.operations.keys() {
                assert!(OPERATIONS.iter().any(|op| op.key() == *name), "{name}");
            }
        }
        let create = OPERATIONS.iter().find(|op| op.key() == "create").unwrap();
        assert_eq!(limits.target("shmem", create), Some(120.0));
        assert_eq!(limits.target("holes", create), None);
        assert_eq!(limits.bound("holes", create), Some(529.0));
    }

    /// A target below the bound could never be met.
    #[test]
    fn no_target_is_below_its_bound() {
        let limits = Limits::load();
        for buffer in BUFFERS {
            for op in &OPERATIONS {
                if let (Some(target), Some(bound)) =
                    (limits.target(buffer, op), limits.bound(buffer, op))
                {
                    assert!(bound <= target, "{} of {buffer}", op.key());
                }
            }
        }
    }

    /// By page, pieces depend on how contiguous the memory is; holes and kills are measured in part.
    #[test]
    fn every_operation_has_a_bound() {
        let limits = Limits::load();
        for buffer in BUFFERS
            .iter()
            .filter(|name| !["holes", KILLED].contains(name))
        {
            for op in &OPERATIONS {
                let by_contiguity = ["attach", "runs", "killed"];
                assert_eq!(
                    limits.bound(buffer, op).is_some(),
                    !by_contiguity.contains(&op.key().as_str()),
                    "{} of {buffer}",
                    op.key()
                );
            }
        }
    }
}
