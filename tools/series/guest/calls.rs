// SPDX-License-Identifier: GPL-2.0
//! The system calls that only the fuzzer makes: on descriptors of every kind, and on mappings that move and fall apart.
//! All return a value or the errno.

use std::ffi::{c_int, c_long, c_ulong, c_void};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::mem;
use std::ops::Range;
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::ptr;

use crate::sys::{Fd, HUGE_PAGES, MAP_PRIVATE, PAGE, Result, value};

pub const EIO: i32 = 5;
pub const ENXIO: i32 = 6;
pub const EACCES: i32 = 13;
pub const ENODEV: i32 = 19;
pub const EOVERFLOW: i32 = 75;
pub const EOPNOTSUPP: i32 = 95;

pub const F_SEAL_SEAL: u32 = 0x1;

pub const PROT_NONE: i32 = 0;
pub const PROT_EXEC: i32 = 4;
pub const MAP_SHARED_VALIDATE: i32 = 3;
pub const MAP_LOCKED: i32 = 0x2000;
pub const MAP_POPULATE: i32 = 0x8000;
pub const MAP_SYNC: i32 = 0x8_0000;

pub const MREMAP_MAYMOVE: i32 = 1;
pub const MREMAP_FIXED: i32 = 2;
pub const MREMAP_DONTUNMAP: i32 = 4;

pub const MS_ASYNC: i32 = 1;
pub const MS_INVALIDATE: i32 = 2;
pub const MS_SYNC: i32 = 4;

pub const SEEK_SET: i32 = 0;

pub const POLLIN: i16 = 1;
pub const POLLPRI: i16 = 2;
pub const POLLOUT: i16 = 4;

pub const F_GETFD: i32 = 1;
pub const F_SETFD: i32 = 2;
pub const F_GETFL: i32 = 3;
pub const F_SETFL: i32 = 4;
pub const F_GET_SEALS: i32 = 1034;
pub const FD_CLOEXEC: i32 = 1;
pub const O_RDWR: i32 = 2;
pub const O_NONBLOCK: i32 = 0o4000;
pub const O_DIRECT: i32 = 0o40000;
pub const O_CLOEXEC: i32 = 0o200_0000;
const O_PATH: i32 = 0o1000_0000;

pub const DMA_BUF_SET_NAME_A: u64 = 0x4004_6201;
pub const DMA_BUF_SET_NAME_B: u64 = 0x4008_6201;
pub const DMA_BUF_IOCTL_EXPORT_SYNC_FILE: u64 = 0xc008_6202;
pub const DMA_BUF_IOCTL_IMPORT_SYNC_FILE: u64 = 0x4008_6203;

const KVM_CREATE_VM: u64 = 0xae01;
const KVM_CREATE_GUEST_MEMFD: u64 = 0xc040_aed4;

/// GUEST_MEMFD_FLAG_MMAP and GUEST_MEMFD_FLAG_INIT_SHARED: the host may map it, and see what is in it.
pub const GMEM_SHARED: u64 = 1 | 2;

/// What KVM_CREATE_GUEST_MEMFD takes.
#[repr(C)]
struct GuestMemfd {
    size: u64,
    flags: u64,
    reserved: [u64; 6],
}

/// What the commands take that get a fence out of a buffer and put one into it.
#[repr(C)]
pub struct SyncFile {
    pub flags: u32,
    pub fd: c_int,
}

#[repr(C)]
struct PollFd {
    fd: c_int,
    events: i16,
    revents: i16,
}

mod libc {
    use super::{PollFd, c_int, c_ulong, c_void};
    pub use crate::sys::libc::*;
    unsafe extern "C" {
        pub fn fsync(fd: c_int) -> c_int;
        pub fn mlock(addr: *const c_void, len: usize) -> c_int;
        pub fn mprotect(addr: *mut c_void, len: usize, prot: c_int) -> c_int;
        pub fn mremap(
            old: *mut c_void,
            old_len: usize,
            new_len: usize,
            flags: c_int,
            ...
        ) -> *mut c_void;
        pub fn msync(addr: *mut c_void, len: usize, flags: c_int) -> c_int;
        pub fn munlock(addr: *const c_void, len: usize) -> c_int;
        pub fn poll(fds: *mut PollFd, count: c_ulong, timeout: c_int) -> c_int;
        pub fn pwrite(fd: c_int, buf: *const c_void, len: usize, offset: i64) -> isize;
        pub fn read(fd: c_int, buf: *mut c_void, len: usize) -> isize;
        pub fn write(fd: c_int, buf: *const c_void, len: usize) -> isize;
    }
}

