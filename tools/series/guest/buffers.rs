// SPDX-License-Identifier: GPL-2.0
//! Files whose pages have numbers, and buffers of them, made in either way.
//!
//! Neither making a buffer nor looking through it allocates, so that children may.

// Each program has its own use for them.
#![allow(dead_code)]

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::sys::*;

pub const PAGES: usize = 64;

/// How a buffer is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// With UDMABUF_CREATE, in the order of the file.
    One,
    /// With UDMABUF_CREATE_LIST, of parts: the second half of the pages comes first.
    List,
}

const ITEMS: usize = 4;

#[repr(C)]
struct List {
    flags: u32,
    count: u32,
    items: [Item; ITEMS],
}

impl Way {
    pub const ALL: [Way; 2] = [Way::One, Way::List];

    /// Each in its turn.
    pub fn of_round(n: u64) -> Self {
        Self::ALL[n as usize % Self::ALL.len()]
    }

    pub fn name(self) -> &'static str {
        match self {
            Way::One => "UDMABUF_CREATE",
            Way::List => "UDMABUF_CREATE_LIST",
        }
    }

    /// Which of the file's pages a page of the buffer is, of so many.
    pub fn page(self, page: usize, pages: usize) -> usize {
        match self {
            Way::One => page,
            Way::List => (page + pages / 2) % pages,
        }
    }

    /// A buffer of these pages of a file, which are a multiple of four.
    pub fn create(self, dev: &Fd, file: &Fd, first: usize, pages: usize) -> Result<Fd> {
        let buffer = self.try_to_create(dev, file, first, pages);
        let count = if buffer.is_ok() { &MADE } else { &REFUSED };
        count.fetch_add(1, Relaxed);
        buffer
    }

    fn try_to_create(self, dev: &Fd, file: &Fd, first: usize, pages: usize) -> Result<Fd> {
        let bytes = |pages: usize| (pages * PAGE) as u64;
        let memfd = file.number() as u32;
        match self {
            Way::One => {
                let mut create = Create {
                    memfd,
                    flags: 0,
                    offset: bytes(first),
                    size: bytes(pages),
                };
                dev.ioctl_fd(UDMABUF_CREATE, &mut create)
            }
            Way::List => {
                let part = pages / ITEMS;
                let item = |i: usize| Item {
                    memfd,
                    pad: 0,
                    offset: bytes(first + self.page(i * part, pages)),
                    size: bytes(part),
                };
                let mut list = List {
                    flags: 0,
                    count: ITEMS as u32,
                    items: [item(0), item(1), item(2), item(3)],
                };
                dev.ioctl_fd(UDMABUF_CREATE_LIST, &mut list)
            }
        }
    }
}

/// How often this process made a buffer, and how often it could not.
static MADE: AtomicU64 = AtomicU64::new(0);
static REFUSED: AtomicU64 = AtomicU64::new(0);

pub fn figures() -> String {
    let (made, refused) = (MADE.load(Relaxed), REFUSED.load(Relaxed));
    format!("buffers={made} refused_buffers={refused}")
}

/// What a page of a file begins with.
pub fn tag(page: usize) -> u64 {
    0x5ec2_e700 + page as u64
}

/// Writes its number to each page.
pub fn number_pages(file: &Fd, first: usize) {
    let pages = file.size().expect("a file has a size") / PAGE;
    let map = file.map_aligned(pages, PROT_READ | PROT_WRITE);
    let map = map.expect("a memfd can be mapped");
    for page in 0..PAGES {
        map.write(first + page, 0, tag(page));
    }
}

/// A file of small pages with numbers.
pub fn numbered_file() -> Fd {
    let file = Fd::memfd(false).expect("memfd_create works");
    file.truncate(PAGES).expect("ftruncate works");
    number_pages(&file, 0);
    file
}

pub fn device() -> Fd {
    Fd::open("/dev/udmabuf").expect("/dev/udmabuf can be opened")
}

/// Whether each page of a buffer is that of the file, through a mapping of all of it.
pub fn is_right(map: &Map, way: Way) -> bool {
    let pages = map.len();
    (0..pages).all(|page| map.read(page, 0) == tag(way.page(page, pages)))
}

/// Closes a descriptor that others may be using just now. Its owner has to forget it.
pub fn close_in_use(fd: &Fd) -> Result<()> {
    // SAFETY: No memory is involved.
    value(unsafe { libc::close(fd.number()) }).map(drop)
}
