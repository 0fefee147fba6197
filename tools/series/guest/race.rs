// SPDX-License-Identifier: GPL-2.0
//! Races on /dev/udmabuf: one thread creates buffers of a file, looks through them and closes them, round after round,
//! while another does something to the file, to the buffers or to the memory.
//!
//! usage: race ROUNDS
//!
//! Each adversary is a test case. Nothing may be left behind, and a buffer shows what the file held, or zeroes where the
//! adversary removes pages. That the kernel does not complain is for its console.

mod counts;
mod frames;
mod sys;
mod video;

use std::fs;
use std::panic;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use sys::*;
use video::Importer;

const PAGES: usize = 64;

/// How long a race goes on for the sake of a slow adversary. What it waits for is over then, or else something was left.
const PATIENCE: Duration = Duration::from_secs(20);

/// What the two threads share.
struct Arena {
    dev: Fd,
    file: Fd,
    /// The buffer of the round.
    buffer: Mutex<Option<Fd>>,
    over: AtomicBool,
    /// How often the adversary did its work.
    strokes: AtomicU64,
}

struct Adversary {
    name: &'static str,
    /// A page may turn to zeroes, and creating may fail with this.
    removes: bool,
    may_fail: &'static [i32],
    /// The file is as large as a huge page, and this event of the kernel must happen: only between two buffers it can.
    huge: Option<&'static str>,
    stroke: fn(&Arena, u64),
}

const ADVERSARIES: [Adversary; 17] = [
    plain("fork", |_, _| {
        in_child(|| true).expect("fork works");
    }),
    removing("punch_hole", &[], |arena, n| {
        let _ = arena
            .file
            .punch(n as usize % PAGES, 3.min(PAGES - n as usize % PAGES));
    }),
    plain("grow", |arena, n| {
        let _ = arena.file.truncate(PAGES + n as usize % 4096);
    }),
    removing("fallocate", &[], |arena, n| {
        let page = n as usize % PAGES;
        let _ = arena.file.punch(page, 1);
        let _ = arena.file.allocate(page, 1);
    }),
    plain("swap_out", |arena, _| arena.advise(MADV_PAGEOUT)),
    plain("reclaim", |_, _| {
        let _ = fs::write("/sys/fs/cgroup/memory.reclaim", "4M");
    }),
    plain("compaction", |_, _| {
        fs::write("/proc/sys/vm/compact_memory", "1").expect("CONFIG_COMPACTION");
    }),
    plain("drop_caches", |_, _| {
        fs::write("/proc/sys/vm/drop_caches", "3").expect("drop_caches is there");
    }),
    Adversary {
        huge: Some("thp_collapse_alloc "),
        ..plain("collapse", |arena, n| {
            arena.advise(MADV_COLLAPSE);
            // Part of a huge page cannot go without the rest, so that it is split.
            let _ = arena.file.punch(PAGES + n as usize % PAGES, 1);
        })
    },
    Adversary {
        huge: Some("thp_split_page "),
        ..plain("split", |arena, _| {
            let map = arena.file_map().expect("a memfd can be mapped");
            let _ = map.advise(0, map.len(), MADV_COLLAPSE);
            let (start, end) = map.addresses();
            let pages = format!("{},{start:#x},{end:#x}", std::process::id());
            fs::write("/sys/kernel/debug/split_huge_pages", pages).expect("debugfs has it");
        })
    },
    plain("soft_offline", |arena, n| {
        // Each page that it takes is lost to the system.
        if n < 32 {
            arena.advise_page(n as usize % PAGES, MADV_SOFT_OFFLINE);
        }
    }),
    removing("memory_failure", &[EHWPOISON], |arena, n| {
        // As above, if a buffer keeps the page. The child is killed for what it does.
        if n < 32 {
            let page = n as usize % PAGES;
            let _ = in_child(|| {
                arena.advise_page(page, MADV_HWPOISON);
                true
            });
            arena.file.punch(page, 1).expect("a bad page can go");
        }
    }),
    failing("module_parameters", &[EINVAL], |_, n| {
        let megabytes = if n % 2 == 0 { "0" } else { "2147483647" };
        fs::write("/sys/module/udmabuf/parameters/size_limit_mb", megabytes)
            .expect("the parameter can be written");
    }),
    // It can hold a page for as long as a pin waits for one: that says so, and nothing is lost.
    failing("memory_offline", &[EBUSY], |_, n| {
        let block = format!("/sys/devices/system/memory/memory{}/state", 8 + n % 8);
        // A page of a slab has no reference and counts as movable, and is not: 7.3.4 then tries until a signal comes.
        in_child_for(3, || {
            let _ = fs::write(&block, "offline");
        })
        .expect("fork works");
        let _ = fs::write(&block, "online");
    }),
    plain("sync", |arena, n| {
        arena.with_buffer(|buffer| {
            let mut flags = (n % 3 + 1) | (n & 4);
            let _ = buffer.ioctl(DMA_BUF_IOCTL_SYNC, &mut flags);
        });
    }),
    plain("map_and_close", |arena, n| {
        // The last reference to the buffer may be the one of this mapping.
        let map = arena
            .take_buffer()
            .map(|buffer| buffer.map(0, PAGES, PROT_READ, MAP_SHARED));
        if let Some(Ok(map)) = map {
            map.read(n as usize % PAGES, 0);
        }
    }),
    plain("import_and_close", |arena, _| {
        // The last reference to the buffer may be the importer's.
        if let Some(buffer) = arena.take_buffer() {
            let importer = Importer::of(&buffer).expect("vim2m imports a buffer");
            drop(buffer);
            drop(importer);
        }
    }),
];

