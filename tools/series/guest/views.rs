// SPDX-License-Identifier: GPL-2.0
//! The calls of a round on mappings of buffers. Those consist of page frames: nothing that looks for pages finds any.

use std::os::unix::fs::FileExt;

use crate::calls::{self, *};
use crate::children::{Child, End};
use crate::model::{Setup, View, WRITTEN};
use crate::round::{MOST_VIEWS, Round, only_if};
use crate::sys::*;

const MADV_RANDOM: i32 = 1;
const MADV_SEQUENTIAL: i32 = 2;
const MADV_DONTFORK: i32 = 10;
const MADV_HUGEPAGE: i32 = 14;
const MADV_NOHUGEPAGE: i32 = 15;

/// What can be advised, and what is said against it.
const ADVICES: [(i32, &[i32]); 25] = [
    // MADV_NORMAL
    (0, &[]),
    (MADV_RANDOM, &[]),
    (MADV_SEQUENTIAL, &[]),
    // MADV_WILLNEED: there is nothing to read.
    (3, &[]),
    // MADV_DONTNEED, MADV_FREE: it would have to come back.
    (4, &[EINVAL]),
    (8, &[EINVAL]),
    // MADV_REMOVE: a buffer has no holes.
    (9, &[ENODEV]),
    (MADV_DONTFORK, &[]),
    // MADV_DOFORK: a mapping of a device may have been set up like that.
    (11, &[EINVAL]),
    (MADV_HUGEPAGE, &[]),
    (MADV_NOHUGEPAGE, &[]),
    // MADV_DONTDUMP: so it is. MADV_DODUMP
    (16, &[]),
    (17, &[EINVAL]),
    // MADV_WIPEONFORK, MADV_KEEPONFORK
    (18, &[EINVAL]),
    (19, &[]),
    // MADV_COLD, MADV_PAGEOUT: there are no pages to look for.
    (20, &[EINVAL]),
    (MADV_PAGEOUT, &[EINVAL]),
    // MADV_POPULATE_READ, MADV_POPULATE_WRITE
    (22, &[EINVAL]),
    (23, &[EINVAL]),
    // MADV_DONTNEED_LOCKED
    (24, &[EINVAL]),
    (MADV_COLLAPSE, &[EINVAL]),
    (MADV_SOFT_OFFLINE, &[EFAULT]),
    // MADV_GUARD_INSTALL, MADV_GUARD_REMOVE
    (102, &[EINVAL]),
    (103, &[EINVAL]),
    // Nobody's.
    (999, &[EINVAL]),
];

/// What a mapping is set up like when it is made: what is asked for, and what is said against it.
struct Wanted {
    offset: u64,
    pages: usize,
    prot: i32,
    flags: i32,
    wrong: &'static [i32],
}

impl Round {
    pub fn map(&mut self) -> Option<()> {
        if self.views.len() == MOST_VIEWS {
            return self.unmap();
        }
        let at = self.random.index(self.buffers.len())?;
        let count = self.buffers[at].descriptors.len();
        let which = self.random.below(count);
        let len = self.buffers[at].pages.len();
        let (first, pages) = self.random.part(len);
        let writable = !self.random.once_in(4);
        let mut wanted = Wanted {
            offset: (first * PAGE) as u64,
            pages,
            prot: PROT_READ | if writable { PROT_WRITE } else { 0 },
            flags: MAP_SHARED,
            wrong: &[],
        };
        self.spoil(&mut wanted, len - first);
        let Wanted {
            offset,
            pages,
            prot,
            flags,
            wrong,
        } = wanted;
        let buffer = &self.buffers[at];
        let result = Mapping::new(&buffer.descriptors[which].fd, offset, pages, prot, flags);
        if let Some(map) = self.judge("mmap of a buffer", result, wrong) {
            let setup = Setup::new(prot & PROT_READ != 0, prot & PROT_WRITE != 0);
            let buffer = &self.buffers[at];
            let view = View::new(map, buffer, first..first + pages, setup);
            self.views.push(view);
        }
        Some(())
    }

