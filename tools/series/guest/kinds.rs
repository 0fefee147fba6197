// SPDX-License-Identifier: GPL-2.0
//! The kinds of calls that the fuzzer makes, how each of them can end, and how often each has ended so.

use std::fmt;

/// How calls of a kind can end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ends {
    Well,
    Refused,
    Either,
}
use Ends::{Either, Refused, Well};

const KINDS: [(&str, Ends); 58] = [
    // Files.
    ("memfd_create", Well),
    ("KVM_CREATE_GUEST_MEMFD", Either),
    ("open", Either),
    ("ftruncate", Either),
    ("add seals", Either),
    ("get seals", Either),
    ("mmap of a file", Either),
    ("madvise of a file", Either),
    ("read", Either),
    ("punch a hole", Either),
    ("fallocate", Either),
    // The device.
    ("UDMABUF_CREATE", Either),
    ("UDMABUF_CREATE_LIST", Either),
    ("a wrong ioctl", Refused),
    // The descriptors of a buffer.
    ("DMA_BUF_IOCTL_SYNC", Either),
    ("DMA_BUF_SET_NAME_A", Either),
    ("DMA_BUF_SET_NAME_B", Either),
    ("DMA_BUF_IOCTL_EXPORT_SYNC_FILE", Either),
    ("DMA_BUF_IOCTL_IMPORT_SYNC_FILE", Either),
    ("an unknown ioctl", Refused),
    ("an ioctl of another size", Refused),
    ("poll of a buffer", Well),
    ("poll of a fence", Well),
    ("fdinfo", Well),
    ("readlink", Well),
    ("stat", Well),
    ("lseek", Either),
    ("F_GETFL", Well),
    ("F_SETFL", Either),
    ("F_GETFD", Well),
    ("F_SETFD", Well),
    ("add seals to a buffer", Refused),
    ("get seals of a buffer", Refused),
    ("read of a buffer", Refused),
    ("write of a buffer", Refused),
    ("pread of a buffer", Refused),
    ("pwrite of a buffer", Refused),
    ("ftruncate of a buffer", Refused),
    ("fallocate of a buffer", Refused),
    ("fsync of a buffer", Refused),
    ("dup", Well),
    ("close", Well),
    // The mappings of a buffer.
    ("mmap of a buffer", Either),
    ("munmap", Well),
    ("mremap to fewer pages", Well),
    ("mremap to another place", Well),
    ("mremap to the same pages", Well),
    ("mremap to more pages", Refused),
    ("mremap with wrong flags", Refused),
    ("mprotect", Either),
    ("madvise", Either),
    ("msync", Either),
    ("mlock", Well),
    ("munlock", Well),
    ("read into a mapping", Either),
    ("write from a mapping", Either),
    ("read of /proc/self/mem", Refused),
    ("fork", Well),
];

/// In so many system calls, each kind can be expected to have ended a dozen times in each way that it can.
const ENOUGH: u64 = 8000;

#[derive(Clone, Copy, Default)]
struct Ended {
    well: u64,
    refused: u64,
}

/// How often calls went well, and how often they failed as they should.
pub struct Done {
    /// What was chosen at random: a load or a store, or one system call or a few.
    pub choices: u64,
    /// Loads and stores in mappings of buffers.
    pub accesses: u64,
    /// Words compared with the model.
    pub words: u64,
    kinds: [Ended; KINDS.len()],
}

impl Default for Done {
    fn default() -> Self {
        Done {
            choices: 0,
            accesses: 0,
            words: 0,
            kinds: [Ended::default(); KINDS.len()],
        }
    }
}

impl Done {
    fn kind(&mut self, name: &str) -> &mut Ended {
        let at = KINDS.iter().position(|(kind, _)| *kind == name);
        let at = at.unwrap_or_else(|| panic!("{name} is not in the list of kinds"));
        &mut self.kinds[at]
    }

    pub fn went_well(&mut self, name: &str) {
        self.kind(name).well += 1;
    }

    pub fn was_refused(&mut self, name: &str) {
        self.kind(name).refused += 1;
    }

    pub fn add(&mut self, other: &Done) {
        self.choices += other.choices;
        self.accesses += other.accesses;
        self.words += other.words;
        for (sum, ended) in self.kinds.iter_mut().zip(&other.kinds) {
            sum.well += ended.well;
            sum.refused += ended.refused;
        }
    }

    fn well(&self) -> u64 {
        self.kinds.iter().map(|ended| ended.well).sum()
    }

    fn refused(&self) -> u64 {
        self.kinds.iter().map(|ended| ended.refused).sum()
    }

    pub fn figures(&self) -> String {
        let (well, refused) = (self.well(), self.refused());
        format!("calls={} wrong_calls={refused}", well + refused)
    }

    /// Whether every kind of call has ended in every way that it can, or there were too few calls for that. Says what
    /// is missing.
    pub fn is_complete(&self) -> bool {
        if self.well() + self.refused() < ENOUGH {
            return true;
        }
        let mut complete = true;
        for ((name, ends), ended) in KINDS.iter().zip(&self.kinds) {
            if *ends != Refused && ended.well == 0 {
                println!("# {name} never went well");
                complete = false;
            }
            if *ends != Well && ended.refused == 0 {
                println!("# {name} never was refused");
                complete = false;
            }
        }
        complete
    }
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (well, refused) = (self.well(), self.refused());
        write!(
            f,
            "{} choices, {} system calls: {well} went well, {refused} were refused; ",
            self.choices,
            well + refused
        )?;
        write!(
            f,
            "{} loads and stores, {} words compared",
            self.accesses, self.words
        )
    }
}
