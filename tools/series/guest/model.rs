// SPDX-License-Identifier: GPL-2.0
//! What files, buffers and mappings must contain: a plain model, in which a page is a number.

use std::ops::Range;

use crate::calls::{F_SEAL_SEAL, Mapping};
use crate::sys::{F_SEAL_FUTURE_WRITE, F_SEAL_SHRINK, F_SEAL_WRITE, Fd, HUGE_PAGES};

/// The words of a page that are written. All others stay zero.
pub const WRITTEN: [usize; 2] = [0, 511];

pub type PageId = usize;

/// What every page of memory contains that was ever seen.
#[derive(Debug, Default)]
pub struct Memory(Vec<[u64; WRITTEN.len()]>);

impl Memory {
    /// A new page of zeroes.
    pub fn page(&mut self) -> PageId {
        self.0.push([0; WRITTEN.len()]);
        self.0.len() - 1
    }

    pub fn word(&self, page: PageId, word: usize) -> u64 {
        match WRITTEN.iter().position(|w| *w == word) {
            Some(i) => self.0[page][i],
            None => 0,
        }
    }

    pub fn write(&mut self, page: PageId, which: usize, value: u64) {
        self.0[page][which] = value;
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Of shmem.
    Small,
    /// Of hugetlbfs.
    Huge,
    /// A guest_memfd: it can be mapped, but not read or written, keeps its size, and knows no seals.
    Guest,
}

impl Kind {
    /// Pages that come and go together.
    pub fn unit(self) -> usize {
        match self {
            Kind::Huge => HUGE_PAGES,
            Kind::Small | Kind::Guest => 1,
        }
    }
}

#[derive(Debug)]
pub struct File {
    pub fd: Fd,
    pub kind: Kind,
    /// A hole has no page.
    pub pages: Vec<Option<PageId>>,
    pub seals: u32,
}

impl File {
    pub fn is_huge(&self) -> bool {
        self.kind == Kind::Huge
    }

    pub fn is_guest(&self) -> bool {
        self.kind == Kind::Guest
    }

    pub fn forbids_writing(&self) -> bool {
        self.seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE) != 0
    }

    pub fn forbids_seals(&self) -> bool {
        self.seals & F_SEAL_SEAL != 0
    }

    pub fn can_be_pinned(&self) -> bool {
        self.is_guest() || self.seals & F_SEAL_SHRINK != 0 && !self.forbids_writing()
    }

    /// The units of these pages get memory.
    pub fn fill(&mut self, memory: &mut Memory, first: usize, pages: usize) {
        let unit = self.kind.unit();
        let start = first / unit * unit;
        let end = (first + pages).next_multiple_of(unit);
        for page in &mut self.pages[start..end] {
            page.get_or_insert_with(|| memory.page());
        }
    }
}

/// One of the descriptors of a buffer.
#[derive(Debug)]
pub struct Descriptor {
    pub fd: Fd,
    pub closes_on_exec: bool,
}

#[derive(Debug)]
pub struct Buffer {
    /// No other buffer of the round has this number.
    pub number: usize,
    /// At least one.
    pub descriptors: Vec<Descriptor>,
    pub pages: Vec<PageId>,
    /// Access by the CPU was begun once.
    pub begun: bool,
    /// As it was set.
    pub name: Option<String>,
    /// All descriptors have this in common.
    pub nonblocking: bool,
}

/// How a page of a mapping is set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setup {
    pub readable: bool,
    pub writable: bool,
    /// The last advice about the order of accesses.
    pub order: i32,
    /// The last advice about huge pages, or 0.
    pub huge: i32,
    /// A child process gets it too.
    pub copied: bool,
}

impl Setup {
    pub fn new(readable: bool, writable: bool) -> Self {
        Setup {
            readable,
            writable,
            order: 0,
            huge: 0,
            copied: true,
        }
    }
}

/// A mapping of a buffer, which keeps its pages.
#[derive(Debug)]
pub struct View {
    pub map: Mapping,
    /// The number of the buffer.
    pub buffer: usize,
    pub pages: Vec<PageId>,
    /// All pages of the buffer: they stay pinned.
    pub kept: Vec<PageId>,
    pub setups: Vec<Setup>,
    /// The pages that an area of the kernel starts with. It splits one where a part is set up in another way, and does
    /// not merge areas of page frames when that is undone.
    starts: Vec<bool>,
}

impl View {
    pub fn new(map: Mapping, buffer: &Buffer, pages: Range<usize>, setup: Setup) -> Self {
        let len = pages.len();
        let mut starts = vec![false; len];
        starts[0] = true;
        View {
            map,
            buffer: buffer.number,
            pages: buffer.pages[pages].to_vec(),
            kept: buffer.pages.clone(),
            setups: vec![setup; len],
            starts,
        }
    }

    /// How many areas of the kernel it consists of. Each has a reference to the buffer.
    pub fn areas(&self) -> usize {
        self.starts.iter().filter(|start| **start).count()
    }

    /// Sets up a part in another way.
    pub fn set_up(&mut self, pages: Range<usize>, change: impl Fn(&mut Setup)) {
        let changes = |setup: Setup| {
            let mut other = setup;
            change(&mut other);
            other != setup
        };
        // An area in which nothing changes is not split.
        if changes(self.setups[pages.start]) {
            self.starts[pages.start] = true;
        }
        if pages.end < self.pages.len() && changes(self.setups[pages.end - 1]) {
            self.starts[pages.end] = true;
        }
        self.setups[pages].iter_mut().for_each(change);
    }

    /// The pages in front have been removed.
    pub fn lose_front(&mut self, pages: usize) {
        self.pages.drain(..pages);
        self.setups.drain(..pages);
        self.starts.drain(..pages);
        self.starts[0] = true;
    }

    /// Only these pages are left.
    pub fn lose_back(&mut self, pages: usize) {
        self.pages.truncate(pages);
        self.setups.truncate(pages);
        self.starts.truncate(pages);
    }

    /// Makes what follows this page a view of its own, in the same area.
    pub fn split_off(&mut self, page: usize) -> Self {
        View {
            map: self.map.split_off(page),
            buffer: self.buffer,
            pages: self.pages.split_off(page),
            kept: self.kept.clone(),
            setups: self.setups.split_off(page),
            starts: self.starts.split_off(page),
        }
    }
}
