// SPDX-License-Identifier: GPL-2.0
//! One round: a sequence of calls that a seed determines. Here are those on files and on the device.

use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};

use crate::calls::{self, Again, EACCES, ENXIO, EOPNOTSUPP, F_GET_SEALS, F_SEAL_SEAL, GMEM_SHARED};
use crate::kinds::Done;
use crate::model::{Buffer, Descriptor, File, Kind, Memory, PageId, View, WRITTEN};
use crate::sys::{self, *};

const MOST_FILES: usize = 6;
/// The pages of a file that has small ones, when it is new.
const MOST_PAGES: usize = 48;
const MOST_BUFFERS: usize = 8;
pub const MOST_VIEWS: usize = 8;
/// The default of the module's parameter.
const LIST_LIMIT: usize = 1024;

/// What can be chosen, and how often it is in comparison. One that finds nothing to work on returns `None`, and
/// something else is chosen.
type Choice = (usize, fn(&mut Round) -> Option<()>);

const CHOICES: [Choice; 36] = [
    (8, Round::new_file),
    (10, Round::write_file),
    (8, Round::read_file),
    (5, Round::punch),
    (4, Round::allocate),
    (2, Round::resize),
    (2, Round::seal),
    (2, Round::page_out),
    (3, Round::close_file),
    (8, Round::create),
    (6, Round::create_list),
    (3, Round::wrong_calls_on_the_device),
    (6, Round::sync),
    (4, Round::name),
    (3, Round::export_fence),
    (3, Round::import_fence),
    (2, Round::poll),
    (2, Round::fdinfo),
    (2, Round::look_up),
    (3, Round::seek),
    (5, Round::flags),
    (5, Round::refused),
    (3, Round::duplicate),
    (3, Round::close_buffer),
    (8, Round::map),
    (16, Round::access),
    (3, Round::cut),
    (4, Round::remap),
    (5, Round::protect),
    (6, Round::advise),
    (3, Round::flush),
    (3, Round::read_into),
    (3, Round::write_from),
    (1, Round::peek),
    (3, Round::unmap),
    (1, Round::child),
];

/// An item that is asked for, and what is wrong with it.
struct Wish {
    item: Item,
    /// What it names, if that is a file.
    file: Option<usize>,
    /// What is seen without looking at the file.
    early: Vec<i32>,
    /// The rest.
    late: Vec<i32>,
    /// The descriptor that it names, if that was made for it.
    _other: Option<fs::File>,
}

/// splitmix64
pub struct Random(u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    /// Once in `n` times.
    pub fn once_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// An index below `len`, if there is any.
    pub fn index(&mut self, len: usize) -> Option<usize> {
        let i = self.below(len.max(1));
        (i < len).then_some(i)
    }

    pub fn pick<'a, T>(&mut self, from: &'a mut [T]) -> Option<&'a mut T> {
        self.index(from.len()).map(|i| &mut from[i])
    }

    pub fn one_of<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    pub fn take<T>(&mut self, from: &mut Vec<T>) -> Option<T> {
        self.index(from.len()).map(|i| from.swap_remove(i))
    }

    /// A part of `len` pages that is not empty: the first page and the number.
    pub fn part(&mut self, len: usize) -> (usize, usize) {
        let first = self.below(len);
        (first, 1 + self.below(len - first))
    }

    /// An address that nothing is at.
    pub fn nowhere(&mut self) -> *mut u8 {
        (16 + self.below(4000)) as *mut u8
    }

    /// A word of a page to read.
    pub fn word(&mut self) -> usize {
        self.one_of(&[0, 511, 255])
    }
}

