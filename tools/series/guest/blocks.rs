// SPDX-License-Identifier: GPL-2.0
//! Blocks of memory, which go offline as a whole, as the kernel shows them.

// Each program has its own use for them.
#![allow(dead_code)]

use std::fs::{self, File};
use std::io::{self, Write};
use std::ops::Range;
use std::sync::OnceLock;
use std::time::Duration;

use crate::children::{Child, End};
use crate::frames;
use crate::sys::{EHWPOISON, EINTR, PAGE};

const BLOCKS: &str = "/sys/devices/system/memory";

/// A block of memory, by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block(u64);

/// How an attempt to take a block offline ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    Went,
    /// The kernel gave up by itself.
    Refused(i32),
    /// It was still trying when it was ended.
    Stuck,
}

/// How many pages each of them has.
fn pages_each() -> u64 {
    static PAGES: OnceLock<u64> = OnceLock::new();
    *PAGES.get_or_init(|| {
        let text = fs::read_to_string(format!("{BLOCKS}/block_size_bytes"));
        let text = text.expect("CONFIG_MEMORY_HOTPLUG");
        let bytes = u64::from_str_radix(text.trim(), 16).expect("a number");
        bytes / PAGE as u64
    })
}

impl Block {
    /// All that there are, in the order of their addresses.
    pub fn all() -> Vec<Self> {
        let number = |entry: io::Result<fs::DirEntry>| -> Option<u64> {
            let name = entry.ok()?.file_name().into_string().ok()?;
            name.strip_prefix("memory")?.parse().ok()
        };
        let entries = fs::read_dir(BLOCKS).expect("CONFIG_MEMORY_HOTPLUG");
        let mut numbers: Vec<u64> = entries.filter_map(number).collect();
        numbers.sort_unstable();
        numbers.into_iter().map(Block).collect()
    }

    /// The one that this page frame is in.
    pub fn of(frame: u64) -> Self {
        Block(frame / pages_each())
    }

    pub fn number(self) -> u64 {
        self.0
    }

    pub fn frames(self) -> Range<u64> {
        let start = self.0 * pages_each();
        start..start + pages_each()
    }

    fn file(self, name: &str) -> String {
        format!("{BLOCKS}/memory{}/{name}", self.0)
    }

    fn read(self, name: &str) -> String {
        let text = fs::read_to_string(self.file(name)).unwrap_or_default();
        text.trim().to_owned()
    }

    /// "online", "offline" or "going-offline".
    pub fn is(self, state: &str) -> bool {
        self.read("state") == state
    }

    /// The zone that all of it is in, or "none".
    pub fn zone(self) -> String {
        self.read("valid_zones")
    }

    /// Tries until the kernel is done with it, or for so long: it tries for ever to move a page that somebody has pinned.
    /// What is in the way is said then, if `tells`.
    pub fn take_offline(self, patience: Duration, tells: bool) -> Attempt {
        let file = File::options().write(true).open(self.file("state"));
        let file = file.expect("the state of a block can be written");
        // SAFETY: It makes one system call. The error of one has no memory of its own.
        let child = unsafe {
            Child::start(|| match (&file).write(b"offline") {
                Ok(_) => 0,
                Err(e) => e.raw_os_error().unwrap_or(0xff),
            })
        };
        let mut child = child.expect("fork works");
        let end = child.wait_for(patience).expect("a child can be waited for");
        if end.is_none() {
            if tells {
                frames::say_what_stays();
            }
            child.kill();
            child.wait().expect("a child can be waited for");
        }
        match end {
            // Also if the signal came too late.
            _ if self.is("offline") => Attempt::Went,
            Some(End::Code(errno)) => Attempt::Refused(errno),
            Some(End::Signal(_)) => Attempt::Refused(EINTR),
            None => Attempt::Stuck,
        }
    }

    /// Whether it came back, into the zone that the kernel or "online_movable" chooses. One that has a bad page stays away.
    pub fn bring_back(self, how: &str) -> bool {
        match fs::write(self.file("state"), how) {
            Ok(()) => true,
            Err(e) if e.raw_os_error() == Some(EHWPOISON) => false,
            Err(e) => panic!("a block that went offline does not come back: {e}"),
        }
    }
}
