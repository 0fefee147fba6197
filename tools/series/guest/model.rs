// SPDX-License-Identifier: GPL-2.0
//! What files, buffers and mappings must contain: a plain model, in which a page is a number.

use crate::sys::{F_SEAL_FUTURE_WRITE, F_SEAL_SHRINK, F_SEAL_WRITE, Fd, Map};

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

#[derive(Debug)]
pub struct File {
    pub fd: Fd,
    /// Pages that come and go together: 1, or as many as a huge page has.
    pub unit: usize,
    /// A hole has no page.
    pub pages: Vec<Option<PageId>>,
    pub seals: u32,
}

impl File {
    pub fn forbids_writing(&self) -> bool {
        self.seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE) != 0
    }

    pub fn can_be_pinned(&self) -> bool {
        self.seals & F_SEAL_SHRINK != 0 && !self.forbids_writing()
    }

    /// The units of these pages get memory.
    pub fn fill(&mut self, memory: &mut Memory, first: usize, pages: usize) {
        let start = first / self.unit * self.unit;
        let end = (first + pages).next_multiple_of(self.unit);
        for page in &mut self.pages[start..end] {
            page.get_or_insert_with(|| memory.page());
        }
    }
}

#[derive(Debug)]
pub struct Buffer {
    pub fd: Fd,
    pub pages: Vec<PageId>,
    /// Access by the CPU was begun once.
    pub begun: bool,
}

/// A mapping of a buffer, which keeps its pages.
#[derive(Debug)]
pub struct View {
    pub map: Map,
    pub pages: Vec<PageId>,
    /// All pages of the buffer: they stay pinned.
    pub kept: Vec<PageId>,
    pub writable: bool,
}
