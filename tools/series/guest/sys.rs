// SPDX-License-Identifier: GPL-2.0
//! The system calls that the programs make. All return a value or the errno.

// Each program has its own use for them.
#![allow(dead_code)]

use std::ffi::{CString, c_char, c_int, c_long, c_uint, c_void};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::ptr;

pub const PAGE: usize = 4096;
/// The pages of a huge page.
pub const HUGE_PAGES: usize = 512;

pub const EPERM: i32 = 1;
pub const EINTR: i32 = 4;
pub const EFAULT: i32 = 14;
pub const EBUSY: i32 = 16;
pub const EINVAL: i32 = 22;
pub const ENOTTY: i32 = 25;
pub const ESPIPE: i32 = 29;
pub const EBADFD: i32 = 77;
pub const EHWPOISON: i32 = 133;

pub const F_SEAL_SHRINK: u32 = 0x2;
pub const F_SEAL_GROW: u32 = 0x4;
pub const F_SEAL_WRITE: u32 = 0x8;
pub const F_SEAL_FUTURE_WRITE: u32 = 0x10;

pub const PROT_READ: i32 = 1;
pub const PROT_WRITE: i32 = 2;
pub const MAP_SHARED: i32 = 1;
pub const MAP_PRIVATE: i32 = 2;

pub const UDMABUF_CREATE: u64 = 0x4018_7542;
pub const UDMABUF_CREATE_LIST: u64 = 0x4008_7543;
pub const DMA_BUF_IOCTL_SYNC: u64 = 0x4008_6200;

const MFD_ALLOW_SEALING: c_uint = 2;
const MFD_HUGETLB: c_uint = 4;
const MFD_HUGE_SHIFT: c_uint = 26;
pub const F_ADD_SEALS: c_int = 1033;
const FALLOC_FL_KEEP_SIZE: c_int = 1;
const FALLOC_FL_PUNCH_HOLE: c_int = 2;
pub const SEEK_END: c_int = 2;

pub const MADV_PAGEOUT: i32 = 21;
pub const MADV_COLLAPSE: i32 = 25;
pub const MADV_HWPOISON: i32 = 100;
pub const MADV_SOFT_OFFLINE: i32 = 101;

/// What UDMABUF_CREATE takes.
#[repr(C)]
pub struct Create {
    pub memfd: u32,
    pub flags: u32,
    pub offset: u64,
    pub size: u64,
}

pub mod libc {
    use super::*;
    unsafe extern "C" {
        pub fn open(path: *const c_char, flags: c_int, ...) -> c_int;
        pub fn close(fd: c_int) -> c_int;
        pub fn ioctl(fd: c_int, request: u64, ...) -> c_int;
        pub fn fcntl(fd: c_int, cmd: c_int, ...) -> c_int;
        pub fn memfd_create(name: *const c_char, flags: c_uint) -> c_int;
        pub fn ftruncate(fd: c_int, len: i64) -> c_int;
        pub fn fallocate(fd: c_int, mode: c_int, offset: i64, len: i64) -> c_int;
        pub fn pread(fd: c_int, buf: *mut c_void, len: usize, offset: i64) -> isize;
        pub fn lseek(fd: c_int, offset: i64, whence: c_int) -> i64;
        pub fn mmap(
            a: *mut c_void,
            len: usize,
            prot: c_int,
            flags: c_int,
            fd: c_int,
            off: i64,
        ) -> *mut c_void;
        pub fn madvise(addr: *mut c_void, len: usize, advice: c_int) -> c_int;
        pub fn dup(fd: c_int) -> c_int;
        pub fn munmap(addr: *mut c_void, len: usize) -> c_int;
    }
}

/// What UDMABUF_CREATE_LIST takes so many of.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct Item {
    pub memfd: u32,
    pub pad: u32,
    pub offset: u64,
    pub size: u64,
}

pub type Result<T> = std::result::Result<T, i32>;

pub fn value(ret: impl Into<c_long>) -> Result<i64> {
    let ret = ret.into();
    if ret >= 0 {
        return Ok(ret);
    }
    Err(io::Error::last_os_error().raw_os_error().unwrap_or(0))
}

/// What a file of proc says of each of these pages, in words of eight bytes.
pub fn words(path: &str, pages: Range<u64>) -> io::Result<Vec<u64>> {
    let mut bytes = vec![0; (pages.end - pages.start) as usize * 8];
    File::open(path)?.read_exact_at(&mut bytes, pages.start * 8)?;
    let word = |bytes: &[u8]| u64::from_ne_bytes(bytes.try_into().expect("there are eight"));
    Ok(bytes.chunks_exact(8).map(word).collect())
}

