// SPDX-License-Identifier: GPL-2.0
//! What buffers were made of leaves memory that may have to go: then all of ZONE_MOVABLE is taken offline, or all of CMA
//! is allocated, while the buffers are there, and what they hold is read once more.
//!
//! Each case fills a file where it can be moved, or the first half of it, with a hole behind. Where a page is, the kernel
//! says: its frame in /proc/self/pagemap, the zones in /proc/zoneinfo, the areas of CMA in debugfs.
//!
//! In the last two cases, buffers are made while that memory goes and comes back.

mod blocks;
mod buffers;
mod children;
mod counts;
mod frames;
mod meanwhile;
mod memory;
mod sys;

use std::fs;
use std::ops::Range;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use blocks::Block;
use buffers::Way;
use memory::Area;
use sys::*;

/// What a file consists of, and how many of those.
struct Kind {
    name: &'static str,
    /// Two to the power of this are the bytes of each.
    log: u32,
    count: usize,
    /// They are huge pages of hugetlb.
    hugetlb: bool,
}

const KINDS: [Kind; 4] = [
    Kind::new("small", 12, 16384, false),
    Kind::new("thp", 21, 32, false),
    Kind::new("hugetlb", 21, 16, true),
    Kind::new("hugetlb_1g", 30, 1, true),
];

impl Kind {
    const fn new(name: &'static str, log: u32, count: usize, hugetlb: bool) -> Self {
        Kind {
            name,
            log,
            count,
            hugetlb,
        }
    }

    fn pages(&self) -> usize {
        self.count << (self.log - 12)
    }

    /// How many pages are filled. A hole of hugetlb takes a page that is there, wherever that is, or is an error.
    fn filled(&self) -> usize {
        self.pages() / if self.hugetlb { 1 } else { 2 }
    }

    fn provide(&self) {
        if self.hugetlb {
            memory::provide_huge_pages(self.log, self.count);
        } else if self.log > 12 {
            fs::write(THP, "force").expect("CONFIG_TRANSPARENT_HUGEPAGE");
        }
    }

    fn take_back(&self) {
        if self.hugetlb {
            memory::take_huge_pages(self.log);
        } else if self.log > 12 {
            let _ = fs::write(THP, "never");
        }
    }

    /// How many of these frames, of pages that follow each other in the file, make up pages of this size.
    fn are_whole(&self, frames: &[Option<u64>]) -> usize {
        let each = 1 << (self.log - 12);
        let is_whole = |frames: &&[Option<u64>]| {
            let first = frames[0].filter(|first| first % each as u64 == 0);
            first.is_some_and(|first| {
                (first..)
                    .zip(*frames)
                    .all(|(next, frame)| *frame == Some(next))
            })
        };
        frames.chunks_exact(each).filter(is_whole).count() * each
    }

    fn file(&self) -> Result<Fd> {
        match self.hugetlb {
            true => Fd::memfd_huge(self.log),
            false => Fd::memfd(false),
        }
    }
}

const THP: &str = "/sys/kernel/mm/transparent_hugepage/shmem_enabled";

/// How a case ends, unless it passes.
enum Not {
    Applicable(String),
    Right(String),
}

/// What a case says.
type Ended = std::result::Result<String, Not>;

fn wrong(what: impl Into<String>) -> Not {
    Not::Right(what.into())
}

/// A file with a buffer of all of it.
struct Live<'a> {
    kind: &'a Kind,
    file: Map,
    buffer: Map,
}

