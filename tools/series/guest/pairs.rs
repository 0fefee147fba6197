// SPDX-License-Identifier: GPL-2.0
//! Races of calls of which one decides what comes of the other. A round ends in one of a few ways, and all of them must
//! be seen.

use std::hint;
use std::mem::ManuallyDrop;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use crate::ROUNDS;
use crate::buffers::{self, PAGES, Way, device, numbered_file, tag};
use crate::children::{self, Child, End};
use crate::sys::*;
use crate::video::{self, Importer};

pub type Race = fn(u64) -> bool;

/// Each takes the number of rounds.
pub static RACES: [(&str, Race); 6] = [
    ("close_and_map", close_and_map),
    ("close_and_fault", close_and_fault),
    ("close_and_attach", close_and_attach),
    ("truncate", truncate),
    ("add_seals", seals),
    ("kill", kill),
];

const EBADF: i32 = 9;

/// How long a child may take until it has a buffer, and a side of a round until it is done.
const PATIENCE: Duration = Duration::from_secs(20);

/// What is wrong with a round.
type Wrong = String;

/// One of two threads.
#[derive(Clone, Copy)]
enum Side {
    This,
    Other,
}

/// Which of them are done with a round.
#[derive(Default)]
struct Sides {
    this: AtomicBool,
    other: AtomicBool,
}

impl Sides {
    /// Does the work of one side. In some rounds it is plain who comes first, so that each ending is seen; in the others
    /// they start at nearly the same time.
    fn work<T>(&self, n: u64, side: Side, work: impl FnOnce() -> T) -> T {
        let (mine, theirs) = match side {
            Side::This => (&self.this, &self.other),
            Side::Other => (&self.other, &self.this),
        };
        match (n % 4, side) {
            (0, Side::This) | (1, Side::Other) => wait_for(theirs),
            (2, Side::This) | (3, Side::Other) => (0..n * 37 % 512).for_each(|_| hint::spin_loop()),
            _ => {}
        }
        let done = work();
        mine.store(true, Relaxed);
        done
    }
}

/// One that has panicked is not waited for for ever.
fn wait_for(done: &AtomicBool) {
    let start = Instant::now();
    while !done.load(Relaxed) && start.elapsed() < PATIENCE {
        thread::sleep(Duration::from_micros(100));
    }
}

/// Whether all of these happened, and says of each how often.
fn all_happened(name: &str, counts: &[(&str, u64)]) -> bool {
    for (what, count) in counts {
        println!("# {name}: {count} {what}");
    }
    counts.iter().all(|(_, count)| *count > 0)
}

/// Whether nothing was wrong with any of these rounds; says what was.
fn all_right(
    mut rounds: impl Iterator<Item = u64>,
    mut round: impl FnMut(u64) -> std::result::Result<(), Wrong>,
) -> bool {
    let ended = rounds.try_for_each(|n| {
        ROUNDS.fetch_add(1, Relaxed);
        round(n)
    });
    if let Err(what) = &ended {
        println!("# {what}");
    }
    ended.is_ok()
}

/// The last descriptor of a buffer is closed while something else is done with it, which `prepare` returns. That comes in
/// time, and a mapping that it made is good; or the descriptor was closed first, and it fails with this error.
fn close_and<W>(name: &str, rounds: u64, error: i32, prepare: impl Fn(&Fd, Way) -> W) -> bool
where
    W: FnOnce(&Fd) -> Result<Option<Map>>,
{
    let (dev, file) = (device(), numbered_file());
    file.add_seals(F_SEAL_SHRINK).expect("seals can be added");
    let (mut in_time, mut too_late) = (0, 0);
    let well = all_right(0..rounds, |n| {
        let way = Way::of_round(n / 4);
        let buffer = way.create(&dev, &file, 0, PAGES).expect("a buffer");
        // It is closed below.
        let buffer = ManuallyDrop::new(buffer);
        let work = prepare(&buffer, way);
        let (start, sides) = (Barrier::new(2), Sides::default());
        // Nothing else is opened meanwhile: the number means this buffer or nothing.
        let (done, is_closed) = thread::scope(|scope| {
            let closing = scope.spawn(|| {
                start.wait();
                sides.work(n, Side::Other, || buffers::close_in_use(&buffer))
            });
            start.wait();
            let done = sides.work(n, Side::This, || work(&buffer));
            let is_closed = buffer.size() == Err(EBADF);
            let ended = closing.join().expect("it does not panic");
            ended.expect("a descriptor can be closed");
            (done, is_closed)
        });
        let is_right = |map: &Map| buffers::is_right(map, way);
        match done {
            Ok(map) if map.as_ref().is_none_or(is_right) => in_time += 1,
            Err(errno) if errno == error && is_closed => too_late += 1,
            other => return Err(format!("a buffer that is closed: {other:?}")),
        }
        Ok(())
    });
    well && all_happened(name, &[("in time", in_time), ("closed first", too_late)])
}

