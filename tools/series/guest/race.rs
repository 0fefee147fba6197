// SPDX-License-Identifier: GPL-2.0
//! Races on /dev/udmabuf: one thread creates buffers of a file, looks through them and closes them, round after round,
//! while another does something to the file, to the buffers or to the memory.
//!
//! usage: race ROUNDS [CASE...]
//!
//! Each adversary is a test case, and so is each race of pairs.rs. Nothing may be left behind, and a buffer shows what
//! the file held, or zeroes where the adversary removes pages. Buffers must have been made in both ways, and the
//! adversary must have done what it is for while that went on: it says so itself, and so do counters of the kernel.
//! That the kernel does not complain is for its console.

mod blocks;
mod buffers;
mod children;
mod counts;
mod frames;
mod hotplug;
mod pairs;
mod swap;
mod sys;
mod video;

use std::fs;
use std::mem;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use buffers::{PAGES, Way, device, number_pages, tag};
use children::{Child, End};
use hotplug::Hotplug;
use sys::*;
use video::{Driver, Importer};

/// How long a race goes on for the sake of a slow adversary. What it waits for is over then, or something was left.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long all of them are waited for once nothing is missing, and were, in milliseconds.
const PATIENCE_FOR_ALL: Duration = Duration::from_secs(80);
static WAITED: AtomicU64 = AtomicU64::new(0);

/// How many strokes that are of use a slow adversary is waited for.
const ENOUGH: u64 = 20;

/// The rounds of all cases.
static ROUNDS: AtomicU64 = AtomicU64::new(0);

const EAGAIN: i32 = 11;

const SYNC_RW: u64 = 3;
const SYNC_END: u64 = 4;

/// With what a child ends that found something else in a buffer.
const WRONG: i32 = 0xff;

/// What the threads share.
struct Arena {
    dev: Fd,
    file: Fd,
    /// The buffers are of the pages from this one on.
    first: usize,
    /// The buffer of the round.
    buffer: Mutex<Option<Fd>>,
    /// How many other threads have a descriptor of it.
    users: AtomicU64,
    over: AtomicBool,
    /// How often the adversary has ended its work while buffers were made, and how often that was of any use.
    strokes: AtomicU64,
    hits: AtomicU64,
    hotplug: OnceLock<Hotplug>,
}

/// What the file consists of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Small,
    /// Small pages, as many as a huge page has.
    MayBeHuge,
    /// Two huge pages of hugetlb. A buffer has the end of one and the start of the other.
    Hugetlb,
}

struct Adversary {
    name: &'static str,
    kind: Kind,
    /// A page may turn to zeroes, and some must.
    removes: bool,
    /// Creating may fail with this; or lists may, and nothing else.
    may_fail: &'static [i32],
    lists_may_fail: &'static [i32],
    /// Creating must have failed at times.
    refuses: bool,
    /// It can do something only between two buffers.
    pauses: bool,
    /// Each stroke may cost the system a page: there are no more of them than rounds.
    costs_pages: bool,
    /// Several threads do it, and so does the creator.
    syncs: bool,
    /// These counters of the kernel must go up.
    signs: &'static [&'static str],
    /// Whether it did what it is for.
    stroke: fn(&Arena, u64) -> bool,
}