impl<'a> Live<'a> {
    /// Of a file whose pages were where they can be moved; and where those were.
    fn make(kind: &'a Kind, movable: &Range<u64>) -> std::result::Result<(Self, Vec<u64>), Not> {
        let Ok(file) = kind.file() else {
            return Err(Not::Applicable("there are no such pages".to_owned()));
        };
        let (pages, filled) = (kind.pages(), kind.filled());
        file.truncate(pages).expect("ftruncate works");
        file.add_seals(F_SEAL_SHRINK).expect("seals can be added");
        let Ok(map) = file.map(0, pages, PROT_READ | PROT_WRITE, MAP_SHARED) else {
            return Err(Not::Applicable("there are too few such pages".to_owned()));
        };
        for page in 0..filled {
            map.write(page, 0, tag(page));
            map.write(page, 511, !tag(page));
        }
        let frames = map.frames();
        let whole = kind.are_whole(&frames[..filled]);
        if whole < filled / 2 {
            return Err(wrong(format!("only {whole} of {filled} pages are in such")));
        }
        let present = frames.into_iter().flatten();
        let before: Vec<u64> = present.filter(|frame| movable.contains(frame)).collect();
        if before.len() < filled / 2 {
            let found = before.len();
            return Err(wrong(format!(
                "only {found} of {filled} pages are where they can be moved"
            )));
        }
        let buffer = Way::One
            .create(&buffers::device(), &file, 0, pages)
            .map_err(|errno| wrong(format!("UDMABUF_CREATE: error {errno}")))?;
        let buffer = buffer
            .map(0, pages, PROT_READ | PROT_WRITE, MAP_SHARED)
            .expect("a buffer can be mapped");
        // What was a hole is filled now, and gets its words through the buffer.
        for page in filled..pages {
            buffer.write(page, 0, tag(page));
            buffer.write(page, 511, !tag(page));
        }
        let live = Live {
            kind,
            file: map,
            buffer,
        };
        live.holds("after it was made")?;
        let frames = live.file.frames().into_iter();
        let stayed = frames
            .filter(|frame| frame.is_none_or(|frame| movable.contains(&frame)))
            .count();
        if stayed > 0 {
            return Err(wrong(format!(
                "{stayed} of {pages} pages can still be moved"
            )));
        }
        Ok((live, before))
    }

    /// Each word through the file and through the buffer.
    fn holds(&self, when: &str) -> std::result::Result<(), Not> {
        let right = |map: &Map, page: usize| {
            map.read(page, 0) == tag(page) && map.read(page, 511) == !tag(page)
        };
        for page in 0..self.kind.pages() {
            if !right(&self.file, page) || !right(&self.buffer, page) {
                return Err(wrong(format!("page {page} holds something else {when}")));
            }
        }
        Ok(())
    }
}

fn tag(page: usize) -> u64 {
    0x0ff1_1ae0_0000_0000 + page as u64
}

/// All blocks of ZONE_MOVABLE go offline, and come back.
fn zone_movable(kind: &Kind) -> Ended {
    let Some(movable) = memory::zone_movable() else {
        return Err(Not::Applicable("there is no ZONE_MOVABLE".to_owned()));
    };
    let blocks = &memory::movable_blocks().go;
    kind.provide();
    let (live, before) = Live::make(kind, &movable)?;
    let (gone, stuck): (Vec<Block>, Vec<Block>) = blocks
        .iter()
        .partition(|block| memory::take_offline(**block));
    let well = live.holds("while the zone is offline");
    let back = gone
        .iter()
        .filter(|block| memory::bring_back(**block))
        .count();
    well?;
    live.holds("after the zone is back")?;
    if !stuck.is_empty() || back < gone.len() || blocks.is_empty() {
        let (stuck, gone, all) = (stuck.len(), gone.len(), blocks.len());
        return Err(wrong(format!(
            "of {all} blocks {stuck} stay, and {back} of {gone} came back"
        )));
    }
    let (pages, all) = (before.len(), blocks.len());
    Ok(format!("{pages} pages left, {all} blocks went offline"))
}

/// All that the pages were in is allocated from CMA, and given back.
fn cma(kind: &Kind) -> Ended {
    let Some(area) = Area::largest() else {
        return Err(Not::Applicable("there is no CMA".to_owned()));
    };
    kind.provide();
    let (live, before) = Live::make(kind, area.span())?;
    let taken = area.take_all();
    let well = live.holds("while CMA is allocated");
    let is_taken = area.taken();
    let missing = before.iter().filter(|frame| !is_taken(**frame)).count();
    area.give_back(taken);
    well?;
    live.holds("after CMA was given back")?;
    if missing > 0 {
        return Err(wrong(format!(
            "{missing} of {} frames could not be allocated",
            before.len()
        )));
    }
    Ok(format!("{} pages left, {taken} allocated", before.len()))
}

