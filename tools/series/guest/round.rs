// SPDX-License-Identifier: GPL-2.0
//! One round: a sequence of calls that a seed determines.

use std::fmt;

use crate::model::{Buffer, File, Memory, PageId, View, WRITTEN};
use crate::sys::{self, *};

const MOST_FILES: usize = 6;
const MOST_BUFFERS: usize = 8;
const MOST_VIEWS: usize = 8;
/// The default of the module's parameter.
const LIST_LIMIT: usize = 1024;

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Item {
    memfd: u32,
    pad: u32,
    offset: u64,
    size: u64,
}

/// How often calls went well, and how often they failed as they should.
#[derive(Default)]
pub struct Done {
    right: u64,
    refused: u64,
    words: u64,
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} calls went well, {} were refused, {} words compared",
            self.right, self.refused, self.words
        )
    }
}

/// splitmix64
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    /// Once in `n` times.
    fn once_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// An index below `len`, if there is any.
    fn index(&mut self, len: usize) -> Option<usize> {
        let i = self.below(len.max(1));
        (i < len).then_some(i)
    }

    fn pick<'a, T>(&mut self, from: &'a mut [T]) -> Option<&'a mut T> {
        self.index(from.len()).map(|i| &mut from[i])
    }

    fn take<T>(&mut self, from: &mut Vec<T>) -> Option<T> {
        self.index(from.len()).map(|i| from.swap_remove(i))
    }

    /// A part of `len` pages that is not empty: the first page and the number.
    fn part(&mut self, len: usize) -> (usize, usize) {
        let first = self.below(len);
        (first, 1 + self.below(len - first))
    }
}

