// SPDX-License-Identifier: GPL-2.0
//! What goes to standard output. A reader who has seen enough and closes the pipe ends no run; any other failure to write
//! is kept until the work is done, and is the verdict then.

use std::fmt::Arguments;
use std::io::{ErrorKind, Write};
use std::sync::OnceLock;

use crate::error::{Error, Result};
use crate::progress;

static FAILED: OnceLock<std::io::Error> = OnceLock::new();

/// `println!`, for a standard output that can be closed or full.
macro_rules! outln {
    ($($arg:tt)*) => {
        $crate::output::write(format_args!("{}\n", format_args!($($arg)*)))
    };
}

/// `print!`, for a standard output that can be closed or full.
macro_rules! out {
    ($($arg:tt)*) => {
        $crate::output::write(format_args!($($arg)*))
    };
}

pub fn write(text: Arguments) {
    let written = progress::beside_bars(|| {
        let mut out = std::io::stdout().lock();
        out.write_fmt(text).and_then(|()| out.flush())
    });
    match written {
        Err(e) if e.kind() != ErrorKind::BrokenPipe => {
            let _ = FAILED.set(e);
        }
        _ => {}
    }
}

/// Whether all that was written has arrived, or nobody wanted it.
pub fn arrived() -> Result<()> {
    match FAILED.get() {
        Some(e) => Err(Error::environment("standard output", e)),
        None => Ok(()),
    }
}