const fn plain(name: &'static str, stroke: fn(&Arena, u64)) -> Adversary {
    Adversary {
        name,
        removes: false,
        may_fail: &[],
        huge: None,
        stroke,
    }
}

const fn failing(
    name: &'static str,
    may_fail: &'static [i32],
    stroke: fn(&Arena, u64),
) -> Adversary {
    Adversary {
        may_fail,
        ..plain(name, stroke)
    }
}

const fn removing(
    name: &'static str,
    may_fail: &'static [i32],
    stroke: fn(&Arena, u64),
) -> Adversary {
    Adversary {
        removes: true,
        ..failing(name, may_fail, stroke)
    }
}

fn tag(page: usize) -> u64 {
    0x5ec2_e700 + page as u64
}

impl Arena {
    fn new(adversary: &Adversary) -> Self {
        let pages = match adversary.huge {
            Some(_) => HUGE_PAGES,
            None => PAGES,
        };
        let file = Fd::memfd(false).expect("memfd_create works");
        file.truncate(pages).expect("ftruncate works");
        file.add_seals(F_SEAL_SHRINK).expect("seals can be added");
        let arena = Arena {
            dev: Fd::open("/dev/udmabuf").expect("/dev/udmabuf can be opened"),
            file,
            buffer: Mutex::new(None),
            over: AtomicBool::new(false),
            strokes: AtomicU64::new(0),
        };
        let map = arena.file_map().expect("a memfd can be mapped");
        for page in 0..PAGES {
            map.write(page, 0, tag(page));
        }
        drop(map);
        arena
    }

    fn file_map(&self) -> Result<Map> {
        let pages = self.file.size()? / PAGE;
        self.file.map_aligned(pages, PROT_READ | PROT_WRITE)
    }

    fn advise(&self, advice: i32) {
        let map = self.file_map().expect("a memfd can be mapped");
        let _ = map.advise(0, map.len(), advice);
    }