/// An open file, closed when dropped.
#[derive(Debug)]
pub struct Fd(c_int);

impl Fd {
    fn new(ret: c_int) -> Result<Self> {
        value(ret).map(|_| Fd(ret))
    }

    pub fn open(path: &str) -> Result<Self> {
        const O_RDWR: c_int = 2;
        let path = CString::new(path).expect("paths have no NUL");
        // SAFETY: The path is a string.
        Self::new(unsafe { libc::open(path.as_ptr(), O_RDWR) })
    }

    pub fn memfd(huge: bool) -> Result<Self> {
        let flags = MFD_ALLOW_SEALING | if huge { MFD_HUGETLB } else { 0 };
        // SAFETY: The name is a string.
        Self::new(unsafe { libc::memfd_create(c"fuzz".as_ptr(), flags) })
    }

    /// Of huge pages that have two to the power of this many bytes.
    pub fn memfd_huge(log: u32) -> Result<Self> {
        let flags = MFD_ALLOW_SEALING | MFD_HUGETLB | log << MFD_HUGE_SHIFT;
        // SAFETY: The name is a string.
        Self::new(unsafe { libc::memfd_create(c"huge".as_ptr(), flags) })
    }

    pub fn duplicate(&self) -> Result<Self> {
        // SAFETY: No memory is involved.
        Self::new(unsafe { libc::dup(self.0) })
    }

    pub fn number(&self) -> i32 {
        self.0
    }

    pub fn truncate(&self, pages: usize) -> Result<()> {
        // SAFETY: No memory is involved.
        value(unsafe { libc::ftruncate(self.0, (pages * PAGE) as i64) }).map(drop)
    }

    pub fn add_seals(&self, seals: u32) -> Result<()> {
        // SAFETY: No memory is involved.
        value(unsafe { libc::fcntl(self.0, F_ADD_SEALS, seals) }).map(drop)
    }

    pub fn allocate(&self, page: usize, pages: usize) -> Result<()> {
        self.fallocate(0, page, pages)
    }

    /// The size of the file stays what it is.
    pub fn allocate_inside(&self, page: usize, pages: usize) -> Result<()> {
        self.fallocate(FALLOC_FL_KEEP_SIZE, page, pages)
    }

    pub fn punch(&self, page: usize, pages: usize) -> Result<()> {
        self.fallocate(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, page, pages)
    }

    fn fallocate(&self, mode: c_int, page: usize, pages: usize) -> Result<()> {
        let (offset, len) = ((page * PAGE) as i64, (pages * PAGE) as i64);
        // SAFETY: No memory of ours is involved.
        value(unsafe { libc::fallocate(self.0, mode, offset, len) }).map(drop)
    }

    /// The word at a byte offset.
    pub fn read_word(&self, offset: usize) -> Result<u64> {
        let mut word = 0u64;
        let to = ptr::from_mut(&mut word).cast();
        // SAFETY: `word` has eight bytes.
        let n = value(unsafe { libc::pread(self.0, to, 8, offset as i64) } as c_long)?;
        assert_eq!(n, 8, "a read ended early");
        Ok(word)
    }

    pub fn size(&self) -> Result<usize> {
        // SAFETY: No memory is involved.
        value(unsafe { libc::lseek(self.0, 0, SEEK_END) }).map(|n| n as usize)
    }

    /// Returns a new file descriptor, if the command makes one.
    pub fn ioctl<T>(&self, request: u64, arg: *mut T) -> Result<i64> {
        // SAFETY: The kernel checks the address; each caller passes what the command reads and writes, or garbage that
        // points nowhere.
        value(unsafe { libc::ioctl(self.0, request, arg) })
    }

    pub fn ioctl_fd<T>(&self, request: u64, arg: *mut T) -> Result<Fd> {
        self.ioctl(request, arg).map(|fd| Fd(fd as c_int))
    }

    pub fn map(&self, page: usize, pages: usize, prot: i32, flags: i32) -> Result<Map> {
        let offset = (page * PAGE) as i64;
        // SAFETY: The kernel chooses an address that is not in use.
        unsafe { map_at(ptr::null_mut(), pages, prot, flags, self.0, offset) }
    }