/// What a call of the standard library returned, with the errno only.
pub fn errno<T>(result: io::Result<T>) -> Result<T> {
    result.map_err(|error| error.raw_os_error().unwrap_or(0))
}

/// Where proc has a descriptor: a link to what is open.
pub fn link(fd: i32) -> String {
    format!("/proc/self/fd/{fd}")
}

/// What is open is opened again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    ToRead,
    ToWrite,
    /// To neither: it is no more than a place in the file system.
    AsPath,
}

pub fn open_again(fd: i32, how: Again) -> Result<File> {
    let mut options = OpenOptions::new();
    match how {
        Again::ToRead => options.read(true),
        Again::ToWrite => options.write(true),
        Again::AsPath => options.read(true).custom_flags(O_PATH),
    };
    errno(options.open(link(fd)))
}

/// A file of the tmpfs that everybody may use, without a name: it cannot be sealed.
pub fn file_of_tmpfs() -> Result<Fd> {
    const PATH: &str = "/tmp/fuzz";
    errno(File::create(PATH))?;
    let fd = Fd::open(PATH)?;
    errno(fs::remove_file(PATH))?;
    Ok(fd)
}

pub fn virtual_machine() -> Result<Fd> {
    Fd::open("/dev/kvm")?.ioctl_fd(KVM_CREATE_VM, ptr::null_mut::<u8>())
}

/// Memory of a virtual machine.
pub fn guest_memfd(machine: &Fd, pages: usize, flags: u64) -> Result<Fd> {
    let mut create = GuestMemfd {
        size: (pages * PAGE) as u64,
        flags,
        reserved: [0; 6],
    };
    machine.ioctl_fd(KVM_CREATE_GUEST_MEMFD, &mut create)
}

pub fn close(fd: Fd) -> Result<()> {
    let number = fd.number();
    mem::forget(fd);
    // SAFETY: The descriptor was owned, and its owner does not close it.
    value(unsafe { libc::close(number) }).map(drop)
}

pub fn fcntl(fd: &Fd, command: i32, argument: i32) -> Result<i32> {
    // SAFETY: The commands that there are constants for take a number.
    value(unsafe { libc::fcntl(fd.number(), command, argument) }).map(|ret| ret as i32)
}

pub fn seek(fd: &Fd, offset: i64, whence: i32) -> Result<usize> {
    // SAFETY: No memory is involved.
    value(unsafe { libc::lseek(fd.number(), offset, whence) }).map(|ret| ret as usize)
}

/// Which of these events there are now.
pub fn poll(fd: i32, events: i16) -> Result<i16> {
    let mut asked = PollFd {
        fd,
        events,
        revents: 0,
    };
    // SAFETY: There is one entry, valid for reads and writes.
    let count = value(unsafe { libc::poll(&mut asked, 1, 0) })?;
    assert_eq!(count, i64::from(asked.revents != 0), "what poll counts");
    Ok(asked.revents)
}

pub fn read(fd: &Fd) -> Result<()> {
    let mut word = 0u64;
    // SAFETY: `word` has eight bytes.
    value(unsafe { libc::read(fd.number(), ptr::from_mut(&mut word).cast(), 8) } as c_long)
        .map(drop)
}

pub fn write(fd: &Fd) -> Result<()> {
    let word = 0u64;
    // SAFETY: `word` has eight bytes.
    value(unsafe { libc::write(fd.number(), ptr::from_ref(&word).cast(), 8) } as c_long).map(drop)
}

pub fn write_at_start(fd: &Fd) -> Result<()> {
    let word = 0u64;
    // SAFETY: `word` has eight bytes.
    value(unsafe { libc::pwrite(fd.number(), ptr::from_ref(&word).cast(), 8, 0) } as c_long)
        .map(drop)
}