/// What can be said against a call if that is so.
fn only_if(wrong: bool, errors: &'static [i32]) -> &'static [i32] {
    if wrong { errors } else { &[] }
}

struct Round {
    random: Random,
    dev: Fd,
    memory: Memory,
    files: Vec<File>,
    buffers: Vec<Buffer>,
    views: Vec<View>,
    done: Done,
}

/// Makes `calls` calls. Panics where something is not as it should be, and says where in the sequence that was.
pub fn run(seed: u64, calls: u64) -> Done {
    let mut round = Round {
        random: Random(seed),
        dev: Fd::open("/dev/udmabuf").expect("/dev/udmabuf can be opened"),
        memory: Memory::default(),
        files: Vec::new(),
        buffers: Vec::new(),
        views: Vec::new(),
        done: Done::default(),
    };
    for call in 0..calls {
        let last = Last { seed, call };
        round.call();
        std::mem::forget(last);
    }
    round.check_all();
    round.done
}

/// Says which call it was when one panics.
struct Last {
    seed: u64,
    call: u64,
}

impl Drop for Last {
    fn drop(&mut self) {
        println!("# seed {}: call {} is wrong", self.seed, self.call);
    }
}

impl Round {
    fn call(&mut self) {
        match self.random.below(100) {
            0..=7 => self.new_file(),
            8..=17 => self.write_file(),
            18..=25 => self.read_file(),
            26..=33 => self.create(),
            34..=39 => self.create_list(),
            40..=47 => self.map(),
            48..=63 => self.access(),
            64..=66 => self.cut(),
            67..=72 => self.sync(),
            73..=77 => self.punch(),
            78..=81 => self.allocate(),
            82..=83 => self.resize(),
            84 => self.seal(),
            85..=87 => self.close_file(),
            88..=90 => self.close_buffer(),
            91..=93 => self.unmap(),
            94..=95 => self.other_calls_on_a_buffer(),
            96..=98 => self.wrong_calls_on_the_device(),
            _ => self.child(),
        }
    }

    /// `wrong` is what can be said against the call: it must fail with one of these, or go well if there is none.
    fn judge<T>(&mut self, what: &str, result: sys::Result<T>, wrong: &[i32]) -> Option<T> {
        match result {
            Ok(value) if wrong.is_empty() => {
                self.done.right += 1;
                Some(value)
            }
            Ok(_) => panic!("{what}: went well, and not with one of {wrong:?}"),
            Err(errno) if wrong.contains(&errno) => {
                self.done.refused += 1;
                None
            }
            Err(errno) => panic!("{what}: error {errno}, and not one of {wrong:?}"),
        }
    }

    fn new_file(&mut self) {
        if self.files.len() == MOST_FILES {
            return self.close_file();
        }
        let huge = self.random.once_in(4);
        let unit = if huge { HUGE_PAGES } else { 1 };
        let pages = unit * (1 + self.random.below(if huge { 2 } else { 48 }));
        let fd = self
            .judge("memfd_create", Fd::memfd(huge), &[])
            .expect("went well");
        self.judge("ftruncate", fd.truncate(pages), &[]);
        let seals = [
            F_SEAL_SHRINK,
            F_SEAL_SHRINK,
            F_SEAL_SHRINK,
            F_SEAL_SHRINK | F_SEAL_GROW,
            F_SEAL_SHRINK | F_SEAL_FUTURE_WRITE,
            0,
        ][self.random.below(6)];
        if seals != 0 {
            self.judge("add seals", fd.add_seals(seals), &[]);
        }
        self.files.push(File {
            fd,
            unit,
            pages: vec![None; pages],
            seals,
        });
    }

    /// Writes a word of a page, through a mapping of the file.
    fn write_file(&mut self) {
        let Some(file) = self.random.pick(&mut self.files) else {
            return;
        };
        let page = self.random.below(file.pages.len());
        let (which, value) = (self.random.below(WRITTEN.len()), self.random.next());
        let first = page / file.unit * file.unit;
        let result = file
            .fd
            .map(first, file.unit, PROT_READ | PROT_WRITE, MAP_SHARED);
        let wrong = only_if(file.forbids_writing(), &[EPERM]);
        if wrong.is_empty() {
            file.fill(&mut self.memory, page, 1);
            let id = file.pages[page].expect("it was filled");
            self.memory.write(id, which, value);
        }
        if let Some(map) = self.judge("mmap of a file", result, wrong) {
            map.write(page - first, WRITTEN[which], value);
        }
    }

    fn read_file(&mut self) {
        let Some(file) = self.random.pick(&mut self.files) else {
            return;
        };
        let page = self.random.below(file.pages.len());
        let word = [0, 511, 255][self.random.below(3)];
        let found = file.fd.read_word(page * PAGE + word * 8);
        let wanted = file.pages[page].map_or(0, |id| self.memory.word(id, word));
        let found = self.judge("read", found, &[]);
        self.compare("file", page, word, found.unwrap_or(!wanted), wanted);
    }

    fn compare(&mut self, what: &str, page: usize, word: usize, found: u64, wanted: u64) {
        self.done.words += 1;
        assert_eq!(found, wanted, "word {word} of page {page} of the {what}");
    }

    /// An item of a list, and what is wrong with it: what is seen without looking at the file, and the rest.
    fn item(&mut self) -> (Item, Option<usize>, Vec<i32>, Vec<i32>) {
        let (mut early, mut late) = (Vec::new(), Vec::new());
        let Some(file) = self.random.index(self.files.len()) else {
            return (
                Item {
                    memfd: 9999,
                    size: PAGE as u64,
                    ..Item::default()
                },
                None,
                early,
                vec![EBADFD],
            );
        };
        let chosen = &self.files[file];
        let len = chosen.pages.len();
        let (pinnable, memfd) = (chosen.can_be_pinned(), chosen.fd.number() as u32);
        let (first, pages) = self.random.part(len);
        let mut item = Item {
            memfd,
            pad: 0,
            offset: (first * PAGE) as u64,
            size: (pages * PAGE) as u64,
        };
        if !pinnable {
            late.push(EINVAL);
        }
        match self.random.below(24) {
            0 => {
                item.offset += 1 + self.random.below(PAGE - 1) as u64;
                early.push(EINVAL);
            }
            1 => {
                item.size += 1 + self.random.below(PAGE - 1) as u64;
                early.push(EINVAL);
            }
            2 => {
                item.size += ((len - first - pages + 1) * PAGE) as u64;
                late.push(EINVAL);
            }
            3 => {
                item.offset += 1 << 63;
                late.push(EINVAL);
            }
            4 => {
                item.memfd = self.dev.number() as u32;
                late = vec![EBADFD];
            }
            5 => {
                item.memfd = 9999;
                late = vec![EBADFD];
            }
            6 => {
                // More than fits into the address space, or wraps around.
                item.size = u64::MAX - (PAGE as u64 - 1);
                early.push(EINVAL);
            }
            _ => {}
        }
        (item, Some(file), early, late)
    }

    /// The pages of the items, which all are right.
    fn pages_of(&mut self, items: &[(Item, Option<usize>)]) -> Vec<PageId> {
        let mut all = Vec::new();
        for (item, file) in items {
            let (first, pages) = (item.offset as usize / PAGE, item.size as usize / PAGE);
            let file = &mut self.files[file.expect("a right item has a file")];
            file.fill(&mut self.memory, first, pages);
            all.extend(
                file.pages[first..first + pages]
                    .iter()
                    .map(|page| page.expect("it was filled")),
            );
        }
        all
    }

    fn new_buffer(&mut self, fd: Option<Fd>, items: &[(Item, Option<usize>)]) {
        if let Some(fd) = fd {
            let pages = self.pages_of(items);
            self.buffers.push(Buffer {
                fd,
                pages,
                begun: false,
            });
        }
    }

    fn create(&mut self) {
        if self.buffers.len() == MOST_BUFFERS {
            return self.close_buffer();
        }
        let (item, file, early, late) = self.item();
        let wrong = if early.is_empty() { late } else { early };
        let mut create = Create {
            memfd: item.memfd,
            // What is no flag is ignored.
            flags: self.random.next() as u32,
            offset: item.offset,
            size: item.size,
        };
        let result = self.dev.ioctl_fd(UDMABUF_CREATE, &mut create);
        let fd = self.judge("UDMABUF_CREATE", result, &wrong);
        self.new_buffer(fd, &[(item, file)]);
    }

    fn create_list(&mut self) {
        if self.buffers.len() == MOST_BUFFERS {
            return self.close_buffer();
        }
        let count = self.random.below(6);
        let mut items = Vec::new();
        let (mut early, mut late) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let (item, file, e, l) = self.item();
            items.push((item, file));
            early.extend(e);
            // The first item that is wrong ends it.
            if late.is_empty() {
                late = l;
            }
        }
        if count == 0 {
            early.push(EINVAL);
        }
        let too_many = self.random.once_in(20);
        let claimed = if too_many {
            LIST_LIMIT + 1 + self.random.below(9999)
        } else {
            count
        };
        if too_many {
            early = vec![EINVAL];
        }
        let wrong = if early.is_empty() { late } else { early };

        // The head has the size of a third of an item.
        let mut list = vec![0u64; 1 + 3 * count];
        list[0] = (claimed as u64) << 32 | u64::from(self.random.next() as u32);
        for (i, (item, _)) in items.iter().enumerate() {
            let words = [u64::from(item.memfd), item.offset, item.size];
            list[1 + 3 * i..4 + 3 * i].copy_from_slice(&words);
        }
        let result = self.dev.ioctl_fd(UDMABUF_CREATE_LIST, list.as_mut_ptr());
        let fd = self.judge("UDMABUF_CREATE_LIST", result, &wrong);
        self.new_buffer(fd, &items);
    }

    fn map(&mut self) {
        if self.views.len() == MOST_VIEWS {
            return self.unmap();
        }
        let Some(buffer) = self.random.pick(&mut self.buffers) else {
            return;
        };
        let (first, mut pages) = self.random.part(buffer.pages.len());
        let mut wrong = Vec::new();
        let mut flags = MAP_SHARED;
        match self.random.below(16) {
            0 => {
                flags = MAP_PRIVATE;
                wrong.push(EINVAL);
            }
            1 => {
                pages = buffer.pages.len() - first + 1;
                wrong.push(EINVAL);
            }
            _ => {}
        }
        let writable = !self.random.once_in(4);
        let prot = PROT_READ | if writable { PROT_WRITE } else { 0 };
        let kept = buffer.pages.clone();
        let shown = kept[first..kept.len().min(first + pages)].to_vec();
        let result = buffer.fd.map(first, pages, prot, flags);
        if let Some(map) = self.judge("mmap of a buffer", result, &wrong) {
            self.views.push(View {
                map,
                pages: shown,
                kept,
                writable,
            });
        }
    }

    /// Reads or writes through a mapping of a buffer.
    fn access(&mut self) {
        let Some(view) = self.random.pick(&mut self.views) else {
            return;
        };
        let page = self.random.below(view.pages.len());
        let id = view.pages[page];
        if view.writable && self.random.once_in(2) {
            let (which, value) = (self.random.below(WRITTEN.len()), self.random.next());
            view.map.write(page, WRITTEN[which], value);
            self.memory.write(id, which, value);
            self.done.right += 1;
            return;
        }
        let word = [0, 511, 255][self.random.below(3)];
        let found = view.map.read(page, word);
        let wanted = self.memory.word(id, word);
        self.compare("mapping", page, word, found, wanted);
    }

    /// Unmaps the front of a mapping.
    fn cut(&mut self) {
        let Some(view) = self.random.pick(&mut self.views) else {
            return;
        };
        if view.pages.len() < 2 {
            return;
        }
        let pages = 1 + self.random.below(view.pages.len() - 1);
        view.pages.drain(..pages);
        let result = view.map.cut(pages);
        self.judge("munmap", result, &[]);
    }

    fn sync(&mut self) {
        const DIRECTION: u64 = 3;
        const END: u64 = 4;
        let Some(buffer) = self.random.pick(&mut self.buffers) else {
            return;
        };
        let mut flags = match self.random.below(12) {
            0 => self.random.next(),
            n => n as u64 & (DIRECTION | END),
        };
        let known = flags & !(DIRECTION | END) == 0 && flags & DIRECTION != 0;
        let ends = flags & END != 0;
        let wrong = only_if(!known || ends && !buffer.begun, &[EINVAL]);
        buffer.begun |= known && !ends;
        let result = buffer.fd.ioctl(DMA_BUF_IOCTL_SYNC, &mut flags);
        self.judge("DMA_BUF_IOCTL_SYNC", result, wrong);
    }

    /// Whole units only: parts of huge pages would be cleared under the buffer.
    fn units(&mut self, file: usize) -> (usize, usize) {
        let File {
            unit, ref pages, ..
        } = self.files[file];
        let (first, number) = self.random.part(pages.len() / unit);
        (first * unit, number * unit)
    }

    fn punch(&mut self) {
        let Some(i) = self.random.index(self.files.len()) else {
            return;
        };
        let (first, pages) = self.units(i);
        let file = &mut self.files[i];
        let wrong = only_if(file.forbids_writing(), &[EPERM]);
        // A buffer keeps what it has pinned. The file gets another page.
        if wrong.is_empty() {
            file.pages[first..first + pages].fill(None);
        }
        let result = file.fd.punch(first, pages);
        self.judge("punch a hole", result, wrong);
    }

    fn allocate(&mut self) {
        let Some(i) = self.random.index(self.files.len()) else {
            return;
        };
        let (first, pages) = self.units(i);
        let file = &mut self.files[i];
        file.fill(&mut self.memory, first, pages);
        let result = file.fd.allocate(first, pages);
        self.judge("fallocate", result, &[]);
    }

    fn resize(&mut self) {
        let Some(file) = self.random.pick(&mut self.files) else {
            return;
        };
        let units = file.pages.len() / file.unit;
        let most = if file.unit == 1 { 64 } else { 3 };
        let pages = (1 + self.random.below(most)) * file.unit;
        let shrinks = pages / file.unit < units;
        let grows = pages / file.unit > units;
        let sealed =
            shrinks && file.seals & F_SEAL_SHRINK != 0 || grows && file.seals & F_SEAL_GROW != 0;
        let wrong = only_if(sealed, &[EPERM]);
        if wrong.is_empty() {
            file.pages.resize(pages, None);
        }
        let result = file.fd.truncate(pages);
        self.judge("ftruncate", result, wrong);
    }

    /// F_SEAL_WRITE waits for pins a while, and gives up if they stay.
    fn seal(&mut self) {
        let Some(i) = self.random.index(self.files.len()) else {
            return;
        };
        let seal = [
            F_SEAL_SHRINK,
            F_SEAL_GROW,
            F_SEAL_FUTURE_WRITE,
            F_SEAL_WRITE,
        ][self.random.below(4)];
        let file = &self.files[i];
        let held = |pages: &[PageId]| pages.iter().any(|id| file.pages.contains(&Some(*id)));
        let pinned = self.buffers.iter().any(|buffer| held(&buffer.pages))
            || self.views.iter().any(|view| held(&view.kept));
        let waits = seal == F_SEAL_WRITE && file.seals & F_SEAL_WRITE == 0;
        let wrong = only_if(pinned && waits, &[EBUSY]);
        let result = file.fd.add_seals(seal);
        if wrong.is_empty() {
            self.files[i].seals |= seal;
        }
        self.judge("add seals", result, wrong);
    }

    fn close_file(&mut self) {
        drop(self.random.take(&mut self.files));
    }

    fn close_buffer(&mut self) {
        drop(self.random.take(&mut self.buffers));
    }

    fn unmap(&mut self) {
        drop(self.random.take(&mut self.views));
    }

    fn other_calls_on_a_buffer(&mut self) {
        let Some(buffer) = self.random.pick(&mut self.buffers) else {
            return;
        };
        let (size, wanted) = (buffer.fd.size(), buffer.pages.len() * PAGE);
        // No command of anybody: its type is 'b', its number one that is not in use.
        let unknown = buffer.fd.ioctl(0x6280, std::ptr::null_mut::<u8>());
        let nothing = buffer.fd.read_word(0);
        assert_eq!(self.judge("lseek", size, &[]), Some(wanted));
        self.judge("an unknown ioctl", unknown, &[ENOTTY]);
        self.judge("pread of a buffer", nothing, &[ESPIPE]);
    }

    fn wrong_calls_on_the_device(&mut self) {
        let command = 0x4000_7500 | (self.random.next() & 0x3fff_00ff);
        let nowhere = (16 + self.random.below(4000)) as *mut u8;
        let (command, wrong) = match self.random.below(3) {
            0 => (UDMABUF_CREATE, EFAULT),
            1 => (UDMABUF_CREATE_LIST, EFAULT),
            _ if [UDMABUF_CREATE, UDMABUF_CREATE_LIST].contains(&command) => (command, EFAULT),
            _ => (command, ENOTTY),
        };
        let result = self.dev.ioctl(command, nowhere);
        self.judge("a wrong ioctl", result, &[wrong]);
    }

    /// A child has the mappings of its parent.
    fn child(&mut self) {
        let Round { views, memory, .. } = self;
        let right = in_child(|| {
            views.iter().all(|view| {
                let id = *view.pages.last().expect("a view has pages");
                view.map.read(view.pages.len() - 1, 0) == memory.word(id, 0)
            })
        });
        assert_eq!(
            self.judge("fork", right, &[]),
            Some(true),
            "a child sees other pages"
        );
    }

    /// Everything that can still be seen.
    fn check_all(&mut self) {
        for i in 0..self.files.len() {
            for page in 0..self.files[i].pages.len() {
                let file = &self.files[i];
                let found = file.fd.read_word(page * PAGE);
                let wanted = file.pages[page].map_or(0, |id| self.memory.word(id, 0));
                let found = self.judge("read", found, &[]).expect("went well");
                self.compare("file", page, 0, found, wanted);
            }
        }
        for i in 0..self.views.len() {
            for page in 0..self.views[i].pages.len() {
                let view = &self.views[i];
                let (found, id) = (view.map.read(page, 511), view.pages[page]);
                let wanted = self.memory.word(id, 511);
                self.compare("mapping", page, 511, found, wanted);
            }
        }
    }
}