static ADVERSARIES: [Adversary; 21] = [
    plain("fork", |_, _| {
        // SAFETY: It does nothing.
        let child = unsafe { Child::start(|| 0) };
        ended(child) == End::Code(0)
    }),
    plain("exit", |arena, n| {
        // The last reference to the creator's buffer may be the child's, who has a copy of the mapping.
        // SAFETY: What it calls allocates nothing and does not panic.
        let child = unsafe { Child::start(|| arena.leave_mapped(Way::of_round(n))) };
        let end = ended(child);
        assert_eq!(end, End::Code(0), "a child that makes a buffer");
        true
    }),
    removing("punch_hole", |arena, n| {
        let page = n as usize % PAGES;
        arena.file.punch(page, 3.min(PAGES - page)).is_ok()
    }),
    Adversary {
        kind: Kind::Hugetlb,
        ..removing("punch_hole_hugetlb", |arena, n| {
            if n % 4 > 0 {
                // Part of a huge page turns to zeroes where it is.
                let page = arena.first + n as usize % PAGES;
                return arena.file.punch(page, 1).is_ok();
            }
            // The next buffer waits until another huge page is cleared: not all the time.
            thread::sleep(Duration::from_millis(10));
            let page = n as usize / 4 % 2 * HUGE_PAGES;
            arena.file.punch(page, HUGE_PAGES).is_ok()
        })
    },
    plain("grow", |arena, n| {
        arena.file.truncate(PAGES + 1 + n as usize).is_ok()
    }),
    removing("fallocate", |arena, n| {
        let page = n as usize % PAGES;
        arena.file.punch(page, 1).is_ok() && arena.file.allocate(page, 1).is_ok()
    }),
    pausing("swap_out", &["pswpout ", "pswpin "], |arena, _| {
        let map = arena.file_map();
        // Only what is mapped goes.
        for page in 0..map.len() {
            map.read(page, 0);
        }
        map.advise(0, map.len(), MADV_PAGEOUT).is_ok()
    }),
    // Whether what goes is the file's depends on how long a buffer takes.
    pausing("reclaim", &["pswpout "], |_, n| {
        // The second one leaves files alone that are not in memory only.
        let much = ["4M", "4M swappiness=max"][n as usize % 2];
        match fs::write("/sys/fs/cgroup/memory.reclaim", much) {
            Ok(()) => true,
            // There was not so much, but all of it was tried.
            Err(e) => e.raw_os_error() == Some(EAGAIN),
        }
    }),
    pausing("compaction", &["pgmigrate_success "], |_, _| {
        fs::write("/proc/sys/vm/compact_memory", "1").is_ok()
    }),
    Adversary {
        signs: &["drop_pagecache ", "drop_slab "],
        ..plain("drop_caches", |_, _| {
            fs::write("/proc/sys/vm/drop_caches", "3").is_ok()
        })
    },
    Adversary {
        kind: Kind::MayBeHuge,
        ..pausing("collapse", &["thp_collapse_alloc "], |arena, n| {
            let map = arena.file_map();
            let done = map.advise(0, map.len(), MADV_COLLAPSE);
            // Part of a huge page cannot go without the rest, so that it is split.
            let page = PAGES + n as usize % PAGES;
            arena.file.punch(page, 1).expect("a hole can be made");
            done.is_ok()
        })
    },
    Adversary {
        kind: Kind::MayBeHuge,
        ..pausing("split", &["thp_split_page "], |arena, _| {
            let map = arena.file_map();
            let _ = map.advise(0, map.len(), MADV_COLLAPSE);
            let (start, end) = map.addresses();
            let pages = format!("{},{start:#x},{end:#x}", std::process::id());
            fs::write("/sys/kernel/debug/split_huge_pages", pages).is_ok()
        })
    },
    // It can hold a page for as long as a pin waits for one: that says so, and nothing is lost. Before those that make
    // pages bad: a block with one does not come back.
    Adversary {
        may_fail: &[EBUSY],
        ..plain("memory_offline", |arena, n| {
            let hotplug = arena.hotplug.get_or_init(Hotplug::new);
            let frame = match n % 2 {
                0 => arena.frame(n as usize / 2 % PAGES),
                _ => None,
            };
            hotplug.take_away(frame)
        })
    },
    Adversary {
        costs_pages: true,
        ..pausing("soft_offline", &["HardwareCorrupted:"], |arena, n| {
            let page = n as usize % PAGES;
            arena.file_map().advise(page, 1, MADV_SOFT_OFFLINE).is_ok()
        })
    },
    Adversary {
        costs_pages: true,
        may_fail: &[EHWPOISON],
        signs: &["HardwareCorrupted:"],
        ..removing("memory_failure", |arena, n| {
            let page = n as usize % PAGES;
            // SAFETY: What it calls allocates nothing and does not panic.
            let child = unsafe { Child::start(|| arena.poison(page)) };
            let end = ended(child);
            arena.file.punch(page, 1).expect("a bad page can go");
            // The child is killed for what it does.
            matches!(end, End::Signal(children::SIGBUS) | End::Code(0))
        })
    },
    Adversary {
        may_fail: &[EINVAL],
        refuses: true,
        ..plain("module_parameters", |_, n| {
            let limit = if n % 2 == 0 { "0" } else { NO_SIZE_LIMIT };
            set("size_limit_mb", limit);
            true
        })
    },
    Adversary {
        lists_may_fail: &[EINVAL],
        refuses: true,
        ..plain("list_limit", |_, n| {
            set("list_limit", if n % 2 == 0 { "1" } else { LIST_LIMIT });
            true
        })
    },
    Adversary {
        syncs: true,
        ..plain("sync", |arena, n| {
            arena.with_buffer(|buffer| {
                let flags = (n % 3 + 1) | (n & SYNC_END);
                sync(buffer, flags);
            })
        })
    },
    plain("map_and_close", |arena, n| {
        // The last reference to the buffer may be the one of this mapping.
        let Some(buffer) = arena.take_buffer() else {
            return false;
        };
        let map = buffer.map(0, PAGES, PROT_READ, MAP_SHARED);
        drop(buffer);
        let map = map.expect("a buffer can be mapped");
        map.read(n as usize % PAGES, 0);
        true
    }),
    plain("import_and_close", |arena, _| {
        arena.import_and_close(&video::VIM2M)
    }),
    plain("attach_and_close", |arena, _| {
        arena.import_and_close(&video::VIVID)
    }),
];