pub fn fsync(fd: &Fd) -> Result<()> {
    // SAFETY: No memory is involved.
    value(unsafe { libc::fsync(fd.number()) }).map(drop)
}

/// Gets what a device has still to do with a buffer, as a file.
pub fn export_fence(buffer: &Fd, flags: u32) -> Result<OwnedFd> {
    let mut made = SyncFile { flags, fd: -1 };
    buffer.ioctl(DMA_BUF_IOCTL_EXPORT_SYNC_FILE, &mut made)?;
    assert!(made.fd >= 0, "there is no descriptor of the fence");
    // SAFETY: The kernel has made this descriptor for us, and nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(made.fd) })
}

/// A mapping that can be moved, cut and set up in parts, removed when dropped.
#[derive(Debug)]
pub struct Mapping {
    start: usize,
    pages: usize,
}

impl Mapping {
    /// Maps so many pages of a file, from this byte on.
    pub fn new(fd: &Fd, offset: u64, pages: usize, prot: i32, flags: i32) -> Result<Self> {
        // SAFETY: The kernel chooses an address that is not in use.
        unsafe { Self::anywhere(fd.number(), offset, pages, prot, flags) }
    }

    /// Addresses that nobody else gets.
    fn room(pages: usize) -> Result<Self> {
        const MAP_ANONYMOUS: c_int = 0x20;
        const MAP_NORESERVE: c_int = 0x4000;
        let flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
        // SAFETY: The kernel chooses an address that is not in use.
        unsafe { Self::anywhere(-1, 0, pages, PROT_NONE, flags) }
    }

    /// # Safety
    ///
    /// The flags leave the choice of an address to the kernel.
    unsafe fn anywhere(
        fd: c_int,
        offset: u64,
        pages: usize,
        prot: i32,
        flags: i32,
    ) -> Result<Self> {
        let len = pages * PAGE;
        // SAFETY: As the caller says, the kernel chooses an address that is not in use.
        let start = unsafe { libc::mmap(ptr::null_mut(), len, prot, flags, fd, offset as i64) };
        value(start as c_long)?;
        Ok(Mapping {
            start: start as usize,
            pages,
        })
    }

    pub fn address(&self, page: usize) -> usize {
        assert!(page <= self.pages);
        self.start + page * PAGE
    }

    /// The first address of a part, and its length.
    fn part(&self, pages: &Range<usize>) -> (*mut c_void, usize) {
        assert!(pages.start <= pages.end && pages.end <= self.pages);
        (self.address(pages.start) as *mut c_void, pages.len() * PAGE)
    }

    fn word(&self, page: usize, word: usize) -> *mut u64 {
        assert!(page < self.pages && word < PAGE / 8);
        (self.address(page) + word * 8) as *mut u64
    }

    /// The page must be one that may be read.
    pub fn read(&self, page: usize, word: usize) -> u64 {
        // SAFETY: It is inside of the mapping, and others that write to it are not Rust's.
        unsafe { self.word(page, word).read_volatile() }
    }

    /// The page must be one that may be written.
    pub fn write(&self, page: usize, word: usize, value: u64) {
        // SAFETY: It is inside of the mapping.
        unsafe { self.word(page, word).write_volatile(value) };
    }

    /// Has the kernel read a word from this byte of a file into the mapping.
    pub fn read_file(&self, page: usize, word: usize, fd: &Fd, offset: usize) -> Result<()> {
        let to = self.word(page, word).cast();
        // SAFETY: The word is inside of the mapping. If it must not be written, the kernel says so.
        let n = value(unsafe { libc::pread(fd.number(), to, 8, offset as i64) } as c_long)?;
        assert_eq!(n, 8, "a read ended early");
        Ok(())
    }

    /// Has the kernel write a word of the mapping to this byte of a file.
    pub fn write_file(&self, page: usize, word: usize, fd: &Fd, offset: usize) -> Result<()> {
        let from = self.word(page, word).cast();
        // SAFETY: The word is inside of the mapping. If it must not be read, the kernel says so.
        let n = value(unsafe { libc::pwrite(fd.number(), from, 8, offset as i64) } as c_long)?;
        assert_eq!(n, 8, "a write ended early");
        Ok(())
    }