    fn advise_page(&self, page: usize, advice: i32) {
        let map = self.file_map().expect("a memfd can be mapped");
        let _ = map.advise(page, 1, advice);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Fd>> {
        self.buffer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with_buffer(&self, f: impl FnOnce(&Fd)) {
        // Not while the lock is held: the creator is to be met in the kernel.
        let copy = self.lock().as_ref().and_then(|fd| fd.duplicate().ok());
        if let Some(copy) = copy {
            f(&copy);
        }
    }

    fn take_buffer(&self) -> Option<Fd> {
        self.lock().take()
    }
}

/// One round of the creator. Whether there was a buffer.
fn round(arena: &Arena, adversary: &Adversary) -> bool {
    let buffer = match arena.dev.create(&arena.file, PAGES) {
        Ok(buffer) => buffer,
        Err(errno) if adversary.may_fail.contains(&errno) => return false,
        Err(errno) => panic!("UDMABUF_CREATE: error {errno}"),
    };
    let map = buffer.map(0, PAGES, PROT_READ | PROT_WRITE, MAP_SHARED);
    let map = map.expect("a buffer can be mapped");
    *arena.lock() = Some(buffer);
    for page in 0..PAGES {
        let found = map.read(page, 0);
        let right = found == tag(page) || adversary.removes && found == 0;
        assert!(right, "page {page} holds {found:#x}");
        if adversary.removes {
            // So that it does not end with a file of zeroes.
            map.write(page, 0, tag(page));
        }
        assert_eq!(map.read(page, 511), 0, "the end of page {page}");
    }
    drop(arena.take_buffer());
    drop(map);
    if adversary.huge.is_some() {
        thread::sleep(Duration::from_micros(200));
    }
    true
}

/// Waits until a thread has ended. If it does not, says where in the kernel it is, or what it may wait for, and ends it all.
fn wait_for(thread: &thread::ScopedJoinHandle<'_, ()>, name: &str) {
    let start = Instant::now();
    while !thread.is_finished() {
        if start.elapsed() > 3 * PATIENCE {
            println!("# {name}: does not end");
            for task in fs::read_dir("/proc/self/task").expect("proc is mounted") {
                let stack = task.and_then(|task| fs::read_to_string(task.path().join("stack")));
                for line in stack.iter().flat_map(|text| text.lines()) {
                    println!("# {line}");
                }
            }
            frames::say_what_stays();
            std::process::exit(1);
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// Whether the creator met the adversary, and nothing was wrong.
fn run(adversary: &Adversary, rounds: u64) -> bool {
    let arena = Arena::new(adversary);
    let events = || adversary.huge.map(counts::events);
    let before = events();
    let mut created = 0;
    let well = thread::scope(|scope| {
        let other = scope.spawn(|| {
            while !arena.over.load(Relaxed) {
                (adversary.stroke)(&arena, arena.strokes.fetch_add(1, Relaxed));
            }
        });
        let ended = panic::catch_unwind(panic::AssertUnwindSafe(|| {
            for _ in 0..rounds {
                created += u64::from(round(&arena, adversary));
            }
            // A slow adversary meets more of them, but may also wait for pages that are pinned all the time.
            let start = Instant::now();
            while arena.strokes.load(Relaxed) < rounds.min(20) && start.elapsed() < PATIENCE {
                created += u64::from(round(&arena, adversary));
            }
        }));
        arena.over.store(true, Relaxed);
        wait_for(&other, adversary.name);
        ended.is_ok()
    });
    let strokes = arena.strokes.load(Relaxed);
    println!("# {}: {created} buffers, {strokes} strokes", adversary.name);
    let met = before.zip(events()).is_none_or(|(before, after)| {
        println!("# {} huge pages", after - before);
        after > before
    });
    well && created > 0 && met
}

/// A buffer is made while the file is sealed against it: one of the two may go well.
fn seals(rounds: u64) -> bool {
    let dev = Fd::open("/dev/udmabuf").expect("/dev/udmabuf can be opened");
    let (mut buffers, mut sealed) = (0, 0);
    for n in 0..rounds / 5 {
        let file = Fd::memfd(false).expect("memfd_create works");
        file.truncate(PAGES).expect("ftruncate works");
        file.add_seals(F_SEAL_SHRINK).expect("seals can be added");
        let (seal, buffer) = thread::scope(|scope| {
            let sealing = scope.spawn(|| file.add_seals(F_SEAL_WRITE));
            thread::sleep(Duration::from_micros(n % 7 * 20));
            let buffer = dev.create(&file, PAGES);
            (sealing.join().expect("it does not panic"), buffer)
        });
        if buffer.is_ok() == seal.is_ok() {
            println!("# a buffer: {buffer:?}, a seal: {seal:?}");
            return false;
        }
        buffers += u64::from(buffer.is_ok());
        sealed += u64::from(seal.is_ok());
    }
    println!("# seals: {buffers} buffers, {sealed} sealed files");
    true
}

/// Compressed memory to swap to. Without it, there is only less to race with.
fn swap_on() {
    let _ = fs::write("/sys/block/zram0/disksize", "64M");
    for program in ["mkswap", "swapon"] {
        let _ = Command::new(format!("/bin/{program}"))
            .arg("/dev/zram0")
            .output();
    }
}

/// A child that creates and maps buffers is killed at some moment.
fn kill(rounds: u64) -> bool {
    for n in 0..rounds / 10 {
        let killed = kill_child_after(n % 23 * 200, || {
            let holes = Fd::memfd(false).expect("memfd_create works");
            holes.truncate(16 * PAGES).expect("ftruncate works");
            holes.add_seals(F_SEAL_SHRINK).expect("seals can be added");
            let dev = Fd::open("/dev/udmabuf").expect("/dev/udmabuf can be opened");
            loop {
                let buffer = dev.create(&holes, 16 * PAGES).expect("a buffer");
                let map = buffer
                    .map(0, PAGES, PROT_READ, MAP_SHARED)
                    .expect("a mapping");
                map.read(PAGES - 1, 0);
                let _ = holes.punch(0, 16 * PAGES);
            }
        });
        if killed != Ok(true) {
            println!("# the child ended by itself");
            return false;
        }
    }
    println!("# kill: {} children", rounds / 10);
    true
}

fn main() {
    let rounds = std::env::args().nth(1).and_then(|text| text.parse().ok());
    let Some(rounds) = rounds.filter(|rounds| *rounds >= 10) else {
        eprintln!("usage: race ROUNDS, at least 10");
        std::process::exit(2);
    };
    swap_on();
    println!("TAP version 13\n1..{}", ADVERSARIES.len() + 2);
    let mut failed = false;
    let mut number = 0;
    let mut case = |name: &str, run: &dyn Fn() -> bool| {
        number += 1;
        let before = counts::count();
        let well = run();
        let _ = fs::write("/sys/module/udmabuf/parameters/size_limit_mb", "2147483647");
        let right = counts::returned(&before) && well;
        println!(
            "{} {number} race.{name}",
            if right { "ok" } else { "not ok" }
        );
        failed |= !right;
    };
    for adversary in &ADVERSARIES {
        case(adversary.name, &|| run(adversary, rounds));
    }
    case("add_seals", &|| seals(rounds));
    case("kill", &|| kill(rounds));
    let _ = Command::new("/bin/swapoff").arg("/dev/zram0").output();
    std::process::exit(failed.into());
}