const fn plain(name: &'static str, stroke: fn(&Arena, u64) -> bool) -> Adversary {
    Adversary {
        name,
        kind: Kind::Small,
        removes: false,
        may_fail: &[],
        lists_may_fail: &[],
        refuses: false,
        pauses: false,
        costs_pages: false,
        syncs: false,
        signs: &[],
        stroke,
    }
}

const fn removing(name: &'static str, stroke: fn(&Arena, u64) -> bool) -> Adversary {
    Adversary {
        removes: true,
        ..plain(name, stroke)
    }
}

const fn pausing(
    name: &'static str,
    signs: &'static [&'static str],
    stroke: fn(&Arena, u64) -> bool,
) -> Adversary {
    Adversary {
        pauses: true,
        signs,
        ..plain(name, stroke)
    }
}

impl Adversary {
    fn may_fail(&self, way: Way, errno: i32) -> bool {
        self.may_fail.contains(&errno) || way == Way::List && self.lists_may_fail.contains(&errno)
    }

    fn threads(&self) -> usize {
        if self.syncs { 3 } else { 1 }
    }

    fn signs(&self) -> Vec<i64> {
        self.signs.iter().map(|name| counts::events(name)).collect()
    }
}

/// How a child ended that was just started.
fn ended(child: Result<Child>) -> End {
    let end = child.expect("fork works").wait();
    end.expect("a child can be waited for")
}

const NO_SIZE_LIMIT: &str = "2147483647";
/// The default.
const LIST_LIMIT: &str = "1024";

fn set(parameter: &str, value: &str) {
    fs::write(format!("/sys/module/udmabuf/parameters/{parameter}"), value)
        .expect("the parameter can be written");
}

fn set_limits_back() {
    set("size_limit_mb", NO_SIZE_LIMIT);
    set("list_limit", LIST_LIMIT);
}

fn sync(buffer: &Fd, mut flags: u64) {
    buffer
        .ioctl(DMA_BUF_IOCTL_SYNC, &mut flags)
        .expect("a buffer can be synchronised");
}

