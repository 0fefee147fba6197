// SPDX-License-Identifier: GPL-2.0
//! `bench --latency`: the longest time that an operation keeps interrupts or preemption off.
//!
//! The kernel's own tracers say so, in microseconds: thousands of instructions. They need a kernel of their own, whose
//! other figures mean nothing.

use std::path::Path;

use super::figures::{OPERATIONS, Unit};
use super::record::Record;

/// A row for each operation, a column for each kernel: thousands of instructions at the largest size.
pub fn render(record: &Record, kernels: &[&str], buffers: &[&str]) -> String {
    let mut text = String::new();
    for buffer in buffers {
        let sizes: Vec<u32> = kernels
            .iter()
            .flat_map(|kernel| record.sizes(kernel, buffer))
            .collect();
        let Some(largest) = sizes.iter().max() else {
            continue;
        };
        text += &format!("{:22}", format!("{buffer} {largest} MiB"));
        for kernel in kernels {
            text += &format!(" {kernel:>11}");
        }
        text.push('\n');
        // The same operation by piece took as long.
        for op in OPERATIONS.iter().filter(|op| op.unit != Unit::Piece) {
            let found: Vec<Option<i64>> = kernels
                .iter()
                .map(|kernel| record.get(kernel, buffer, *largest, op.name))
                .collect();
            if found.iter().all(Option::is_none) {
                continue;
            }
            text += &format!("  {:20}", op.name);
            for off in found {
                let off = off.map_or("-".to_owned(), |off| format!("{}k", off / 1000));
                text += &format!(" {off:>11}");
            }
            text.push('\n');
        }
        text.push('\n');
    }
    text + "instructions with interrupts or preemption off, the longest run of them in each operation\n"
}

/// Next to the counts, and never among them.
pub fn file(dir: &Path) -> std::path::PathBuf {
    dir.join("latency.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_for_each_operation_at_the_largest_size() {
        let mut record = Record::default();
        let text = "bench: thp 16 attach 1000\nbench: thp 64 attach 17000\nbench: end\n";
        record.add("tip+rust", text).unwrap();
        let text = render(&record, &["base+c", "tip+rust"], &["shmem", "thp"]);
        let expected = "\
thp 64 MiB                  base+c    tip+rust
  attach                         -         17k

";
        assert!(text.starts_with(expected), "{text}");
    }
}
