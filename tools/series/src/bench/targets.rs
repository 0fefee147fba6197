// SPDX-License-Identifier: GPL-2.0
//! The targets of the Rust driver, which are data.

use serde::Deserialize;
use std::collections::BTreeMap;

const TARGETS: &str = include_str!("../../data/bench/targets.toml");

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    target: Vec<Target>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Target {
    buffers: Vec<String>,
    operations: BTreeMap<String, f64>,
}

/// All targets, by buffer and operation.
#[derive(Debug)]
pub struct Targets(Vec<Target>);

impl Targets {
    pub fn load() -> Self {
        let file: File = toml::from_str(TARGETS).expect("a test reads it");
        Targets(file.target)
    }

    /// The most that the operation may cost on the buffer.
    pub fn limit(&self, buffer: &str, operation: &str) -> Option<f64> {
        self.0
            .iter()
            .filter(|target| target.buffers.iter().any(|known| known == buffer))
            .find_map(|target| target.operations.get(operation).copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::{BUFFERS, figures::OPERATIONS};

    #[test]
    fn targets_are_those_of_known_buffers_and_operations() {
        let targets = Targets::load();
        for target in &targets.0 {
            for buffer in &target.buffers {
                assert!(BUFFERS.contains(&buffer.as_str()), "{buffer}");
            }
            for name in target.operations.keys() {
                assert!(OPERATIONS.iter().any(|op| op.name == name), "{name}");
            }
        }
        assert_eq!(targets.limit("shmem", "create"), Some(120.0));
        assert_eq!(targets.limit("holes", "create"), None);
    }
}