impl Arena {
    fn new(kind: Kind) -> Self {
        let (pages, first) = match kind {
            Kind::Small => (PAGES, 0),
            Kind::MayBeHuge => (HUGE_PAGES, 0),
            Kind::Hugetlb => (2 * HUGE_PAGES, HUGE_PAGES - PAGES / 2),
        };
        let file = Fd::memfd(kind == Kind::Hugetlb).expect("memfd_create works");
        file.truncate(pages).expect("ftruncate works");
        file.add_seals(F_SEAL_SHRINK).expect("seals can be added");
        number_pages(&file, first);
        Arena {
            dev: device(),
            file,
            first,
            buffer: Mutex::new(None),
            users: AtomicU64::new(0),
            over: AtomicBool::new(false),
            strokes: AtomicU64::new(0),
            hits: AtomicU64::new(0),
            hotplug: OnceLock::new(),
        }
    }

    fn create(&self, way: Way) -> Result<Fd> {
        way.create(&self.dev, &self.file, self.first, PAGES)
    }

    fn file_map(&self) -> Map {
        let pages = self.file.size().expect("a file has a size") / PAGE;
        let map = self.file.map_aligned(pages, PROT_READ | PROT_WRITE);
        map.expect("a memfd can be mapped")
    }

    /// Where a page of the file is. It can have been moved when this returns.
    fn frame(&self, page: usize) -> Option<u64> {
        let map = self.file_map();
        map.read(page, 0);
        map.frames()[page]
    }

    fn lock(&self) -> MutexGuard<'_, Option<Fd>> {
        self.buffer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there was a buffer.
    fn with_buffer(&self, f: impl FnOnce(&Fd)) -> bool {
        struct Use<'a>(&'a AtomicU64);
        impl Drop for Use<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Relaxed);
            }
        }
        // Not while the lock is held: the creator is to be met in the kernel.
        let (_use, copy) = {
            let buffer = self.lock();
            let Some(copy) = buffer.as_ref().and_then(|fd| fd.duplicate().ok()) else {
                return false;
            };
            self.users.fetch_add(1, Relaxed);
            (Use(&self.users), copy)
        };
        f(&copy);
        true
    }

    fn take_buffer(&self) -> Option<Fd> {
        self.lock().take()
    }

    /// The last reference to the buffer may be the importer's.
    fn import_and_close(&self, driver: &Driver) -> bool {
        let Some(buffer) = self.take_buffer() else {
            return false;
        };
        let importer = Importer::new(driver).expect("a driver can import");
        importer.import(&buffer).expect("a driver imports a buffer");
        drop(buffer);
        drop(importer);
        true
    }

    /// For a child: makes a buffer, looks through it, and leaves both to the end of the process.
    fn leave_mapped(&self, way: Way) -> i32 {
        let buffer = match self.create(way) {
            Ok(buffer) => buffer,
            Err(errno) => return errno,
        };
        let map = match buffer.map(0, PAGES, PROT_READ | PROT_WRITE, MAP_SHARED) {
            Ok(map) => map,
            Err(errno) => return errno,
        };
        let right = buffers::is_right(&map, way);
        mem::forget((buffer, map));
        if right { 0 } else { WRONG }
    }

    /// For a child: a page of the file goes bad.
    fn poison(&self, page: usize) -> i32 {
        match self.file.map(page, 1, PROT_READ | PROT_WRITE, MAP_SHARED) {
            Ok(map) => children::code(map.advise(0, 1, MADV_HWPOISON)),
            Err(errno) => errno,
        }
    }

    /// The adversary, until the creator is done.
    fn work(&self, adversary: &Adversary, rounds: u64) {
        let most = if adversary.costs_pages {
            rounds
        } else {
            u64::MAX
        };
        for n in 0..most {
            let hit = (adversary.stroke)(self, n);
            if self.over.load(Relaxed) {
                return;
            }
            self.hits.fetch_add(hit.into(), Relaxed);
            self.strokes.fetch_add(1, Relaxed);
        }
    }
}