    /// Asks for something else at times. From the offset on, there are `left` pages.
    fn spoil(&mut self, wanted: &mut Wanted, left: usize) {
        match self.random.below(40) {
            0 => {
                wanted.flags = MAP_PRIVATE;
                wanted.wrong = &[EINVAL];
            }
            1 => {
                wanted.pages = left + 1;
                wanted.wrong = &[EINVAL];
            }
            2 => {
                // It begins past the end.
                wanted.offset += ((left + self.random.below(9)) * PAGE) as u64;
                wanted.wrong = &[EINVAL];
            }
            3 => {
                wanted.offset = 1 << 62;
                wanted.wrong = &[EINVAL];
            }
            4 => {
                // It ends past all that there can be.
                wanted.offset = u64::MAX - (PAGE as u64 - 1);
                wanted.wrong = &[EOVERFLOW];
            }
            5 => {
                wanted.offset += 1 + self.random.below(PAGE - 1) as u64;
                wanted.wrong = &[EINVAL];
            }
            6 => {
                wanted.pages = 0;
                wanted.wrong = &[EINVAL];
            }
            7 => {
                // No program is executed from the file system of the buffers.
                wanted.prot |= PROT_EXEC;
                wanted.wrong = &[EPERM];
            }
            8 => {
                wanted.flags = MAP_SHARED_VALIDATE | MAP_SYNC;
                wanted.wrong = &[EOPNOTSUPP];
            }
            9 => wanted.flags = MAP_SHARED_VALIDATE,
            // Both are for pages.
            10 => wanted.flags |= MAP_POPULATE,
            11 => wanted.flags |= MAP_LOCKED,
            12 => wanted.prot = PROT_NONE,
            _ => {}
        }
    }

    /// Reads or writes through a mapping of a buffer.
    pub fn access(&mut self) -> Option<()> {
        let view = self.random.pick(&mut self.views)?;
        let page = self.random.below(view.pages.len());
        let (id, setup) = (view.pages[page], view.setups[page]);
        if setup.writable && self.random.once_in(2) {
            let (which, value) = (self.random.below(WRITTEN.len()), self.random.next());
            view.map.write(page, WRITTEN[which], value);
            self.memory.write(id, which, value);
            self.done.accesses += 1;
            return Some(());
        }
        if !setup.readable {
            return None;
        }
        let word = self.random.word();
        let found = view.map.read(page, word);
        let wanted = self.memory.word(id, word);
        self.done.accesses += 1;
        self.compare("mapping", page, word, found, wanted);
        Some(())
    }

    /// Removes a part of a mapping: in front, behind or in the middle.
    pub fn cut(&mut self) -> Option<()> {
        let i = self.random.index(self.views.len())?;
        let more = self.views.len() < MOST_VIEWS;
        let view = &mut self.views[i];
        let len = view.pages.len();
        let pages = 1 + self.random.index(len - 1)?;
        match self.random.below(3) {
            0 => {
                view.lose_front(pages);
                let result = view.map.cut(pages);
                self.well("munmap", result);
            }
            1 => {
                view.lose_back(pages);
                let result = view.map.shrink(pages);
                self.well("mremap to fewer pages", result);
            }
            _ if more => {
                let mut back = view.split_off(pages);
                match self.random.index(back.pages.len() - 1) {
                    Some(n) => {
                        back.lose_front(1 + n);
                        let result = back.map.cut(1 + n);
                        self.well("munmap", result);
                        self.views.push(back);
                    }
                    None => self.well("munmap", back.map.unmap()),
                }
            }
            _ => return None,
        }
        Some(())
    }