/// What can be said against a call if that is so.
pub fn only_if(wrong: bool, errors: &'static [i32]) -> &'static [i32] {
    if wrong { errors } else { &[] }
}

pub struct Round {
    pub random: Random,
    dev: Fd,
    /// Whose memory a guest_memfd is.
    machine: Fd,
    /// A guest_memfd that the host may not look into.
    private: Fd,
    /// /proc/self/mem
    pub mem: fs::File,
    pub memory: Memory,
    pub files: Vec<File>,
    pub buffers: Vec<Buffer>,
    /// How many buffers there have been.
    created: usize,
    pub views: Vec<View>,
    /// Got from buffers.
    pub fences: Vec<OwnedFd>,
    pub done: Done,
}

/// Makes `calls` choices. Panics where something is not as it should be, and says where in the sequence that was.
pub fn run(seed: u64, calls: u64) -> Done {
    let machine = calls::virtual_machine().expect("/dev/kvm makes a virtual machine");
    let private = calls::guest_memfd(&machine, MOST_PAGES, 0);
    let mut round = Round {
        random: Random(seed),
        dev: Fd::open("/dev/udmabuf").expect("/dev/udmabuf can be opened"),
        machine,
        private: private.expect("KVM makes a guest_memfd"),
        mem: fs::File::open("/proc/self/mem").expect("proc is mounted"),
        memory: Memory::default(),
        files: Vec::new(),
        buffers: Vec::new(),
        created: 0,
        views: Vec::new(),
        fences: Vec::new(),
        done: Done::default(),
    };
    for call in 0..calls {
        let last = Last { seed, call };
        round.call();
        std::mem::forget(last);
    }
    round.check_all();
    round.end()
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
        while self.choose().is_none() {}
        self.done.choices += 1;
    }

    fn choose(&mut self) -> Option<()> {
        let sum = CHOICES.iter().map(|(weight, _)| weight).sum();
        let mut left = self.random.below(sum);
        let chosen = CHOICES.iter().find(|(weight, _)| {
            let found = left < *weight;
            left = left.saturating_sub(*weight);
            found
        });
        let (_, call) = chosen.expect("it is below the sum");
        call(self)
    }

    /// `wrong` is what can be said against the call: it must fail with one of these, or go well if there is none.
    pub fn judge<T>(&mut self, what: &str, result: sys::Result<T>, wrong: &[i32]) -> Option<T> {
        match result {
            Ok(value) if wrong.is_empty() => {
                self.done.went_well(what);
                Some(value)
            }
            Ok(_) => panic!("{what}: went well, and not with one of {wrong:?}"),
            Err(errno) if wrong.contains(&errno) => {
                self.done.was_refused(what);
                None
            }
            Err(errno) => panic!("{what}: error {errno}, and not one of {wrong:?}"),
        }
    }

    /// What a call returned that nothing can be said against.
    pub fn well<T>(&mut self, what: &str, result: sys::Result<T>) -> T {
        self.judge(what, result, &[]).expect("it went well")
    }

    pub fn compare(&mut self, what: &str, page: usize, word: usize, found: u64, wanted: u64) {
        self.done.words += 1;
        assert_eq!(found, wanted, "word {word} of page {page} of the {what}");
    }

    fn new_file(&mut self) -> Option<()> {
        if self.files.len() == MOST_FILES {
            return self.close_file();
        }
        let (fd, kind, most, seals) = match self.random.below(16) {
            0..=3 => (self.well("memfd_create", Fd::memfd(true)), Kind::Huge, 2, 0),
            // Its inode does not let anybody add seals.
            4 => (
                self.well("open", calls::file_of_tmpfs()),
                Kind::Small,
                MOST_PAGES,
                F_SEAL_SEAL,
            ),
            5..=8 => return self.new_guest_memfd(),
            _ => (
                self.well("memfd_create", Fd::memfd(false)),
                Kind::Small,
                MOST_PAGES,
                0,
            ),
        };
        let pages = kind.unit() * (1 + self.random.below(most));
        self.well("ftruncate", fd.truncate(pages));
        self.files.push(File {
            fd,
            kind,
            pages: vec![None; pages],
            seals,
        });
        let seals = self.random.one_of(&[
            F_SEAL_SHRINK,
            F_SEAL_SHRINK,
            F_SEAL_SHRINK,
            F_SEAL_SHRINK,
            F_SEAL_SHRINK | F_SEAL_GROW,
            F_SEAL_SHRINK | F_SEAL_SEAL,
            F_SEAL_SHRINK | F_SEAL_FUTURE_WRITE,
            0,
        ]);
        if seals != 0 {
            self.add_seals(self.files.len() - 1, seals, &[]);
        }
        Some(())
    }

    fn new_guest_memfd(&mut self) -> Option<()> {
        const NO_FLAG: u64 = 1 << 63;
        let pages = 1 + self.random.below(MOST_PAGES);
        let (size, flags, wrong) = match self.random.below(6) {
            0 => (0, GMEM_SHARED, &[EINVAL][..]),
            1 => (pages, GMEM_SHARED | NO_FLAG, &[EINVAL][..]),
            _ => (pages, GMEM_SHARED, &[][..]),
        };
        let result = calls::guest_memfd(&self.machine, size, flags);
        if let Some(fd) = self.judge("KVM_CREATE_GUEST_MEMFD", result, wrong) {
            self.files.push(File {
                fd,
                kind: Kind::Guest,
                pages: vec![None; pages],
                seals: 0,
            });
        }
        Some(())
    }

    /// `wrong` is what can be said against it if the file takes seals at all.
    fn add_seals(&mut self, file: usize, seals: u32, wrong: &[i32]) {
        let chosen = &mut self.files[file];
        let wrong = if chosen.forbids_seals() {
            &[EPERM]
        } else {
            wrong
        };
        let result = chosen.fd.add_seals(seals);
        if wrong.is_empty() {
            chosen.seals |= seals;
        }
        let (wanted, found) = (chosen.seals, calls::fcntl(&chosen.fd, F_GET_SEALS, 0));
        self.judge("add seals", result, wrong);
        assert_eq!(self.well("get seals", found) as u32, wanted, "the seals");
    }

    /// Writes a word of a page, through a mapping of the file.
    fn write_file(&mut self) -> Option<()> {
        let file = self.random.pick(&mut self.files)?;
        let page = self.random.below(file.pages.len());
        let (which, value) = (self.random.below(WRITTEN.len()), self.random.next());
        let unit = file.kind.unit();
        let first = page / unit * unit;
        let result = file.fd.map(first, unit, PROT_READ | PROT_WRITE, MAP_SHARED);
        let wrong = only_if(file.forbids_writing(), &[EPERM]);
        if wrong.is_empty() {
            file.fill(&mut self.memory, page, 1);
            let id = file.pages[page].expect("it was filled");
            self.memory.write(id, which, value);
        }
        if let Some(map) = self.judge("mmap of a file", result, wrong) {
            map.write(page - first, WRITTEN[which], value);
        }
        Some(())
    }

    fn read_file(&mut self) -> Option<()> {
        let i = self.random.index(self.files.len())?;
        let file = &self.files[i];
        if file.is_guest() && self.random.once_in(2) {
            let result = file.fd.read_word(0);
            self.judge("read", result, &[ESPIPE]);
            return Some(());
        }
        let page = self.random.below(file.pages.len());
        let word = self.random.word();
        self.check_file(i, page, word);
        Some(())
    }

    /// Reads a word of a page, through a mapping where there is no other way.
    fn check_file(&mut self, file: usize, page: usize, word: usize) {
        let file = &self.files[file];
        let wanted = file.pages[page].map_or(0, |id| self.memory.word(id, word));
        let (what, found) = match file.kind {
            Kind::Guest => {
                let map = file.fd.map(page, 1, PROT_READ, MAP_SHARED);
                ("mmap of a file", map.map(|map| map.read(0, word)))
            }
            Kind::Small | Kind::Huge => ("read", file.fd.read_word(page * PAGE + word * 8)),
        };
        let found = self.well(what, found);
        self.compare("file", page, word, found, wanted);
    }

    /// What a mapping of the file shows is to leave for swap space, if there is any. What a buffer has pinned stays, and so
    /// does the memory of a virtual machine.
    fn page_out(&mut self) -> Option<()> {
        let i = self.random.index(self.files.len())?;
        let file = &self.files[i];
        let unit = file.kind.unit();
        let (first, pages) = match file.is_huge() {
            // More would reserve huge pages.
            true => (self.random.below(file.pages.len()) / unit * unit, unit),
            false => (0, file.pages.len()),
        };
        let wrong = only_if(file.is_huge(), &[EINVAL]);
        let map = file.fd.map(first, pages, PROT_READ, MAP_SHARED);
        let map = self.well("mmap of a file", map);
        // Only what is mapped leaves. A hole would be filled.
        for page in 0..pages {
            if let Some(id) = self.files[i].pages[first + page] {
                let (found, wanted) = (map.read(page, 0), self.memory.word(id, 0));
                self.compare("file's mapping", first + page, 0, found, wanted);
            }
        }
        let result = map.advise(0, pages, MADV_PAGEOUT);
        self.judge("madvise of a file", result, wrong);
        Some(())
    }

    /// What nobody has open, or what is not a file that can be in a buffer.
    fn no_file(&mut self) -> u32 {
        let no_file = match self.random.below(4) {
            0 => Some(self.dev.number()),
            // A buffer of a buffer.
            1 => self.buffers.first().map(|b| b.descriptors[0].fd.number()),
            2 => Some(-1),
            _ => None,
        };
        no_file.unwrap_or(9999) as u32
    }

    /// What is in order about this file.
    fn right_item(&mut self, file: usize) -> Wish {
        let chosen = &self.files[file];
        let (first, pages) = self.random.part(chosen.pages.len());
        Wish {
            item: Item {
                memfd: chosen.fd.number() as u32,
                pad: 0,
                offset: (first * PAGE) as u64,
                size: (pages * PAGE) as u64,
            },
            file: Some(file),
            early: Vec::new(),
            late: only_if(!chosen.can_be_pinned(), &[EINVAL]).to_vec(),
            _other: None,
        }
    }

    fn wish(&mut self) -> Wish {
        let Some(file) = self.random.index(self.files.len()) else {
            let memfd = self.no_file();
            return Wish {
                item: Item {
                    memfd,
                    size: PAGE as u64,
                    ..Item::default()
                },
                file: None,
                early: Vec::new(),
                late: vec![EBADFD],
                _other: None,
            };
        };
        let mut wish = self.right_item(file);
        let item = &mut wish.item;
        match self.random.below(40) {
            0 => {
                item.offset += 1 + self.random.below(PAGE - 1) as u64;
                wish.early.push(EINVAL);
            }
            1 => {
                item.size += 1 + self.random.below(PAGE - 1) as u64;
                wish.early.push(EINVAL);
            }
            2 => {
                let end = (self.files[file].pages.len() * PAGE) as u64;
                item.size = end - item.offset + PAGE as u64;
                wish.late.push(EINVAL);
            }
            3 => {
                item.offset += 1 << 63;
                wish.late.push(EINVAL);
            }
            4 | 5 => {
                item.memfd = self.no_file();
                wish.late = vec![EBADFD];
            }
            6 => {
                // More than fits into the address space, or wraps around.
                item.size = u64::MAX - (PAGE as u64 - 1);
                wish.early.push(EINVAL);
            }
            // Whoever has the buffer may read it and write to it. That comes before the seals.
            7 => self.open_again(&mut wish, Again::ToRead, EACCES),
            8 => self.open_again(&mut wish, Again::ToWrite, EACCES),
            9 => self.open_again(&mut wish, Again::AsPath, EBADFD),
            10 => {
                item.memfd = self.private.number() as u32;
                wish.late = vec![EPERM];
            }
            _ => {}
        }
        wish
    }

    /// The item names the same file, as it is open in another way, if it can be.
    fn open_again(&mut self, wish: &mut Wish, how: Again, errno: i32) {
        let is_guest = wish.file.is_some_and(|file| self.files[file].is_guest());
        let wrong = only_if(is_guest && how != Again::AsPath, &[ENXIO]);
        let other = calls::open_again(wish.item.memfd as i32, how);
        if let Some(other) = self.judge("open", other, wrong) {
            wish.item.memfd = other.as_raw_fd() as u32;
            wish.late = vec![errno];
            wish._other = Some(other);
        }
    }

    /// The pages of the items, which all are right.
    fn pages_of(&mut self, wishes: &[Wish]) -> Vec<PageId> {
        let mut all = Vec::new();
        for Wish { item, file, .. } in wishes {
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

    fn new_buffer(&mut self, fd: Option<Fd>, flags: u32, wishes: &[Wish]) {
        const CLOEXEC: u32 = 1;
        if let Some(fd) = fd {
            let pages = self.pages_of(wishes);
            self.created += 1;
            self.buffers.push(Buffer {
                number: self.created,
                descriptors: vec![Descriptor {
                    fd,
                    closes_on_exec: flags & CLOEXEC != 0,
                }],
                pages,
                begun: false,
                name: None,
                nonblocking: false,
            });
        }
    }

    fn create(&mut self) -> Option<()> {
        if self.buffers.len() == MOST_BUFFERS {
            return self.close_buffer();
        }
        let wish = self.wish();
        let wrong = match wish.early.is_empty() {
            true => &wish.late,
            false => &wish.early,
        };
        // What is no flag is ignored.
        let flags = self.random.next() as u32;
        let mut create = Create {
            memfd: wish.item.memfd,
            flags,
            offset: wish.item.offset,
            size: wish.item.size,
        };
        let result = self.dev.ioctl_fd(UDMABUF_CREATE, &mut create);
        let fd = self.judge("UDMABUF_CREATE", result, wrong);
        self.new_buffer(fd, flags, &[wish]);
        Some(())
    }

    fn create_list(&mut self) -> Option<()> {
        if self.buffers.len() == MOST_BUFFERS {
            return self.close_buffer();
        }
        let count = self.random.below(6);
        let wishes: Vec<Wish> = (0..count).map(|_| self.wish()).collect();
        let early = wishes.iter().any(|wish| !wish.early.is_empty());
        let too_many = self.random.once_in(20);
        let claimed = if too_many {
            LIST_LIMIT + 1 + self.random.below(9999)
        } else {
            count
        };
        // The first item that is wrong ends it.
        let late = wishes.iter().find(|wish| !wish.late.is_empty());
        let wrong = match late {
            _ if too_many || early || count == 0 => &[EINVAL][..],
            Some(wish) => &wish.late,
            None => &[],
        };

        // The head has the size of a third of an item.
        let mut list = vec![0u64; 1 + 3 * count];
        let flags = self.random.next() as u32;
        list[0] = (claimed as u64) << 32 | u64::from(flags);
        for (i, Wish { item, .. }) in wishes.iter().enumerate() {
            let words = [u64::from(item.memfd), item.offset, item.size];
            list[1 + 3 * i..4 + 3 * i].copy_from_slice(&words);
        }
        let result = self.dev.ioctl_fd(UDMABUF_CREATE_LIST, list.as_mut_ptr());
        let fd = self.judge("UDMABUF_CREATE_LIST", result, wrong);
        self.new_buffer(fd, flags, &wishes);
        Some(())
    }

    /// Whole units only: parts of huge pages would be cleared under the buffer.
    fn units(&mut self, file: usize) -> (usize, usize) {
        let File { kind, pages, .. } = &self.files[file];
        let unit = kind.unit();
        let (first, number) = self.random.part(pages.len() / unit);
        (first * unit, number * unit)
    }

    fn punch(&mut self) -> Option<()> {
        let i = self.random.index(self.files.len())?;
        let (first, pages) = self.units(i);
        let file = &mut self.files[i];
        let wrong = only_if(file.forbids_writing(), &[EPERM]);
        // A buffer keeps what it has pinned. The file gets another page.
        if wrong.is_empty() {
            file.pages[first..first + pages].fill(None);
        }
        let result = file.fd.punch(first, pages);
        self.judge("punch a hole", result, wrong);
        Some(())
    }

    fn allocate(&mut self) -> Option<()> {
        let i = self.random.index(self.files.len())?;
        let (first, pages) = self.units(i);
        let keeps_size = self.random.once_in(2);
        let file = &mut self.files[i];
        let wrong = only_if(file.is_guest() && !keeps_size, &[EOPNOTSUPP]);
        if wrong.is_empty() {
            file.fill(&mut self.memory, first, pages);
        }
        let result = match keeps_size {
            true => file.fd.allocate_inside(first, pages),
            false => file.fd.allocate(first, pages),
        };
        self.judge("fallocate", result, wrong);
        Some(())
    }

    fn resize(&mut self) -> Option<()> {
        let file = self.random.pick(&mut self.files)?;
        let most = if file.is_huge() { 3 } else { 64 };
        let pages = (1 + self.random.below(most)) * file.kind.unit();
        let shrinks = pages < file.pages.len();
        let grows = pages > file.pages.len();
        let sealed =
            shrinks && file.seals & F_SEAL_SHRINK != 0 || grows && file.seals & F_SEAL_GROW != 0;
        let wrong = match file.kind {
            Kind::Guest => &[EINVAL],
            Kind::Small | Kind::Huge => only_if(sealed, &[EPERM]),
        };
        if wrong.is_empty() {
            file.pages.resize(pages, None);
        }
        let result = file.fd.truncate(pages);
        self.judge("ftruncate", result, wrong);
        Some(())
    }

    /// F_SEAL_WRITE waits for pins a while, and gives up if they stay.
    fn seal(&mut self) -> Option<()> {
        const NO_SEAL: u32 = 0x40;
        let i = self.random.index(self.files.len())?;
        let seal = self.random.one_of(&[
            F_SEAL_SHRINK,
            F_SEAL_GROW,
            F_SEAL_FUTURE_WRITE,
            F_SEAL_WRITE,
            F_SEAL_SEAL,
            NO_SEAL,
        ]);
        let file = &self.files[i];
        if file.is_guest() {
            let added = file.fd.add_seals(seal);
            let found = calls::fcntl(&file.fd, F_GET_SEALS, 0);
            self.judge("add seals", added, &[EINVAL]);
            self.judge("get seals", found, &[EINVAL]);
            return Some(());
        }
        if seal == NO_SEAL {
            // That is told before anything else.
            let result = file.fd.add_seals(seal);
            self.judge("add seals", result, &[EINVAL]);
            return Some(());
        }
        let held = |pages: &[PageId]| pages.iter().any(|id| file.pages.contains(&Some(*id)));
        let pinned = self.buffers.iter().any(|buffer| held(&buffer.pages))
            || self.views.iter().any(|view| held(&view.kept));
        let waits = seal == F_SEAL_WRITE && file.seals & F_SEAL_WRITE == 0;
        self.add_seals(i, seal, only_if(pinned && waits, &[EBUSY]));
        Some(())
    }

    fn close_file(&mut self) -> Option<()> {
        let file = self.random.take(&mut self.files)?;
        self.well("close", calls::close(file.fd));
        Some(())
    }

    fn wrong_calls_on_the_device(&mut self) -> Option<()> {
        let command = 0x4000_7500 | (self.random.next() & 0x3fff_00ff);
        let nowhere = self.random.nowhere();
        let (command, wrong) = match self.random.below(3) {
            0 => (UDMABUF_CREATE, EFAULT),
            1 => (UDMABUF_CREATE_LIST, EFAULT),
            _ if [UDMABUF_CREATE, UDMABUF_CREATE_LIST].contains(&command) => (command, EFAULT),
            _ => (command, ENOTTY),
        };
        let result = self.dev.ioctl(command, nowhere);
        self.judge("a wrong ioctl", result, &[wrong]);
        Some(())
    }

    /// Gives all buffers back: then nobody has a page of a file any more, so that it can be sealed, if it knows seals.
    fn end(mut self) -> Done {
        self.views.clear();
        self.buffers.clear();
        self.fences.clear();
        self.files.retain(|file| !file.is_guest());
        for i in 0..self.files.len() {
            self.add_seals(i, F_SEAL_WRITE, &[]);
        }
        self.done
    }

    /// Everything that can still be seen.
    fn check_all(&mut self) {
        for i in 0..self.files.len() {
            for page in 0..self.files[i].pages.len() {
                self.check_file(i, page, 0);
            }
        }
        for i in 0..self.views.len() {
            for page in 0..self.views[i].pages.len() {
                let view = &self.views[i];
                if !view.setups[page].readable {
                    continue;
                }
                let (found, id) = (view.map.read(page, 511), view.pages[page]);
                let wanted = self.memory.word(id, 511);
                self.compare("mapping", page, 511, found, wanted);
            }
        }
        for buffer in 0..self.buffers.len() {
            self.check_fdinfo(buffer, 0);
        }
    }
}