/// What became of the creator's rounds.
#[derive(Default)]
struct Seen {
    created: [u64; Way::ALL.len()],
    refused: u64,
    /// Pages that had turned to zeroes.
    zeroes: u64,
}

/// The creator's side of a race.
struct Creator<'a> {
    arena: &'a Arena,
    adversary: &'a Adversary,
    /// The signs, as they were when it began.
    before: Vec<i64>,
    round: u64,
    seen: Seen,
}

impl Creator<'_> {
    fn round(&mut self) {
        let (arena, adversary) = (self.arena, self.adversary);
        let way = Way::of_round(self.round);
        self.round += 1;
        ROUNDS.fetch_add(1, Relaxed);
        let buffer = match arena.create(way) {
            Ok(buffer) => buffer,
            Err(errno) if adversary.may_fail(way, errno) => {
                self.seen.refused += 1;
                return;
            }
            Err(errno) => panic!("{}: error {errno}", way.name()),
        };
        self.seen.created[way as usize] += 1;
        let map = buffer.map(0, PAGES, PROT_READ | PROT_WRITE, MAP_SHARED);
        let map = map.expect("a buffer can be mapped");
        if adversary.syncs {
            sync(&buffer, SYNC_RW);
        }
        *arena.lock() = Some(buffer);
        self.look(&map, way);
        if adversary.syncs {
            arena.with_buffer(|buffer| sync(buffer, SYNC_RW | SYNC_END));
        }
        drop(arena.take_buffer());
        drop(map);
        if adversary.syncs {
            // CONFIG_DMA_API_DEBUG does not bear two buffers of one page that are synchronised: series.toml says so of
            // udmabuf_sync.
            while arena.users.load(Relaxed) > 0 {
                thread::yield_now();
            }
        }
        if adversary.pauses {
            thread::sleep(Duration::from_micros(200));
        }
    }

    fn look(&mut self, map: &Map, way: Way) {
        let removes = self.adversary.removes;
        for page in 0..PAGES {
            let found = map.read(page, 0);
            let wanted = tag(way.page(page, PAGES));
            let lost = removes && found == 0;
            assert!(found == wanted || lost, "page {page} holds {found:#x}");
            if removes {
                // So that it does not end with a file of zeroes.
                map.write(page, 0, wanted);
            } else {
                // A page that had been moved away would not be the file's any more.
                map.write(page, 1, self.round);
                let word = (self.arena.first + way.page(page, PAGES)) * PAGE + 8;
                let of_file = self.arena.file.read_word(word);
                assert_eq!(of_file, Ok(self.round), "page {page} of the file");
            }
            assert_eq!(map.read(page, 511), 0, "the end of page {page}");
            self.seen.zeroes += u64::from(lost);
        }
    }

    /// What must have happened, and has not yet.
    fn missing(&self) -> Vec<String> {
        let (arena, adversary, seen) = (self.arena, self.adversary, &self.seen);
        let mut missing = Vec::new();
        for way in Way::ALL {
            if seen.created[way as usize] == 0 {
                missing.push(format!("no buffer was made with {}", way.name()));
            }
        }
        let held_up = || arena.hotplug.get().is_some_and(Hotplug::was_held_up);
        if arena.hits.load(Relaxed) == 0 && !held_up() {
            missing.push("the adversary did nothing while buffers were made".to_owned());
        }
        if adversary.removes && seen.zeroes == 0 {
            missing.push("no page was seen to be removed".to_owned());
        }
        if adversary.refuses && seen.refused == 0 {
            missing.push("nothing was refused".to_owned());
        }
        let after = adversary.signs();
        for ((name, before), after) in adversary.signs.iter().zip(&self.before).zip(after) {
            if after <= *before {
                missing.push(format!("the kernel counted no {}", name.trim()));
            }
        }
        missing
    }

    fn work(&mut self, rounds: u64, alone: &dyn Fn() -> bool) {
        for _ in 0..rounds {
            self.round();
        }
        // A slow adversary meets more of them, but may also wait for pages that are pinned all the time.
        self.wait_for("what is missing", PATIENCE, alone, &|creator| {
            creator.missing().is_empty()
        });
        let others = Duration::from_millis(WAITED.load(Relaxed));
        let patience = PATIENCE.min(PATIENCE_FOR_ALL.saturating_sub(others));
        let start = Instant::now();
        self.wait_for("more", patience, alone, &|creator| {
            creator.arena.hits.load(Relaxed) >= ENOUGH
        });
        WAITED.fetch_add(start.elapsed().as_millis() as u64, Relaxed);
    }

    /// Goes on until there is enough, for so long.
    fn wait_for(
        &mut self,
        what: &str,
        patience: Duration,
        alone: &dyn Fn() -> bool,
        is_enough: &dyn Fn(&Self) -> bool,
    ) {
        let start = Instant::now();
        while !is_enough(self) && !alone() {
            if start.elapsed() > patience {
                println!("# {}: waited in vain for {what}", self.adversary.name);
                return;
            }
            self.round();
            if self.adversary.pauses {
                thread::sleep(Duration::from_millis(1));
            }
        }
    }

    fn say(&self) {
        let (name, seen, arena) = (self.adversary.name, &self.seen, self.arena);
        let [one, list] = seen.created;
        let (strokes, hits) = (arena.strokes.load(Relaxed), arena.hits.load(Relaxed));
        println!("# {name}: {one} and {list} buffers, {strokes} strokes, {hits} of use");
        if seen.refused > 0 || seen.zeroes > 0 {
            println!("# {} refused, {} pages lost", seen.refused, seen.zeroes);
        }
        let after = self.adversary.signs();
        for ((sign, before), after) in self.adversary.signs.iter().zip(&self.before).zip(after) {
            println!("# {} {}", sign.trim(), after - before);
        }
        if let Some(hotplug) = arena.hotplug.get() {
            hotplug.say();
        }
    }
}

