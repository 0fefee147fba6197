// SPDX-License-Identifier: GPL-2.0
//! `bench --profile`: where the instructions of one operation go, by function of the kernel.
//!
//! A plugin of QEMU counts every executed block of the guest between two marks of the guest's program. Nothing is
//! sampled; the guest runs the same instructions as without it.

use std::collections::BTreeMap;
use std::fs;

use super::guest::{self, Job, What};
use crate::context::Context;
use crate::error::{At, Error, Result};
use crate::kernel::build::Kernel;
use crate::run;
use crate::toolchain::Toolchain;

const PLUGIN: &str = include_str!("../../data/bench/profile.c");

/// How many functions are shown.
const SHOWN: usize = 30;

/// The operation to look at.
pub struct Wanted<'a> {
    pub operation: &'a str,
    pub buffer: &'a str,
    pub mib: u32,
}

/// Runs the guest with the plugin and returns the functions as text.
pub fn profile(
    ctx: &Context,
    toolchain: &Toolchain,
    name: &str,
    kernel: &Kernel,
    wanted: &Wanted<'_>,
) -> Result<String> {
    let flags = ["-O2", "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror"];
    let plugin = guest::compile(ctx, toolchain, "profile.so", PLUGIN, &flags)?;
    let (begin, end) = marks(ctx, toolchain)?;
    let argument = format!("/out/profile.so,begin={begin},end={end},to=/out/blocks");
    let job = Job {
        kernel_name: name,
        kernel,
        buffer: wanted.buffer,
        sizes: &[wanted.mib],
        only: Some(wanted.operation),
        plugin: Some(&argument),
        what: What::Instructions,
    };
    let logs = job.logs(ctx)?;
    let blocks = logs.join("blocks");
    fs::copy(&plugin, logs.join("profile.so")).at(&logs)?;
    fs::write(&blocks, "").at(&blocks)?;
    job.run(ctx, toolchain)?;

    let map = kernel.image.with_file_name("System.map");
    let symbols = symbols(&fs::read_to_string(&map).at(&map)?);
    let counts = by_function(&fs::read_to_string(&blocks).at(&blocks)?, &symbols);
    if counts.is_empty() {
        return Err(Error::finding(
            "profile",
            format!("{} was not run on {}", wanted.operation, wanted.buffer),
        )
        .mend("name an operation that cargo series bench shows for this buffer"));
    }
    Ok(render(&counts, wanted))
}

/// The addresses of the program's marks, in hexadecimal.
fn marks(ctx: &Context, toolchain: &Toolchain) -> Result<(String, String)> {
    let program = guest::program(ctx, toolchain)?;
    let table = run::text(
        toolchain
            .command(&[(&program, "/program")], "nm")
            .arg("/program"),
    )?;
    let find = |name: &str| {
        table
            .lines()
            .find(|line| line.ends_with(&format!(" T {name}")))
            .and_then(|line| line.split(' ').next())
            .map(str::to_owned)
            .ok_or_else(|| Error::environment("profile", format!("the program lacks {name}")))
    };
    Ok((find("bench_begin")?, find("bench_end")?))
}

/// Functions of a System.map by address.
fn symbols(map: &str) -> BTreeMap<u64, String> {
    map.lines()
        .filter_map(|line| {
            let mut words = line.split(' ');
            let address = u64::from_str_radix(words.next()?, 16).ok()?;
            let kind = words.next()?;
            let name = words.next()?;
            matches!(kind, "t" | "T" | "w" | "W")
                .then(|| (address, format!("{:#}", rustc_demangle::demangle(name))))
        })
        .collect()
}

/// Instructions of each function, the most first.
fn by_function(blocks: &str, symbols: &BTreeMap<u64, String>) -> Vec<(String, u64)> {
    let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
    for line in blocks.lines() {
        let Some((address, count)) = line.split_once(' ') else {
            continue;
        };
        let (Ok(address), Ok(count)) = (u64::from_str_radix(address, 16), count.parse::<u64>())
        else {
            continue;
        };
        let name = symbols
            .range(..=address)
            .next_back()
            .map_or("(the program itself)", |(_, name)| name);
        *sums.entry(name).or_default() += count;
    }
    let mut sums: Vec<(String, u64)> = sums
        .into_iter()
        .map(|(name, count)| (name.to_owned(), count))
        .collect();
    sums.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    sums
}

fn render(counts: &[(String, u64)], wanted: &Wanted<'_>) -> String {
    let total: u64 = counts.iter().map(|(_, count)| count).sum();
    let pages = f64::from(wanted.mib) * 256.0;
    let mut text = format!(
        "{} of {} at {} MiB: {total} instructions, {:.1} a page\n",
        wanted.operation,
        wanted.buffer,
        wanted.mib,
        total as f64 / pages
    );
    for (name, count) in counts.iter().take(SHOWN) {
        text += &format!(
            "{:>12} {:>8.2} {:>5.1} %  {name}\n",
            count,
            *count as f64 / pages,
            100.0 * *count as f64 / total as f64
        );
    }
    let rest: u64 = counts.iter().skip(SHOWN).map(|(_, count)| count).sum();
    if rest > 0 {
        text += &format!("{rest:>12} {:>8.2}          others\n", rest as f64 / pages);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAP: &str = "ffffffff81000000 T _text\nffffffff81000100 t folio_lock\n\
                       ffffffff81000200 D data\nffffffff81000300 T _RNvNtCs1_6kernel3pin3add\n";

    #[test]
    fn blocks_are_put_to_functions() {
        let blocks = "ffffffff81000110 30\nffffffff81000180 10\nffffffff81000300 5\n401000 7\n";
        let counts = by_function(blocks, &symbols(MAP));
        let found: Vec<(&str, u64)> = counts.iter().map(|(n, c)| (n.as_str(), *c)).collect();
        assert_eq!(
            found,
            [
                ("folio_lock", 40),
                ("(the program itself)", 7),
                ("kernel::pin::add", 5)
            ]
        );
    }

    #[test]
    fn shares_and_costs_by_page() {
        let wanted = Wanted {
            operation: "create",
            buffer: "shmem",
            mib: 1,
        };
        let text = render(&[("a".to_owned(), 768), ("b".to_owned(), 256)], &wanted);
        assert!(text.contains("1024 instructions, 4.0 a page"));
        assert!(text.contains("3.00  75.0 %  a"));
    }
}