fn map_all(buffer: &Fd) -> Result<Map> {
    buffer.map(0, PAGES, PROT_READ, MAP_SHARED)
}

fn close_and_map(rounds: u64) -> bool {
    close_and("close_and_map", rounds, EBADF, |_, _| {
        |buffer: &Fd| map_all(buffer).map(Some)
    })
}

/// A page of a mapping is met for the first time, and the mapping removed. It has the last reference to the buffer if that
/// is closed by then.
fn close_and_fault(rounds: u64) -> bool {
    close_and("close_and_fault", rounds, EBADF, |buffer, way| {
        let map = map_all(buffer).expect("a buffer can be mapped");
        move |buffer: &Fd| {
            assert_eq!(map.read(0, 0), tag(way.page(0, PAGES)), "the first page");
            let open = buffer.size();
            drop(map);
            open.map(|_| None)
        }
    })
}

/// A driver attaches to the buffer, maps it for its device, and gives it back. It says the same of a number that nothing is
/// open with as of one that is no buffer.
fn close_and_attach(rounds: u64) -> bool {
    close_and("close_and_attach", rounds, EINVAL, |_, _| {
        let importer = Importer::new(&video::VIVID).expect("a driver can import");
        move |buffer: &Fd| importer.import(buffer).map(|()| None)
    })
}

/// How a file ended that was cut and sealed against that at the same time.
#[derive(Default)]
struct Cuts {
    /// Those that went well, and those that came too late.
    cut: u64,
    whole: u64,
    /// Buffers that there could not be yet.
    refused: u64,
}

impl Cuts {
    /// A file becomes smaller and larger again, and is sealed, while a buffer is made of it until there is one.
    fn round(&mut self, dev: &Fd, n: u64) -> std::result::Result<(), Wrong> {
        let file = numbered_file();
        let way = Way::of_round(n / 4);
        let kept = 1 + n as usize * 7 % (PAGES - 1);
        let sides = Sides::default();
        let (cut, buffer) = thread::scope(|scope| {
            let cutting = scope.spawn(|| {
                let cut = sides.work(n, Side::Other, || file.truncate(kept));
                file.truncate(PAGES).expect("a file can grow");
                cut
            });
            let sealing =
                scope.spawn(|| sides.work(n, Side::This, || file.add_seals(F_SEAL_SHRINK)));
            let buffer = loop {
                let over = cutting.is_finished() && sealing.is_finished();
                match way.create(dev, &file, 0, PAGES) {
                    Err(EINVAL) if !over => self.refused += 1,
                    other => break other,
                }
            };
            let seal = sealing.join().expect("it does not panic");
            seal.expect("seals can be added");
            (cutting.join().expect("it does not panic"), buffer)
        });
        let kept = match cut {
            Ok(()) => kept,
            Err(EPERM) => PAGES,
            Err(errno) => return Err(format!("ftruncate: error {errno}")),
        };
        let buffer = buffer.map_err(|errno| format!("{}: error {errno}", way.name()))?;
        look_at_cut(&file, &buffer, way, kept)?;
        self.cut += u64::from(cut.is_ok());
        self.whole += u64::from(cut.is_err());
        Ok(())
    }
}

/// A buffer is right that has the pages of the file: numbers up to where that was cut, then zeroes.
fn look_at_cut(file: &Fd, buffer: &Fd, way: Way, kept: usize) -> std::result::Result<(), Wrong> {
    let map = |fd: &Fd| fd.map(0, PAGES, PROT_READ | PROT_WRITE, MAP_SHARED);
    let map_of_file = map(file).expect("a memfd can be mapped");
    let map = map(buffer).expect("a buffer can be mapped");
    for page in 0..PAGES {
        let of_file = way.page(page, PAGES);
        let wanted = if of_file < kept { tag(of_file) } else { 0 };
        let found = map.read(page, 0);
        if found != wanted {
            return Err(format!("page {page} holds {found:#x}, {kept} were kept"));
        }
        map.write(page, 1, !tag(page));
        if map_of_file.read(of_file, 1) != !tag(page) {
            return Err(format!("page {page} is not the file's"));
        }
    }
    Ok(())
}

/// A file is cut while it is sealed against that and a buffer is made.
fn truncate(rounds: u64) -> bool {
    let dev = device();
    let mut cuts = Cuts::default();
    let well = all_right(0..rounds, |n| cuts.round(&dev, n));
    let counts = [
        ("cut files", cuts.cut),
        ("that were sealed first", cuts.whole),
        ("buffers refused", cuts.refused),
    ];
    well && all_happened("truncate", &counts)
}

