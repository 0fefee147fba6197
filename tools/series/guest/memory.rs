// SPDX-License-Identifier: GPL-2.0
//! Where memory is that can be moved away: ZONE_MOVABLE and its blocks, the areas of CMA. All of it is as the kernel says.

use std::fs;
use std::ops::Range;
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use crate::blocks::{Attempt, Block};
use crate::sys::PAGE;

const AREAS: &str = "/sys/kernel/debug/cma";

fn number(path: &str) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// What lies in a folder, if that is there.
fn folders(path: &str) -> Option<impl Iterator<Item = String>> {
    let entries = fs::read_dir(path).ok()?;
    Some(entries.filter_map(|entry| Some(entry.ok()?.path().display().to_string())))
}

/// What ZONE_MOVABLE spans, if it has memory.
pub fn zone_movable() -> Option<Range<u64>> {
    let text = fs::read_to_string("/proc/zoneinfo").expect("proc is mounted");
    let zone = text.split("\nNode ").find(|zone| {
        zone.lines()
            .next()
            .is_some_and(|line| line.ends_with(" Movable"))
    })?;
    let value = |name: &str| -> Option<u64> {
        let line = zone.lines().find(|line| line.trim().starts_with(name))?;
        line.split_whitespace().last()?.parse().ok()
    };
    if value("present ")? == 0 {
        return None;
    }
    let start = value("start_pfn:")?;
    Some(start..start + value("spanned ")?)
}

/// Makes so many huge pages of two to the power of `log` bytes where they can be moved, if there is room, and as many for them
/// to move to: one of 1 GiB is not made for that.
///
/// Those in a block that goes offline are gone. As many that there are, since the kernel booted, are left where they are: one
/// of 1 GiB would hardly be made again.
pub fn provide_huge_pages(log: u32, count: usize) {
    if number(&huge_pages(log)).is_some_and(|there| there >= 2 * count as u64) {
        return;
    }
    take_huge_pages(log);
    // Those of 1 GiB are kept out of ZONE_MOVABLE unless this is set. The last ones are used first.
    set_huge_pages(log, count);
    let movable = |yes| fs::write("/proc/sys/vm/movable_gigantic_pages", yes);
    let _ = movable("1");
    set_huge_pages(log, 2 * count);
    let _ = movable("0");
}

pub fn take_huge_pages(log: u32) {
    set_huge_pages(log, 0);
}

/// The file that says how many there are.
fn huge_pages(log: u32) -> String {
    let kilobytes = 1 << (log - 10);
    format!("/sys/kernel/mm/hugepages/hugepages-{kilobytes}kB/nr_hugepages")
}

fn set_huge_pages(log: u32, count: usize) {
    // Where there is no such size, a file of it cannot be made either.
    let _ = fs::write(huge_pages(log), count.to_string());
}

/// What a block may need to go: all of its pages have to move, on a kernel that checks much.
const PATIENCE: Duration = Duration::from_secs(60);

/// The blocks of ZONE_MOVABLE.
pub struct Blocks {
    /// They can go offline, and come back.
    pub go: Vec<Block>,
    /// They cannot: the kernel put something there when it booted, or a page is bad.
    pub stay: Vec<Block>,
}

/// Which blocks can go was tried once, before there was any buffer.
pub fn movable_blocks() -> &'static Blocks {
    static BLOCKS: OnceLock<Blocks> = OnceLock::new();
    BLOCKS.get_or_init(|| {
        let online = Block::all()
            .into_iter()
            .filter(|block| block.is("online") && block.zone() == "Movable");
        let goes = |block: &Block| take_offline(*block) && bring_back(*block);
        let (go, stay): (Vec<Block>, Vec<Block>) = online.partition(goes);
        let (may_go, stuck) = (go.len(), stay.len());
        println!("# {may_go} blocks can go offline, {stuck} cannot");
        Blocks { go, stay }
    })
}

/// Whether it went. What is on its way, as pages of a process that ended, may hold it up.
pub fn take_offline(block: Block) -> bool {
    for _ in 0..10 {
        match block.take_offline(PATIENCE, true) {
            Attempt::Went => return true,
            Attempt::Stuck => return false,
            Attempt::Refused(_) => thread::sleep(Duration::from_millis(100)),
        }
    }
    false
}

/// Whether it came back: one with a bad page does not.
pub fn bring_back(block: Block) -> bool {
    block.bring_back("online_movable")
}

/// An area of CMA.
pub struct Area {
    folder: String,
    span: Range<u64>,
    /// A bit of the bitmap stands for this many pages.
    pages_each: u64,
}

/// How much is allocated at once.
const CHUNK: u64 = (8 << 20) / PAGE as u64;

impl Area {
    pub fn largest() -> Option<Self> {
        let area = |folder: String| {
            let start = number(&format!("{folder}/base_pfn"))?;
            let count = number(&format!("{folder}/count"))?;
            Some(Area {
                span: start..start + count,
                pages_each: 1 << number(&format!("{folder}/order_per_bit"))?,
                folder,
            })
        };
        folders(AREAS)?
            .filter_map(area)
            .max_by_key(|area| area.span.end - area.span.start)
    }

    pub fn span(&self) -> &Range<u64> {
        &self.span
    }

    /// Allocates a part, or a smaller one if there is none; how many pages that were.
    pub fn take(&self) -> u64 {
        let mut chunk = CHUNK;
        while chunk > 0 && fs::write(format!("{}/alloc", self.folder), chunk.to_string()).is_err() {
            chunk /= 2;
        }
        chunk
    }

    /// Allocates until nothing is left to allocate; how many pages that were.
    pub fn take_all(&self) -> u64 {
        let parts = std::iter::repeat_with(|| self.take());
        parts.take_while(|pages| *pages > 0).sum()
    }

    pub fn give_back(&self, pages: u64) {
        let _ = fs::write(format!("{}/free", self.folder), pages.to_string());
    }

    /// Tells whether a page frame is allocated now.
    pub fn taken(&self) -> impl Fn(u64) -> bool {
        let text = fs::read_to_string(format!("{}/bitmap", self.folder)).unwrap_or_default();
        let words: Vec<u32> = text
            .split_whitespace()
            .filter_map(|word| word.parse().ok())
            .collect();
        let (start, pages_each) = (self.span.start, self.pages_each);
        move |frame| {
            let bit = (frame - start) / pages_each;
            let word = words.get(bit as usize / 32).copied().unwrap_or(0);
            word & 1 << (bit % 32) != 0
        }
    }
}
