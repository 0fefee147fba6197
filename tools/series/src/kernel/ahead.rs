// SPDX-License-Identifier: GPL-2.0
//! Builds ahead of what asks for it: while a guest runs, the next kernels are built on what it leaves of the machine.
//!
//! All that is built is kept by content, so that whoever asks builds for itself what was not built here, for whatever
//! reason. Only time depends on this.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::error::Result;

/// How much builds give way to guests.
const NICE: i32 = 10;

/// Something to be built, under a name of its own.
pub(super) struct Job<'a> {
    pub(super) name: String,
    pub(super) build: Box<dyn FnOnce() -> Result<()> + Send + 'a>,
}

/// What one thread builds and another one waits for.
#[derive(Default)]
pub(super) struct Ahead {
    jobs: Mutex<BTreeMap<String, State>>,
    changed: Condvar,
    /// What was asked for without having been planned.
    unplanned: Mutex<BTreeSet<String>>,
}

enum State {
    Waiting,
    /// How long that took, or why it could not be built: for the first who asks.
    Built(Result<Duration>),
    /// It is not built here.
    Gone,
}

impl Ahead {
    /// Nothing is built yet.
    pub(super) fn of(jobs: &[Job<'_>]) -> Self {
        let jobs = jobs.iter().map(|job| (job.name.clone(), State::Waiting));
        Ahead {
            jobs: Mutex::new(jobs.collect()),
            ..Ahead::default()
        }
    }

    /// Builds one after the other, until it is too late.
    pub(super) fn run(&self, jobs: Vec<Job<'_>>, deadline: Option<Instant>) {
        // However this ends, nobody waits for it any longer.
        let _end = self.ends();
        // Of this thread only, and of what it starts. Where that is not allowed, both are as fast.
        let _ = rustix::process::nice(NICE);
        for Job { name, build } in jobs {
            let is_late = deadline.is_some_and(|deadline| Instant::now() > deadline);
            if is_late || matches!(self.jobs().get(&name), Some(State::Gone)) {
                return;
            }
            let start = Instant::now();
            let built = build().map(|()| start.elapsed());
            self.jobs().insert(name, State::Built(built));
            self.changed.notify_all();
        }
    }

    /// Waits until this was built, or never will be. The first who asks learns how long it took, or what was wrong.
    pub(super) fn wait(&self, name: &str) -> Result<Duration> {
        let mut jobs = self.jobs();
        if !jobs.is_empty() && !jobs.contains_key(name) {
            lock(&self.unplanned).insert(name.to_owned());
        }
        while matches!(jobs.get(name), Some(State::Waiting)) {
            jobs = self
                .changed
                .wait(jobs)
                .unwrap_or_else(PoisonError::into_inner);
        }
        match jobs
            .get_mut(name)
            .map(|job| std::mem::replace(job, State::Gone))
        {
            Some(State::Built(built)) => built,
            _ => Ok(Duration::ZERO),
        }
    }

    /// What was asked for and could have been built ahead, but was not planned.
    pub(super) fn unplanned(&self) -> BTreeSet<String> {
        lock(&self.unplanned).clone()
    }

    /// When that is dropped, nothing more is begun.
    pub(super) fn ends(&self) -> impl Drop + '_ {
        Ends(self)
    }

    fn jobs(&self) -> MutexGuard<'_, BTreeMap<String, State>> {
        lock(&self.jobs)
    }
}

/// What is locked here is whole between any two statements, so that a panic does no harm.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Ends<'a>(&'a Ahead);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        for job in self.0.jobs().values_mut() {
            if matches!(job, State::Waiting) {
                *job = State::Gone;
            }
        }
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::thread;

    use super::*;
    use crate::error::Error;

    fn job<'a>(name: &str, build: impl FnOnce() -> Result<()> + Send + 'a) -> Job<'a> {
        Job {
            name: name.to_owned(),
            build: Box::new(build),
        }
    }

    #[test]
    fn what_is_waited_for_was_built_and_took_its_time() {
        let (begin, begun) = channel();
        let slow = Duration::from_millis(5);
        let jobs = vec![
            job("one", move || {
                begun.recv().unwrap();
                thread::sleep(slow);
                Ok(())
            }),
            job("two", || Ok(())),
        ];
        let ahead = Ahead::of(&jobs);
        assert_eq!(ahead.wait("none of them").unwrap(), Duration::ZERO);
        assert_eq!(ahead.unplanned(), ["none of them".to_owned()].into());
        thread::scope(|scope| {
            scope.spawn(|| ahead.run(jobs, None));
            begin.send(()).unwrap();
            ahead.wait("two").unwrap();
            assert!(ahead.wait("one").unwrap() >= slow);
            assert_eq!(
                ahead.wait("one").unwrap(),
                Duration::ZERO,
                "it is said once"
            );
        });
    }

    #[test]
    fn an_error_is_said_and_the_others_are_built() {
        let slow = Duration::from_millis(5);
        let jobs = vec![
            job("one", || Err(Error::finding("one", "is wrong"))),
            job("two", || {
                thread::sleep(slow);
                Ok(())
            }),
        ];
        let ahead = Ahead::of(&jobs);
        thread::scope(|scope| {
            scope.spawn(|| ahead.run(jobs, None));
            let error = ahead.wait("one").unwrap_err().to_string();
            assert!(error.contains("is wrong"), "{error}");
            assert!(ahead.wait("two").unwrap() >= slow);
        });
    }

    #[test]
    fn nothing_is_begun_after_the_end_or_too_late() {
        let (begun, begin) = channel();
        let (end, ended) = channel();
        let jobs = vec![
            job("one", move || {
                begun.send(()).unwrap();
                ended.recv().unwrap();
                Ok(())
            }),
            job("two", || panic!("is built")),
        ];
        let ahead = Ahead::of(&jobs);
        thread::scope(|scope| {
            scope.spawn(|| ahead.run(jobs, None));
            begin.recv().unwrap();
            drop(ahead.ends());
            end.send(()).unwrap();
        });
        let jobs = vec![job("one", || panic!("is built"))];
        Ahead::of(&jobs).run(jobs, Some(Instant::now() - Duration::from_millis(1)));
    }

    #[test]
    fn a_build_that_panics_is_waited_for_no_longer() {
        let jobs = vec![job("one", || panic!("on purpose"))];
        let ahead = Ahead::of(&jobs);
        thread::scope(|scope| {
            let builder = scope.spawn(|| ahead.run(jobs, None));
            assert_eq!(ahead.wait("one").unwrap(), Duration::ZERO);
            assert!(builder.join().is_err());
        });
    }
}