    /// Moves a mapping, which keeps what it shows, or asks for what is refused: there is nothing to show in more pages.
    pub fn remap(&mut self) -> Option<()> {
        const NO_FLAG: i32 = 8;
        let choice = self.random.below(8);
        let (shift, more) = (self.random.below(HUGE_PAGES), 1 + self.random.below(9));
        let view = self.random.pick(&mut self.views)?;
        let (map, len) = (&mut view.map, view.pages.len());
        match choice {
            0 | 1 => {
                let result = map.move_to(shift);
                self.well("mremap to another place", result);
            }
            2 => {
                // Page tables of the upper level are moved as they are.
                let result = map.move_to(map.shift());
                self.well("mremap to another place", result);
            }
            3 => {
                let (result, start) = (map.remap(len, len, MREMAP_MAYMOVE, 0), map.address(0));
                assert_eq!(self.well("mremap to the same pages", result), start);
            }
            4 | 5 => {
                let flags = if choice == 4 { MREMAP_MAYMOVE } else { 0 };
                let result = map.remap(len, len + more, flags, 0);
                self.judge("mremap to more pages", result, &[EFAULT]);
            }
            6 => {
                // A second mapping of the same pages, which only some kinds can have.
                let result = map.remap(0, len, MREMAP_MAYMOVE, 0);
                self.judge("mremap to more pages", result, &[EFAULT]);
            }
            _ => {
                let (flags, address) = [
                    (MREMAP_MAYMOVE | MREMAP_DONTUNMAP, 0),
                    // To where it overlaps what it was.
                    (MREMAP_MAYMOVE | MREMAP_FIXED, map.address(0)),
                    (MREMAP_FIXED, map.address(0)),
                    (NO_FLAG, 0),
                ][more % 4];
                let result = map.remap(len, len, flags, address);
                self.judge("mremap with wrong flags", result, &[EINVAL]);
            }
        }
        Some(())
    }

    pub fn protect(&mut self) -> Option<()> {
        let prot = self.random.one_of(&[
            PROT_NONE,
            PROT_READ | PROT_EXEC,
            PROT_READ,
            PROT_READ,
            PROT_READ | PROT_WRITE,
            PROT_READ | PROT_WRITE,
            PROT_READ | PROT_WRITE,
            PROT_READ | PROT_WRITE,
        ]);
        let view = self.random.pick(&mut self.views)?;
        let (first, pages) = self.random.part(view.pages.len());
        let part = first..first + pages;
        let result = view.map.protect(part.clone(), prot);
        // As for mmap().
        let wrong = only_if(prot & PROT_EXEC != 0, &[EACCES]);
        if wrong.is_empty() {
            view.set_up(part, |setup| {
                setup.readable = prot & PROT_READ != 0;
                setup.writable = prot & PROT_WRITE != 0;
            });
        }
        self.judge("mprotect", result, wrong);
        Some(())
    }

    /// Whatever is advised, memory contains what it did.
    pub fn advise(&mut self) -> Option<()> {
        let (advice, wrong) = self.random.one_of(&ADVICES);
        let view = self.random.pick(&mut self.views)?;
        let (first, pages) = self.random.part(view.pages.len());
        let part = first..first + pages;
        let result = view.map.advise(part.clone(), advice);
        view.set_up(part, |setup| match advice {
            0 | MADV_RANDOM | MADV_SEQUENTIAL => setup.order = advice,
            MADV_HUGEPAGE | MADV_NOHUGEPAGE => setup.huge = advice,
            MADV_DONTFORK => setup.copied = false,
            _ => {}
        });
        self.judge("madvise", result, wrong);
        Some(())
    }

