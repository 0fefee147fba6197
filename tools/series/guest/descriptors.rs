// SPDX-License-Identifier: GPL-2.0
//! The calls of a round on the descriptors of a buffer: what every shared buffer accepts, and what none does.

use std::fs;
use std::os::fd::AsRawFd;
use std::ptr;

use crate::calls::{self, *};
use crate::model::{Buffer, Descriptor};
use crate::round::{Round, only_if};
use crate::sys::{self, *};

/// A buffer is known by so many descriptors.
const MOST_DESCRIPTORS: usize = 3;
/// So many fences are kept, to be put into other buffers.
const MOST_FENCES: usize = 4;
/// What is read, what is written, or both: of the access that begins or ends, and of the fences.
const DIRECTION: u64 = 3;

/// A call that no buffer accepts: its name, the call and the error.
type Refused = (&'static str, fn(&Fd) -> sys::Result<()>, i32);

const REFUSED: [Refused; 9] = [
    // A buffer is no memory that is read and written, but memory that is mapped.
    ("read of a buffer", calls::read, EINVAL),
    ("write of a buffer", calls::write, EINVAL),
    ("pread of a buffer", |fd| fd.read_word(0).map(drop), ESPIPE),
    ("pwrite of a buffer", calls::write_at_start, ESPIPE),
    ("ftruncate of a buffer", |fd| fd.truncate(1), EINVAL),
    ("fallocate of a buffer", |fd| fd.allocate(0, 1), ENODEV),
    ("fsync of a buffer", calls::fsync, EINVAL),
    // No command of anybody: its type is 'b', its number one that is not in use.
    (
        "an unknown ioctl",
        |fd| fd.ioctl(0x6280, ptr::null_mut::<u8>()).map(drop),
        ENOTTY,
    ),
    // DMA_BUF_IOCTL_SYNC, but of four bytes.
    (
        "an ioctl of another size",
        |fd| fd.ioctl(0x4004_6200, &mut 1u32).map(drop),
        ENOTTY,
    ),
];

impl Round {
    /// A buffer and one of its descriptors, if there is any.
    fn any_descriptor(&mut self) -> Option<(usize, usize)> {
        let buffer = self.random.index(self.buffers.len())?;
        let count = self.buffers[buffer].descriptors.len();
        Some((buffer, self.random.below(count)))
    }

    pub fn sync(&mut self) -> Option<()> {
        const END: u64 = 4;
        let (at, which) = self.any_descriptor()?;
        let mut flags = match self.random.below(12) {
            0 => self.random.next(),
            n => n as u64 & (DIRECTION | END),
        };
        let nowhere = self.random.nowhere();
        let lost = self.random.once_in(16);
        let buffer = &mut self.buffers[at];
        let fd = &buffer.descriptors[which].fd;
        if lost {
            let result = fd.ioctl(DMA_BUF_IOCTL_SYNC, nowhere);
            self.judge("DMA_BUF_IOCTL_SYNC", result, &[EFAULT]);
            return Some(());
        }
        let known = flags & !(DIRECTION | END) == 0 && flags & DIRECTION != 0;
        let ends = flags & END != 0;
        let wrong = only_if(!known || ends && !buffer.begun, &[EINVAL]);
        let result = fd.ioctl(DMA_BUF_IOCTL_SYNC, &mut flags);
        buffer.begun |= known && !ends;
        self.judge("DMA_BUF_IOCTL_SYNC", result, wrong);
        Some(())
    }

    /// The kernel keeps at most 31 characters, and refuses more.
    pub fn name(&mut self) -> Option<()> {
        const LONGEST: usize = 31;
        let (at, which) = self.any_descriptor()?;
        let (what, command) = self.random.one_of(&[
            ("DMA_BUF_SET_NAME_A", DMA_BUF_SET_NAME_A),
            ("DMA_BUF_SET_NAME_B", DMA_BUF_SET_NAME_B),
        ]);
        let len = self.random.one_of(&[0, 1, 7, 8, 30, 31, 32, 33, 63]);
        let mut letter = || char::from(b'a' + self.random.below(26) as u8);
        let name: String = (0..len).map(|_| letter()).collect();
        let mut bytes = name.clone().into_bytes();
        bytes.push(0);
        let (nowhere, lost) = (self.random.nowhere(), self.random.once_in(8));
        let (address, wrong) = match lost {
            true => (nowhere, &[EFAULT][..]),
            false => (bytes.as_mut_ptr(), only_if(len > LONGEST, &[EINVAL])),
        };
        let buffer = &mut self.buffers[at];
        let result = buffer.descriptors[which].fd.ioctl(command, address);
        if wrong.is_empty() {
            buffer.name = Some(name);
        }
        self.judge(what, result, wrong);
        Some(())
    }

    /// Flags for the commands about fences, and whether these are right.
    fn fence_flags(&mut self) -> (u32, bool) {
        let flags = match self.random.below(8) {
            0 => self.random.next() as u32,
            n => n as u32 & DIRECTION as u32,
        };
        let direction = DIRECTION as u32;
        (flags, flags & !direction == 0 && flags & direction != 0)
    }

    /// No device has anything to do, so that a fence which is got from a buffer is over.
    pub fn export_fence(&mut self) -> Option<()> {
        const WHAT: &str = "DMA_BUF_IOCTL_EXPORT_SYNC_FILE";
        let (at, which) = self.any_descriptor()?;
        let (flags, right) = self.fence_flags();
        let (nowhere, lost) = (self.random.nowhere(), self.random.once_in(8));
        let fd = &self.buffers[at].descriptors[which].fd;
        if lost {
            let result = fd.ioctl(DMA_BUF_IOCTL_EXPORT_SYNC_FILE, nowhere);
            self.judge(WHAT, result, &[EFAULT]);
            return Some(());
        }
        let result = calls::export_fence(fd, flags);
        if let Some(fence) = self.judge(WHAT, result, only_if(!right, &[EINVAL])) {
            let events = calls::poll(fence.as_raw_fd(), POLLIN);
            assert_eq!(self.well("poll of a fence", events), POLLIN);
            if self.fences.len() == MOST_FENCES {
                drop(self.random.take(&mut self.fences));
            }
            self.fences.push(fence);
        }
        Some(())
    }

    pub fn import_fence(&mut self) -> Option<()> {
        const WHAT: &str = "DMA_BUF_IOCTL_IMPORT_SYNC_FILE";
        let (at, which) = self.any_descriptor()?;
        let fence = self.random.pick(&mut self.fences)?.as_raw_fd();
        let (flags, right) = self.fence_flags();
        let nowhere = self.random.nowhere();
        let fd = &self.buffers[at].descriptors[which].fd;
        let mut wanted = SyncFile { flags, fd: fence };
        let (address, wrong) = match self.random.below(10) {
            0 => (nowhere.cast(), &[EFAULT][..]),
            // Descriptors of something else, and none.
            1 => {
                wanted.fd = fd.number();
                (ptr::from_mut(&mut wanted), &[EINVAL][..])
            }
            2 => {
                wanted.fd = -1;
                (ptr::from_mut(&mut wanted), &[EINVAL][..])
            }
            _ => (ptr::from_mut(&mut wanted), only_if(!right, &[EINVAL])),
        };
        let result = fd.ioctl(DMA_BUF_IOCTL_IMPORT_SYNC_FILE, address);
        self.judge(WHAT, result, wrong);
        Some(())
    }

    /// No device has anything to do, so that a buffer is always ready for all that can be waited for.
    pub fn poll(&mut self) -> Option<()> {
        let (at, which) = self.any_descriptor()?;
        let asked = self
            .random
            .one_of(&[POLLIN, POLLOUT, POLLIN | POLLOUT, POLLIN | POLLPRI, 0]);
        let found = calls::poll(self.buffers[at].descriptors[which].fd.number(), asked);
        let found = self.well("poll of a buffer", found);
        assert_eq!(found, asked & (POLLIN | POLLOUT), "poll for {asked}");
        Some(())
    }

    pub fn fdinfo(&mut self) -> Option<()> {
        let (at, which) = self.any_descriptor()?;
        self.check_fdinfo(at, which);
        Some(())
    }

    /// What proc says of a descriptor. Descriptors and mappings are all that keeps a buffer.
    pub fn check_fdinfo(&mut self, at: usize, which: usize) {
        let buffer = &self.buffers[at];
        let Descriptor { fd, closes_on_exec } = &buffer.descriptors[which];
        let views = self.views.iter();
        let views = views.filter(|view| view.buffer == buffer.number);
        let areas: usize = views.map(|view| view.areas()).sum();
        let flags = file_flags(buffer) | if *closes_on_exec { O_CLOEXEC } else { 0 };
        let mut wanted = format!(
            "flags:\t0{flags:o}\nsize:\t{}\ncount:\t{}\nexp_name:\tudmabuf\n",
            buffer.pages.len() * PAGE,
            buffer.descriptors.len() + areas
        );
        if let Some(name) = &buffer.name {
            wanted += &format!("name:\t{name}\n");
        }
        let text = fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.number()));
        let text = self.well("fdinfo", calls::errno(text));
        // Those are of every file, and differ.
        let of_all = |line: &&str| {
            ["pos:", "mnt_id:", "ino:"]
                .iter()
                .any(|w| line.starts_with(w))
        };
        let found: String = text
            .lines()
            .filter(|line| !of_all(line))
            .map(|line| format!("{line}\n"))
            .collect();
        assert_eq!(found, wanted, "fdinfo");
    }

    /// What can be found out by way of the link that proc has to a descriptor.
    pub fn look_up(&mut self) -> Option<()> {
        let (at, which) = self.any_descriptor()?;
        let buffer = &self.buffers[at];
        let fd = buffer.descriptors[which].fd.number();
        match self.random.below(3) {
            0 => {
                let name = buffer.name.as_deref().unwrap_or("");
                let wanted = format!("/dmabuf:{name}");
                let found = calls::errno(fs::read_link(calls::link(fd)));
                let found = self.well("readlink", found);
                assert_eq!(found.to_str(), Some(wanted.as_str()), "readlink");
            }
            1 => {
                let wanted = (buffer.pages.len() * PAGE) as u64;
                let found = calls::errno(fs::metadata(calls::link(fd)));
                assert_eq!(self.well("stat", found).len(), wanted, "the size");
            }
            _ => {
                let how = self.random.one_of(&[Again::ToRead, Again::ToWrite]);
                self.judge("open", calls::open_again(fd, how), &[ENXIO]);
            }
        }
        Some(())
    }

    /// Only the size can be found out.
    pub fn seek(&mut self) -> Option<()> {
        let (at, which) = self.any_descriptor()?;
        let whence = self
            .random
            .one_of(&[SEEK_SET, SEEK_SET, SEEK_END, SEEK_END, 1, 3, 4, 5]);
        let offset = self.random.one_of(&[0, 0, 1, -1, PAGE as i64, i64::MAX]);
        let buffer = &self.buffers[at];
        let known = whence == SEEK_SET || whence == SEEK_END;
        let wrong = only_if(!known || offset != 0, &[EINVAL]);
        let end = if whence == SEEK_END {
            buffer.pages.len() * PAGE
        } else {
            0
        };
        let result = calls::seek(&buffer.descriptors[which].fd, offset, whence);
        if let Some(found) = self.judge("lseek", result, wrong) {
            assert_eq!(found, end, "lseek");
        }
        Some(())
    }

    /// The flags of a descriptor, which are its own, and those of the buffer. It has no seals.
    pub fn flags(&mut self) -> Option<()> {
        let (at, which) = self.any_descriptor()?;
        let (kind, set) = (self.random.below(7), self.random.once_in(2));
        let buffer = &mut self.buffers[at];
        let wanted = file_flags(buffer);
        let Descriptor { fd, closes_on_exec } = &mut buffer.descriptors[which];
        match kind {
            0 => {
                let found = calls::fcntl(fd, F_GETFL, 0);
                assert_eq!(self.well("F_GETFL", found), wanted, "F_GETFL");
            }
            1 => {
                let flag = if set { O_NONBLOCK } else { 0 };
                let result = calls::fcntl(fd, F_SETFL, flag);
                buffer.nonblocking = set;
                self.well("F_SETFL", result);
            }
            2 => {
                let result = calls::fcntl(fd, F_SETFL, O_DIRECT);
                self.judge("F_SETFL", result, &[EINVAL]);
            }
            3 => {
                let wanted = if *closes_on_exec { FD_CLOEXEC } else { 0 };
                let found = calls::fcntl(fd, F_GETFD, 0);
                assert_eq!(self.well("F_GETFD", found), wanted, "F_GETFD");
            }
            4 => {
                let flag = if set { FD_CLOEXEC } else { 0 };
                let result = calls::fcntl(fd, F_SETFD, flag);
                *closes_on_exec = set;
                self.well("F_SETFD", result);
            }
            5 => {
                let result = calls::fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK as i32);
                self.judge("add seals to a buffer", result, &[EINVAL]);
            }
            _ => {
                let result = calls::fcntl(fd, F_GET_SEALS, 0);
                self.judge("get seals of a buffer", result, &[EINVAL]);
            }
        }
        Some(())
    }

    pub fn refused(&mut self) -> Option<()> {
        let (at, which) = self.any_descriptor()?;
        let (what, call, errno) = self.random.one_of(&REFUSED);
        let result = call(&self.buffers[at].descriptors[which].fd);
        self.judge(what, result, &[errno]);
        Some(())
    }

    /// A buffer gets one more descriptor, or one less.
    pub fn duplicate(&mut self) -> Option<()> {
        let (at, which) = self.any_descriptor()?;
        let descriptors = &mut self.buffers[at].descriptors;
        if descriptors.len() == MOST_DESCRIPTORS {
            let Descriptor { fd, .. } = descriptors.swap_remove(which);
            self.well("close", calls::close(fd));
            return Some(());
        }
        let copy = descriptors[which].fd.duplicate();
        let fd = self.well("dup", copy);
        self.buffers[at].descriptors.push(Descriptor {
            fd,
            closes_on_exec: false,
        });
        Some(())
    }

    pub fn close_buffer(&mut self) -> Option<()> {
        let buffer = self.random.take(&mut self.buffers)?;
        for Descriptor { fd, .. } in buffer.descriptors {
            self.well("close", calls::close(fd));
        }
        Some(())
    }
}

/// What F_GETFL says.
fn file_flags(buffer: &Buffer) -> i32 {
    O_RDWR | if buffer.nonblocking { O_NONBLOCK } else { 0 }
}