/// So many pages that can be moved, in use until they are dropped.
fn taken(pages: usize) -> Option<Map> {
    if pages == 0 {
        return None;
    }
    let file = Fd::memfd(false).expect("memfd_create works");
    file.truncate(pages).expect("ftruncate works");
    let map = file.map(0, pages, PROT_READ | PROT_WRITE, MAP_SHARED);
    let map = map.expect("a memfd can be mapped");
    (0..pages).for_each(|page| map.write(page, 0, 1));
    Some(map)
}

/// The blocks of ZONE_MOVABLE that files are in go offline and come back, while buffers are made of them.
fn zone_movable_meanwhile() -> Ended {
    let Some(movable) = memory::zone_movable() else {
        return Err(Not::Applicable("there is no ZONE_MOVABLE".to_owned()));
    };
    let memory::Blocks { go: blocks, stay } = memory::movable_blocks();
    // A file in a block that stays would not be met: as much is in use as those have.
    let _used = taken(stay.iter().map(|block| block.frames().count()).sum());
    let strike = |frame: Option<u64>| {
        let block = frame.map(Block::of).filter(|block| blocks.contains(block));
        let went = block.is_some_and(memory::take_offline);
        went && block.is_some_and(memory::bring_back)
    };
    let ended = meanwhile::race(&movable, strike).map_err(Not::Right);
    match blocks.iter().filter(|block| !block.is("online")).count() {
        0 => ended,
        away => Err(wrong(format!("{away} blocks did not come back"))),
    }
}

/// Parts of CMA are allocated until there are none left, and given back, while buffers are made of what was in them.
fn cma_meanwhile() -> Ended {
    let Some(area) = Area::largest() else {
        return Err(Not::Applicable("there is no CMA".to_owned()));
    };
    let taken = AtomicU64::new(0);
    let strike = |_| {
        let pages = area.take();
        taken.fetch_add(pages, Relaxed);
        if pages == 0 {
            area.give_back(taken.swap(0, Relaxed));
        }
        // Each page has been taken once.
        pages == 0
    };
    let ended = meanwhile::race(area.span(), strike);
    area.give_back(taken.into_inner());
    ended.map_err(Not::Right)
}

type Case = (String, Box<dyn Fn() -> Ended>);

fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for (place, case) in [
        ("zone_movable", zone_movable as fn(&Kind) -> Ended),
        ("cma", cma),
    ] {
        for kind in &KINDS {
            let run = move || with_pages(kind, case);
            cases.push((format!("{place}.{}", kind.name), Box::new(run)));
        }
    }
    cases.push((
        "zone_movable.meanwhile".to_owned(),
        Box::new(zone_movable_meanwhile),
    ));
    cases.push(("cma.meanwhile".to_owned(), Box::new(cma_meanwhile)));
    cases
}

fn with_pages(kind: &Kind, case: fn(&Kind) -> Ended) -> Ended {
    let ended = case(kind);
    kind.take_back();
    ended
}

fn main() -> ExitCode {
    let cases = cases();
    println!("TAP version 13\n1..{}", cases.len());
    let mut code = ExitCode::SUCCESS;
    for (i, (name, case)) in cases.iter().enumerate() {
        let before = counts::count();
        let ended = match case() {
            Ok(_) if !counts::returned(&before) => Err(wrong("something was left behind")),
            ended => ended,
        };
        let name = format!("{} offline.{name}", i + 1);
        match ended {
            Ok(said) => println!("# {said}\nok {name}"),
            Err(Not::Applicable(why)) => println!("ok {name} # SKIP {why}"),
            Err(Not::Right(what)) => {
                println!("# {what}\nnot ok {name}");
                code = ExitCode::FAILURE;
            }
        }
    }
    println!("# figures: {}", buffers::figures());
    code
}