    /// There is no disk to write to, and nothing that could be written to one.
    pub fn flush(&mut self) -> Option<()> {
        let choice = self.random.below(6);
        let view = self.random.pick(&mut self.views)?;
        let (first, pages) = self.random.part(view.pages.len());
        let part = first..first + pages;
        let (what, result, wrong) = match choice {
            0 => ("msync", view.map.sync(part, MS_ASYNC), &[][..]),
            1 => ("msync", view.map.sync(part, MS_INVALIDATE), &[][..]),
            2 => ("msync", view.map.sync(part, MS_SYNC), &[EINVAL][..]),
            3 => (
                "msync",
                view.map.sync(part, MS_ASYNC | MS_SYNC),
                &[EINVAL][..],
            ),
            // Neither has an effect.
            4 => ("mlock", view.map.lock(part), &[][..]),
            _ => ("munlock", view.map.unlock(part), &[][..]),
        };
        self.judge(what, result, wrong);
        Some(())
    }

    /// The kernel reads a word of a file into a mapping.
    pub fn read_into(&mut self) -> Option<()> {
        let view = self.random.pick(&mut self.views)?;
        let file = self.random.pick(&mut self.files)?;
        let (to, from) = (
            self.random.below(view.pages.len()),
            self.random.below(file.pages.len()),
        );
        let (which, word) = (self.random.below(WRITTEN.len()), self.random.word());
        let offset = from * PAGE + word * 8;
        let result = view.map.read_file(to, WRITTEN[which], &file.fd, offset);
        let wrong = match view.setups[to].writable {
            _ if file.is_guest() => &[ESPIPE][..],
            false => &[EFAULT],
            true => &[],
        };
        if wrong.is_empty() {
            let value = file.pages[from].map_or(0, |id| self.memory.word(id, word));
            self.memory.write(view.pages[to], which, value);
        }
        self.judge("read into a mapping", result, wrong);
        Some(())
    }

    /// The kernel writes a word of a mapping to a file. Files of huge pages cannot be written like that.
    pub fn write_from(&mut self) -> Option<()> {
        let view = self.random.pick(&mut self.views)?;
        let file = self.random.pick(&mut self.files)?;
        let (from, to) = (
            self.random.below(view.pages.len()),
            self.random.below(file.pages.len()),
        );
        let (which, word) = (self.random.below(WRITTEN.len()), self.random.word());
        let offset = to * PAGE + WRITTEN[which] * 8;
        let result = view.map.write_file(from, word, &file.fd, offset);
        let wrong = match view.setups[from].readable {
            _ if file.is_guest() => &[ESPIPE][..],
            _ if file.is_huge() => &[EINVAL],
            _ if file.forbids_writing() => &[EPERM],
            false => &[EFAULT],
            true => &[],
        };
        if wrong.is_empty() {
            let value = self.memory.word(view.pages[from], word);
            file.fill(&mut self.memory, to, 1);
            let id = file.pages[to].expect("it was filled");
            self.memory.write(id, which, value);
        }
        self.judge("write from a mapping", result, wrong);
        Some(())
    }

    /// Looks at a mapping from outside, as a debugger does.
    pub fn peek(&mut self) -> Option<()> {
        let view = self.random.pick(&mut self.views)?;
        let page = self.random.below(view.pages.len());
        let address = view.map.address(page) as u64;
        let result = calls::errno(self.mem.read_at(&mut [0; 8], address));
        self.judge("read of /proc/self/mem", result, &[EIO]);
        Some(())
    }

    pub fn unmap(&mut self) -> Option<()> {
        let view = self.random.take(&mut self.views)?;
        self.well("munmap", view.map.unmap());
        Some(())
    }

    /// A child has the mappings of its parent, but for parts that were to be left out.
    pub fn child(&mut self) -> Option<()> {
        let Round { views, memory, .. } = self;
        let shown = |setup: &Setup| setup.readable && setup.copied;
        let is_right = |view: &View| {
            let page = view.setups.iter().rposition(shown);
            page.is_none_or(|page| view.map.read(page, 0) == memory.word(view.pages[page], 0))
        };
        // SAFETY: It accesses memory only.
        let child = unsafe { Child::start(|| i32::from(!views.iter().all(is_right))) };
        let end = self.well("fork", child.and_then(Child::wait));
        assert_eq!(end, End::Code(0), "a child sees other pages");
        Some(())
    }
}
