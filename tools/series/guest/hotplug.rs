// SPDX-License-Identifier: GPL-2.0
//! Takes blocks of memory offline, and brings them back, one after the other.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::blocks::{Attempt, Block};

/// A page of a slab has no reference and counts as movable, and is not: 7.3.4 then tries until a signal comes.
const PATIENCE: Duration = Duration::from_secs(3);

const SHOWN: usize = 20;

/// What came of it so far.
struct State {
    /// Those that are tried in turn. One that cannot go is left alone from then on.
    blocks: VecDeque<Block>,
    /// How often the block went that a frame of the file was in, and how often another one.
    own: u64,
    others: u64,
    refused: u64,
    stuck: u64,
    /// Why blocks stayed.
    why: Vec<String>,
}

pub struct Hotplug {
    state: Mutex<State>,
}

/// Whether it is online, and all of it in one zone: what spans two cannot go.
fn may_go(block: &Block) -> bool {
    block.is("online") && block.zone() != "none"
}

/// All that may go, from the middle on: where the kernel put something when it booted is at both ends.
fn blocks() -> VecDeque<Block> {
    let mut blocks: Vec<Block> = Block::all().into_iter().filter(may_go).collect();
    let middle = blocks
        .get(blocks.len() / 2)
        .map_or(0, |block| block.number());
    blocks.sort_by_key(|block| block.number().abs_diff(middle));
    blocks.into()
}

impl Hotplug {
    pub fn new() -> Self {
        Hotplug {
            state: Mutex::new(State {
                blocks: blocks(),
                own: 0,
                others: 0,
                refused: 0,
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
            Some(frame) => Some(Block::of(frame)).filter(may_go),
            None => self.state().blocks.pop_front(),
        };
        let Some(block) = block else {
            return false;
        };
        // The first one says what holds it up.
        let first = self.state().stuck == 0;
        let attempt = block.take_offline(PATIENCE, first);
        let mut state = self.state();
        let number = block.number();
        match attempt {
            Attempt::Went if frame.is_some() => state.own += 1,
            Attempt::Went => state.others += 1,
            Attempt::Refused(errno) => {
                state.refused += 1;
                state.why.push(format!("memory{number}: error {errno}"));
            }
            Attempt::Stuck => {
                state.stuck += 1;
                let why = "it was tried without an end";
                state.why.push(format!("memory{number}: {why}"));
            }
        }
        // The creator looks at it, and is not to wait for the block.
        drop(state);
        let went = attempt == Attempt::Went;
        if went && block.bring_back("online") && frame.is_none() {
            self.state().blocks.push_back(block);
        }
        went
    }

    /// Whether all of it can be explained, though no block went: some were tried without an end, and others refused.
    pub fn was_held_up(&self) -> bool {
        let state = self.state();
        state.stuck > 0 && state.refused > 0
    }

    pub fn say(&self) {
        let state = self.state();
        println!(
            "# blocks went {} times with pages of the file, {} times without; {} refused, {} had to be ended",
            state.own, state.others, state.refused, state.stuck
        );
        for why in state.why.iter().take(SHOWN) {
            println!("# {why}");
        }
    }
}