/// A buffer is made while the file is sealed against it: one of the two goes well. Whether it was the buffer.
fn seal(dev: &Fd, n: u64) -> std::result::Result<bool, Wrong> {
    let file = numbered_file();
    file.add_seals(F_SEAL_SHRINK).expect("seals can be added");
    let way = Way::of_round(n / 4);
    let sides = Sides::default();
    let (seal, buffer) = thread::scope(|scope| {
        let sealing = scope.spawn(|| sides.work(n, Side::Other, || file.add_seals(F_SEAL_WRITE)));
        let buffer = sides.work(n, Side::This, || way.create(dev, &file, 0, PAGES));
        (sealing.join().expect("it does not panic"), buffer)
    });
    match (&buffer, &seal) {
        (Ok(_), Err(EBUSY)) => Ok(true),
        (Err(EINVAL), Ok(())) => Ok(false),
        _ => Err(format!("a buffer: {buffer:?}, a seal: {seal:?}")),
    }
}

/// So many files at once: a seal that comes too late waits for 150 ms.
const SEALERS: u64 = 16;

/// Files are sealed against writing while buffers are made of them.
fn seals(rounds: u64) -> bool {
    let dev = device();
    let (buffers, sealed) = (AtomicU64::new(0), AtomicU64::new(0));
    let work = |first: u64| {
        let rounds = (first..rounds).step_by(SEALERS as usize);
        all_right(rounds, |n| {
            let is_buffer = seal(&dev, n / SEALERS)?;
            let count = if is_buffer { &buffers } else { &sealed };
            count.fetch_add(1, Relaxed);
            Ok(())
        })
    };
    let well = thread::scope(|scope| {
        let work = &work;
        let spawn = |first| scope.spawn(move || work(first));
        let others: Vec<_> = (0..SEALERS).map(spawn).collect();
        let ended = others.into_iter().map(|other| other.join());
        ended.fold(true, |well, other| well & other.expect("it does not panic"))
    });
    let counts = [
        ("buffers", buffers.into_inner()),
        ("sealed files", sealed.into_inner()),
    ];
    well && all_happened("seals", &counts)
}

/// For a child: makes buffers of holes for ever, and says in words of shared memory how many it has begun and made.
fn make_buffers(dev: &Fd, said: &Map, way: Way) -> Result<()> {
    const HOLES: usize = 4 * PAGES;
    let file = Fd::memfd(false)?;
    file.truncate(HOLES)?;
    file.add_seals(F_SEAL_SHRINK)?;
    for n in 1.. {
        said.write(0, BEGUN, n);
        let buffer = way.create(dev, &file, 0, HOLES)?;
        let map = buffer.map(0, PAGES, PROT_READ, MAP_SHARED)?;
        map.read(PAGES - 1, 0);
        said.write(0, MADE, n);
        file.punch(0, HOLES)?;
    }
    Ok(())
}

/// The words of shared memory.
const BEGUN: usize = 0;
const MADE: usize = 1;

/// A child that creates and maps buffers is killed at some moment, after it has begun with the first one, or has one.
/// How many it had, and whether it was about to get another one.
fn kill_one(dev: &Fd, said: &Map, n: u64) -> std::result::Result<(u64, bool), Wrong> {
    said.write(0, BEGUN, 0);
    said.write(0, MADE, 0);
    // SAFETY: What it calls allocates nothing and does not panic.
    let child =
        unsafe { Child::start(|| children::code(make_buffers(dev, said, Way::of_round(n / 2)))) };
    let mut child = child.expect("fork works");
    let word = if n % 2 == 0 { BEGUN } else { MADE };
    let start = Instant::now();
    while said.read(0, word) == 0 {
        let end = child.ended().expect("a child can be waited for");
        if end.is_some() || start.elapsed() > PATIENCE {
            return Err(format!("a child made no buffer: {end:?}"));
        }
        thread::sleep(Duration::from_micros(50));
    }
    thread::sleep(Duration::from_micros(n % 23 * 100));
    child.kill();
    match child.wait() {
        Ok(End::Signal(children::SIGKILL)) => {
            let (begun, made) = (said.read(0, BEGUN), said.read(0, MADE));
            Ok((made, begun != made))
        }
        other => Err(format!("a child ended by itself: {other:?}")),
    }
}

fn kill(rounds: u64) -> bool {
    let memory = Fd::memfd(false).expect("memfd_create works");
    memory.truncate(1).expect("ftruncate works");
    let said = memory.map(0, 1, PROT_READ | PROT_WRITE, MAP_SHARED);
    let said = said.expect("a memfd can be mapped");
    let dev = device();
    let (mut made, mut killed) = (0, 0);
    let well = all_right(0..rounds, |n| {
        let (buffers, in_the_middle) = kill_one(&dev, &said, n)?;
        made += buffers;
        killed += u64::from(in_the_middle);
        Ok(())
    });
    println!("# figures: killed={killed}");
    let counts = [("buffers", made), ("killed while they made one", killed)];
    well && all_happened("kill", &counts)
}
