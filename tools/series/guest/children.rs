// SPDX-License-Identifier: GPL-2.0
//! Children of a process that has several threads: they make system calls, and end.

// Each program has its own use for them.
#![allow(dead_code)]

use std::ffi::c_int;
use std::io;
use std::thread;
use std::time::{Duration, Instant};

use crate::sys::Result;

pub const SIGBUS: i32 = 7;
pub const SIGKILL: i32 = 9;

mod libc {
    use super::c_int;
    unsafe extern "C" {
        pub fn fork() -> c_int;
        pub fn waitpid(pid: c_int, status: *mut c_int, options: c_int) -> c_int;
        pub fn kill(pid: c_int, signal: c_int) -> c_int;
        pub fn _exit(code: c_int) -> !;
    }
}

/// How a child ended: by itself, with this code, or by a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Code(i32),
    Signal(i32),
}

impl End {
    fn from_status(status: c_int) -> Self {
        match status & 0x7f {
            0 => End::Code(status >> 8 & 0xff),
            signal => End::Signal(signal),
        }
    }
}

/// A child. If nobody has waited for it when this is dropped, it is killed.
pub struct Child {
    pid: c_int,
    end: Option<End>,
}

impl Child {
    /// A child that does this, and ends with the code that it returns: 0, or an errno.
    ///
    /// # Safety
    ///
    /// What another thread had locked when the process was forked, nobody will ever unlock in the child. So `work`
    /// makes system calls and accesses memory, and does nothing else: it does not allocate, print or panic.
    pub unsafe fn start(work: impl FnOnce() -> i32) -> Result<Self> {
        // SAFETY: The child does what the caller answers for, and then ends.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            let code = work();
            // SAFETY: It tears nothing down that the parent has too.
            unsafe { libc::_exit(code) };
        }
        match pid {
            1.. => Ok(Child { pid, end: None }),
            _ => Err(errno()),
        }
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Result<Option<End>> {
        const WNOHANG: c_int = 1;
        self.look(WNOHANG)
    }

    pub fn wait(mut self) -> Result<End> {
        self.look(0)
            .map(|end| end.expect("it was waited for, without WNOHANG"))
    }

    /// How it ended, if it does within this time.
    pub fn wait_for(&mut self, limit: Duration) -> Result<Option<End>> {
        let start = Instant::now();
        loop {
            let end = self.ended()?;
            if end.is_some() || start.elapsed() > limit {
                return Ok(end);
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    pub fn kill(&mut self) {
        if self.end.is_none() {
            // SAFETY: It has not been waited for: no other process has its number.
            unsafe { libc::kill(self.pid, SIGKILL) };
        }
    }

    fn look(&mut self, options: c_int) -> Result<Option<End>> {
        if self.end.is_none() {
            let mut status = 0;
            // SAFETY: `status` is valid for writes.
            match unsafe { libc::waitpid(self.pid, &mut status, options) } {
                0 => {}
                1.. => self.end = Some(End::from_status(status)),
                _ => return Err(errno()),
            }
        }
        Ok(self.end)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
        // Where waiting for it fails, there is nobody to wait for.
        let _ = self.look(0);
    }
}

fn errno() -> i32 {
    io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

/// With what a child ends whose last system call returned this.
pub fn code<T>(result: Result<T>) -> i32 {
    match result {
        Ok(_) => 0,
        Err(errno) => errno,
    }
}