    /// Maps the first pages at an address where huge pages can be.
    pub fn map_aligned(&self, pages: usize, prot: i32) -> Result<Map> {
        const MAP_FIXED: c_int = 0x10;
        const MAP_ANONYMOUS: c_int = 0x20;
        let free = MAP_PRIVATE | MAP_ANONYMOUS;
        // SAFETY: The kernel chooses an address that is not in use.
        let mut room = unsafe { map_at(ptr::null_mut(), pages + HUGE_PAGES, 0, free, -1, 0) }?;
        let skip = room.addr.align_offset(HUGE_PAGES * PAGE) / PAGE;
        if skip > 0 {
            room.cut(skip)?;
        }
        let flags = MAP_SHARED | MAP_FIXED;
        // SAFETY: What it takes the place of is in the room, which nobody uses.
        let map = unsafe { map_at(room.addr.cast(), pages, prot, flags, self.0, 0) }?;
        // SAFETY: It is inside of the room.
        room.addr = unsafe { room.addr.add(pages * PAGE) };
        room.pages -= pages;
        Ok(map)
    }
}

/// # Safety
///
/// With MAP_FIXED, nobody uses what is mapped there.
unsafe fn map_at(
    at: *mut c_void,
    pages: usize,
    prot: i32,
    flags: i32,
    fd: c_int,
    offset: i64,
) -> Result<Map> {
    // SAFETY: The caller's, or the kernel chooses an address that is not in use.
    let addr = unsafe { libc::mmap(at, pages * PAGE, prot, flags, fd, offset) };
    value(addr as c_long)?;
    Ok(Map {
        addr: addr.cast(),
        pages,
    })
}

impl Drop for Fd {
    fn drop(&mut self) {
        // SAFETY: The descriptor is owned.
        unsafe { libc::close(self.0) };
    }
}

/// A mapping, removed when dropped.
#[derive(Debug)]
pub struct Map {
    addr: *mut u8,
    pages: usize,
}

impl Map {
    fn word(&self, page: usize, word: usize) -> *mut u64 {
        assert!(page < self.pages && word < PAGE / 8);
        // SAFETY: It is inside of the mapping.
        unsafe { self.addr.add(page * PAGE + word * 8).cast() }
    }

    pub fn read(&self, page: usize, word: usize) -> u64 {
        // SAFETY: The mapping is readable, and others that write to it are not Rust's.
        unsafe { self.word(page, word).read_volatile() }
    }

    /// The mapping must have been made with PROT_WRITE.
    pub fn write(&self, page: usize, word: usize, value: u64) {
        // SAFETY: The mapping is writable.
        unsafe { self.word(page, word).write_volatile(value) };
    }

    pub fn len(&self) -> usize {
        self.pages
    }

    /// The first address, and that behind the last one.
    pub fn addresses(&self) -> (usize, usize) {
        (self.addr as usize, self.addr as usize + self.pages * PAGE)
    }

    /// The page frame of each page that is mapped. The process is root.
    pub fn frames(&self) -> Vec<Option<u64>> {
        const PRESENT: u64 = 1 << 63;
        const FRAME: u64 = (1 << 55) - 1;
        let first = (self.addr as usize / PAGE) as u64;
        words("/proc/self/pagemap", first..first + self.pages as u64)
            .expect("CONFIG_PROC_PAGE_MONITOR")
            .into_iter()
            .map(|word| (word & PRESENT != 0).then_some(word & FRAME))
            .collect()
    }

    pub fn advise(&self, page: usize, pages: usize, advice: i32) -> Result<()> {
        assert!(page + pages <= self.pages);
        // SAFETY: It is inside of the mapping.
        let addr = unsafe { self.addr.add(page * PAGE) };
        // SAFETY: Nothing of Rust's lies in the mapping; what memory holds is read as words.
        value(unsafe { libc::madvise(addr.cast(), pages * PAGE, advice) }).map(drop)
    }

    /// Removes the pages in front.
    pub fn cut(&mut self, pages: usize) -> Result<()> {
        assert!(pages < self.pages);
        // SAFETY: That part is not used any more.
        value(unsafe { libc::munmap(self.addr.cast(), pages * PAGE) })?;
        // SAFETY: It is inside of the mapping.
        self.addr = unsafe { self.addr.add(pages * PAGE) };
        self.pages -= pages;
        Ok(())
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: The mapping is owned.
        unsafe { libc::munmap(self.addr.cast(), self.pages * PAGE) };
    }
}