    pub fn protect(&self, pages: Range<usize>, prot: i32) -> Result<()> {
        let (start, len) = self.part(&pages);
        // SAFETY: It is inside of the mapping, which nothing of Rust's lies in.
        value(unsafe { libc::mprotect(start, len, prot) }).map(drop)
    }

    pub fn advise(&self, pages: Range<usize>, advice: i32) -> Result<()> {
        let (start, len) = self.part(&pages);
        // SAFETY: It is inside of the mapping, which nothing of Rust's lies in.
        value(unsafe { libc::madvise(start, len, advice) }).map(drop)
    }

    pub fn sync(&self, pages: Range<usize>, flags: i32) -> Result<()> {
        let (start, len) = self.part(&pages);
        // SAFETY: It changes no memory.
        value(unsafe { libc::msync(start, len, flags) }).map(drop)
    }

    pub fn lock(&self, pages: Range<usize>) -> Result<()> {
        let (start, len) = self.part(&pages);
        // SAFETY: It changes no memory.
        value(unsafe { libc::mlock(start, len) }).map(drop)
    }

    pub fn unlock(&self, pages: Range<usize>) -> Result<()> {
        let (start, len) = self.part(&pages);
        // SAFETY: It changes no memory.
        value(unsafe { libc::munlock(start, len) }).map(drop)
    }

    /// Makes what follows this page a mapping of its own. The kernel does not hear of that.
    pub fn split_off(&mut self, page: usize) -> Self {
        let start = self.address(page);
        let pages = self.pages - page;
        self.pages = page;
        Mapping { start, pages }
    }

    /// Removes the pages in front.
    pub fn cut(&mut self, pages: usize) -> Result<()> {
        assert!(pages < self.pages);
        let (start, len) = self.part(&(0..pages));
        // SAFETY: That part is not used any more.
        value(unsafe { libc::munmap(start, len) })?;
        self.start += len;
        self.pages -= pages;
        Ok(())
    }

    /// Keeps only so many pages.
    pub fn shrink(&mut self, pages: usize) -> Result<()> {
        assert!(pages > 0);
        let start = self.remap(self.pages, pages, 0, 0)?;
        assert_eq!(start, self.start, "it has moved");
        self.pages = pages;
        Ok(())
    }

    /// How many pages it is behind an address where a huge page can be.
    pub fn shift(&self) -> usize {
        self.start / PAGE % HUGE_PAGES
    }

    /// Moves it to a free place, so many pages behind an address where a huge page can be.
    pub fn move_to(&mut self, shift: usize) -> Result<()> {
        assert!(shift < HUGE_PAGES);
        let mut front = Self::room(self.pages + 2 * HUGE_PAGES)?;
        let skip = front.start.next_multiple_of(HUGE_PAGES * PAGE) - front.start;
        let mut place = front.split_off(skip / PAGE + shift);
        let _back = place.split_off(self.pages);
        let flags = MREMAP_MAYMOVE | MREMAP_FIXED;
        let start = self.remap(self.pages, self.pages, flags, place.start)?;
        assert_eq!(start, place.start, "it is somewhere else");
        // The place was taken, and nothing is mapped any more where it was.
        mem::forget(mem::replace(self, place));
        Ok(())
    }

    /// mremap() as it is: of so many pages to so many pages. Returns the address. The caller knows that the kernel
    /// refuses that, or that nothing changes, or takes note of what does.
    pub fn remap(&self, from: usize, to: usize, flags: i32, address: usize) -> Result<usize> {
        let (start, address) = (self.start as *mut c_void, address as *mut c_void);
        // SAFETY: Nothing of Rust's lies in the mapping. An address is that of room which was reserved for it, or the
        // kernel refuses it.
        let moved = unsafe { libc::mremap(start, from * PAGE, to * PAGE, flags, address) };
        value(moved as c_long).map(|start| start as usize)
    }

    pub fn unmap(self) -> Result<()> {
        let (start, len) = self.part(&(0..self.pages));
        mem::forget(self);
        // SAFETY: The mapping was owned, and its owner does not remove it.
        value(unsafe { libc::munmap(start, len) }).map(drop)
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        if self.pages > 0 {
            // SAFETY: The mapping is owned.
            unsafe { libc::munmap(self.start as *mut c_void, self.pages * PAGE) };
        }
    }
}