/// Waits until a thread has ended. If it does not, says where in the kernel it is, or what it may wait for, and ends it
/// all.
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
            leave(1);
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// Whether buffers that are made when all is over have the pages of the file.
fn is_of_the_file(arena: &Arena) -> bool {
    let file = arena.file_map();
    Way::ALL.into_iter().all(|way| {
        let map = arena
            .create(way)
            .and_then(|buffer| buffer.map(0, PAGES, PROT_READ | PROT_WRITE, MAP_SHARED));
        let is_right = map.as_ref().is_ok_and(|map| {
            (0..PAGES).all(|page| {
                map.write(page, 1, tag(page));
                file.read(arena.first + way.page(page, PAGES), 1) == tag(page)
            })
        });
        if !is_right {
            println!("# when all is over, a buffer is not of the file: {map:?}");
        }
        is_right
    })
}

/// Whether nobody has a page of the file any more: it can be sealed against writing only then.
fn is_unused(arena: &Arena) -> bool {
    let sealed = arena.file.add_seals(F_SEAL_WRITE);
    if let Err(errno) = sealed {
        println!("# somebody still has a page of the file: error {errno}");
    }
    sealed.is_ok()
}

/// Whether the creator met the adversary, and nothing was wrong.
fn meet(adversary: &Adversary, rounds: u64) -> bool {
    let arena = Arena::new(adversary.kind);
    let mut creator = Creator {
        arena: &arena,
        adversary,
        before: adversary.signs(),
        round: 0,
        seen: Seen::default(),
    };
    let well = thread::scope(|scope| {
        let spawn = |_| scope.spawn(|| arena.work(adversary, rounds));
        let others: Vec<_> = (0..adversary.threads()).map(spawn).collect();
        let alone = || others.iter().all(|other| other.is_finished());
        let ended = panic::catch_unwind(AssertUnwindSafe(|| creator.work(rounds, &alone)));
        arena.over.store(true, Relaxed);
        let mut well = ended.is_ok();
        for other in others {
            wait_for(&other, adversary.name);
            well &= other.join().is_ok();
        }
        well
    });
    set_limits_back();
    let well = well && is_of_the_file(&arena) && is_unused(&arena);
    creator.say();
    let missing = creator.missing();
    for what in &missing {
        println!("# {}: {what}", adversary.name);
    }
    well && missing.is_empty()
}

