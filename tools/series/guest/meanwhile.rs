// SPDX-License-Identifier: GPL-2.0
//! Files are filled where memory may have to go, and buffers made of them, while that memory goes and comes back.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use crate::buffers::{self, PAGES, Way};
use crate::sys::*;

/// How many files are filled at least.
const ROUNDS: u64 = 100;

/// How often memory should have gone, and how long that is waited for.
const ENOUGH: u64 = 5;
const PATIENCE: Duration = Duration::from_secs(60);

/// How long a file waits for the memory that it is in to be about to go.
const MOMENT: Duration = Duration::from_millis(50);

/// What is wrong with a round.
type Wrong = String;

#[derive(Default)]
struct Seen {
    buffers: u64,
    /// A page was held by who takes the memory away for as long as a pin waits for one.
    refused: u64,
    /// Pages that were where they can be moved, and were pinned.
    left: u64,
}

impl Seen {
    /// One file with a buffer of all of it, for this round.
    fn look_at_one(
        &mut self,
        dev: &Fd,
        movable: &Range<u64>,
        meeting: &Meeting,
        round: u64,
    ) -> std::result::Result<(), Wrong> {
        let tag = |page: usize| round << 32 | page as u64 | 1 << 63;
        let file = Fd::memfd(false).expect("memfd_create works");
        file.truncate(PAGES).expect("ftruncate works");
        file.add_seals(F_SEAL_SHRINK).expect("seals can be added");
        let map = |fd: &Fd| fd.map(0, PAGES, PROT_READ | PROT_WRITE, MAP_SHARED);
        let of_file = map(&file).expect("a memfd can be mapped");
        for page in 0..PAGES {
            of_file.write(page, 0, tag(page));
        }
        let can_move = || -> Vec<u64> {
            let frames = of_file.frames().into_iter().flatten();
            frames.filter(|frame| movable.contains(frame)).collect()
        };
        let before = can_move();
        meeting.wait(before.first().copied(), round);
        let way = Way::of_round(round);
        let buffer = match way.create(dev, &file, 0, PAGES) {
            Ok(buffer) => buffer,
            Err(EBUSY) => {
                self.refused += 1;
                return Ok(());
            }
            Err(errno) => return Err(format!("{}: error {errno}", way.name())),
        };
        let buffer = map(&buffer).expect("a buffer can be mapped");
        for page in 0..PAGES {
            let of_file = way.page(page, PAGES);
            if buffer.read(page, 0) != tag(of_file) {
                return Err(format!(
                    "page {page} of buffer {round} holds something else"
                ));
            }
            buffer.write(page, 511, !tag(of_file));
        }
        // Words that were written to a page that had gone would not be the file's.
        let mut words = (0..PAGES).map(|page| of_file.read(page, 511) == !tag(page));
        if !words.all(|right| right) {
            return Err(format!("the buffer of file {round} is not its memory"));
        }
        let stayed = can_move().len();
        if stayed > 0 {
            return Err(format!("{stayed} pages of file {round} can still be moved"));
        }
        self.buffers += 1;
        self.left += before.len() as u64;
        Ok(())
    }
}

/// What both sides know.
#[derive(Default)]
struct Meeting {
    /// A page of the file that there is now, or 0.
    frame: AtomicU64,
    /// Memory is about to go.
    is_striking: AtomicBool,
    over: AtomicBool,
    hits: AtomicU64,
}

impl Meeting {
    /// Shows where a file is, and waits a little, longer in one round than in another.
    fn wait(&self, frame: Option<u64>, round: u64) {
        self.frame.store(frame.unwrap_or(0), Relaxed);
        let start = Instant::now();
        while !self.is_striking.load(Relaxed) && start.elapsed() < MOMENT {
            thread::yield_now();
        }
        thread::sleep(Duration::from_micros(round % 16 * 200));
    }
}

/// It is over also when a round panics.
struct Over<'a>(&'a Meeting);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.over.store(true, Relaxed);
    }
}

/// `strike` takes memory away and gives it back, that of this frame if there is one. It says whether the memory of a file
/// has gone, as far as can be known.
pub fn race(
    movable: &Range<u64>,
    strike: impl Fn(Option<u64>) -> bool + Sync,
) -> std::result::Result<String, Wrong> {
    let dev = buffers::device();
    let meeting = Meeting::default();
    let mut seen = Seen::default();
    thread::scope(|scope| {
        let _over = Over(&meeting);
        scope.spawn(|| {
            while !meeting.over.load(Relaxed) {
                let frame = Some(meeting.frame.load(Relaxed)).filter(|frame| *frame > 0);
                meeting.is_striking.store(true, Relaxed);
                let hit = strike(frame);
                meeting.is_striking.store(false, Relaxed);
                meeting.hits.fetch_add(hit.into(), Relaxed);
            }
        });
        let start = Instant::now();
        let mut rounds = (0..).take_while(|round| {
            let enough = meeting.hits.load(Relaxed) >= ENOUGH;
            *round < ROUNDS || !enough && start.elapsed() < PATIENCE
        });
        rounds.try_for_each(|round| seen.look_at_one(&dev, movable, &meeting, round))
    })?;
    let hits = meeting.hits.into_inner();
    let said = format!(
        "{} buffers, {} refused, {} pages left, memory went {hits} times",
        seen.buffers, seen.refused, seen.left
    );
    if seen.buffers == 0 || seen.left == 0 || hits == 0 {
        return Err(format!("too little happened: {said}"));
    }
    Ok(said)
}
