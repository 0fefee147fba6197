// SPDX-License-Identifier: GPL-2.0
//! Takes blocks of memory offline, and brings them back.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::blocks::{BLOCKS, pages_each};
use crate::children::{Child, End};
use crate::frames;
use crate::sys::EHWPOISON;

/// A page of a slab has no reference and counts as movable, and is not: 7.3.4 then tries until a signal comes.
const PATIENCE: Duration = Duration::from_secs(3);

const SHOWN: usize = 20;

fn read(path: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.trim().to_owned()
}

/// A block of memory, by its number.
#[derive(Clone, Copy)]
struct Block(u64);

impl Block {
    fn file(self, name: &str) -> String {
        format!("{BLOCKS}/memory{}/{name}", self.0)
    }

    fn is(self, state: &str) -> bool {
        read(&self.file("state")) == state
    }

    /// Whether it is online, and all of it in one zone: what spans two cannot go.
    fn may_go(self) -> bool {
        self.is("online") && read(&self.file("valid_zones")) != "none"
    }

    /// Whether it came back. One that has a bad page stays away.
    fn bring_back(self) -> bool {
        match fs::write(self.file("state"), "online") {
            Ok(()) => true,
            Err(e) if e.raw_os_error() == Some(EHWPOISON) => false,
            Err(e) => panic!("a block that went offline does not come back: {e}"),
        }
    }
}

/// All that may go, from the middle on: where the kernel put something when it booted is at both ends.
fn blocks() -> VecDeque<Block> {
    let number = |entry: io::Result<fs::DirEntry>| -> Option<u64> {
        let name = entry.ok()?.file_name().into_string().ok()?;
        name.strip_prefix("memory")?.parse().ok()
    };
    let mut numbers: Vec<u64> = fs::read_dir(BLOCKS)
        .expect("CONFIG_MEMORY_HOTPLUG")
        .filter_map(number)
        .filter(|number| Block(*number).may_go())
        .collect();
    numbers.sort_unstable();
    let middle = numbers.get(numbers.len() / 2).copied().unwrap_or(0);
    numbers.sort_by_key(|number| number.abs_diff(middle));
    numbers.into_iter().map(Block).collect()
}

/// What came of it so far.
struct State {
    /// Those that are tried in turn. One that cannot go is left alone from then on.
    blocks: VecDeque<Block>,
    attempts: u64,
    /// A write of "offline" came back by itself.
    returned: u64,
    /// It had to be ended.
    stuck: u64,
    /// Why blocks stayed.
    why: Vec<String>,
}

pub struct Hotplug {
    pages_each: u64,
    state: Mutex<State>,
}

impl Hotplug {
    pub fn new() -> Self {
        Hotplug {
            pages_each: pages_each(),
            state: Mutex::new(State {
                blocks: blocks(),
                attempts: 0,
                returned: 0,
                stuck: 0,
                why: Vec::new(),
            }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the block went where this frame is, or the next one if there is no frame. It is back again then, unless it
    /// has a bad page.
    pub fn take_away(&self, frame: Option<u64>) -> bool {
        let block = match frame {
            Some(frame) => Some(Block(frame / self.pages_each)).filter(|block| block.may_go()),
            None => self.state().blocks.pop_front(),
        };
        let Some(block) = block else {
            return false;
        };
        let went = self.take_offline(block);
        if went && block.bring_back() && frame.is_none() {
            self.state().blocks.push_back(block);
        }
        went
    }

    fn take_offline(&self, block: Block) -> bool {
        let file = File::options().write(true).open(block.file("state"));
        let file = file.expect("the state of a block can be written");
        // SAFETY: It makes one system call. The error of one has no memory of its own.
        let child = unsafe {
            Child::start(|| match (&file).write(b"offline") {
                Ok(_) => 0,
                Err(e) => e.raw_os_error().unwrap_or(0xff),
            })
        };
        let mut child = child.expect("fork works");
        let end = child.wait_for(PATIENCE).expect("a child can be waited for");
        if end.is_none() {
            self.give_up(child);
        }
        // Also if the signal came too late.
        let went = block.is("offline");
        let mut state = self.state();
        state.attempts += 1;
        state.returned += u64::from(end.is_some());
        if !went {
            let number = block.0;
            state.why.push(match end {
                Some(End::Code(errno)) => format!("memory{number}: error {errno}"),
                Some(End::Signal(signal)) => format!("memory{number}: signal {signal}"),
                None => format!("memory{number}: it was tried without an end"),
            });
        }
        went
    }

    /// Ends a child that the kernel lets try for ever. The first one says what holds it up.
    fn give_up(&self, mut child: Child) {
        let mut state = self.state();
        state.stuck += 1;
        if state.stuck == 1 {
            frames::say_what_stays();
        }
        drop(state);
        child.kill();
        child.wait().expect("a child can be waited for");
    }

    /// Whether all of it can be explained, though no block went: some were tried without an end, and others refused.
    pub fn was_held_up(&self) -> bool {
        let state = self.state();
        state.stuck > 0 && state.returned > 0
    }

    pub fn say(&self) {
        let state = self.state();
        let (attempts, stuck) = (state.attempts, state.stuck);
        println!("# {attempts} attempts at blocks, {stuck} of them had to be ended");
        for why in state.why.iter().take(SHOWN) {
            println!("# {why}");
        }
    }
}