/// Huge pages of hugetlb, which are there until this is dropped.
struct HugePages {
    before: String,
}

const NR_HUGE_PAGES: &str = "/proc/sys/vm/nr_hugepages";

impl HugePages {
    /// Two for the file, two that an earlier buffer may still have, and some besides.
    fn provide() -> Self {
        let pages = HugePages {
            before: fs::read_to_string(NR_HUGE_PAGES).expect("CONFIG_HUGETLBFS"),
        };
        // Other programs may have left some in use.
        let used = counts::events("HugePages_Total:") - counts::events("HugePages_Free:");
        fs::write(NR_HUGE_PAGES, (used + 8).to_string()).expect("CONFIG_HUGETLBFS");
        let free = counts::events("HugePages_Free:");
        assert!(free >= 6, "only {free} huge pages could be had");
        pages
    }
}

impl Drop for HugePages {
    fn drop(&mut self) {
        let _ = fs::write(NR_HUGE_PAGES, self.before.trim());
    }
}

fn run(adversary: &Adversary, rounds: u64) -> bool {
    if adversary.kind != Kind::Hugetlb {
        return meet(adversary, rounds);
    }
    let _pages = HugePages::provide();
    let before = counts::count();
    let well = meet(adversary, rounds);
    counts::returned(&before) && well
}

type Case = (&'static str, Box<dyn Fn(u64) -> bool>);

fn cases() -> Vec<Case> {
    let meet = |adversary: &'static Adversary| -> Case {
        (adversary.name, Box::new(|rounds| run(adversary, rounds)))
    };
    let pair = |(name, race): &(&'static str, pairs::Race)| -> Case { (name, Box::new(*race)) };
    let all = ADVERSARIES.iter().map(meet);
    all.chain(pairs::RACES.iter().map(pair)).collect()
}

/// How many rounds, and the cases that are asked for, or all.
fn arguments() -> Option<(u64, Vec<Case>)> {
    let mut arguments = std::env::args().skip(1);
    let rounds = arguments.next()?.parse().ok()?;
    let names: Vec<String> = arguments.collect();
    let is_wanted = |name: &str| names.iter().any(|wanted| wanted == name);
    let mut cases = cases();
    if !names.is_empty() {
        cases.retain(|(name, _)| is_wanted(name));
        // One that is not there would not be missed.
        if cases.len() != names.len() {
            return None;
        }
    }
    (rounds >= ENOUGH).then_some((rounds, cases))
}

fn main() {
    let Some((rounds, cases)) = arguments() else {
        eprintln!("usage: race ROUNDS [CASE...], at least {ENOUGH} rounds, each case once");
        std::process::exit(2);
    };
    swap::on();
    println!("TAP version 13\n1..{}", cases.len());
    let mut failed = false;
    for (number, (name, case)) in (1..).zip(&cases) {
        let before = counts::count();
        let well = panic::catch_unwind(AssertUnwindSafe(|| case(rounds))).unwrap_or(false);
        set_limits_back();
        let right = counts::returned(&before) && well;
        let word = if right { "ok" } else { "not ok" };
        println!("{word} {number} race.{name}");
        failed |= !right;
    }
    let rounds = ROUNDS.load(Relaxed);
    println!("# figures: rounds={rounds} {}", buffers::figures());
    leave(failed.into());
}

/// Ends it all, and leaves nothing behind for other programs.
fn leave(code: i32) -> ! {
    set_limits_back();
    swap::off();
    std::process::exit(code);
}
