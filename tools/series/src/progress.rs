// SPDX-License-Identifier: GPL-2.0
//! One line per step, with its duration: a spinner on a terminal, plain lines elsewhere.
//!
//! All of it goes to standard error, so that standard output holds results only.

use std::fmt::Display;
use std::io::IsTerminal;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use serde::{Deserialize, Serialize};

/// A step that ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepTime {
    pub name: String,
    pub seconds: f64,
}

/// The steps that ended, for the report.
static ENDED: Mutex<Vec<StepTime>> = Mutex::new(Vec::new());

/// The steps of this process that ended, in the order in which they did.
pub fn steps() -> Vec<StepTime> {
    ENDED.lock().map(|steps| steps.clone()).unwrap_or_default()
}

/// A step that is running. Dropped without [`Step::done`], it counts as failed.
pub struct Step {
    name: String,
    start: Instant,
    bar: Option<ProgressBar>,
    ended: bool,
}

/// Starts a step and says so.
pub fn step(name: impl Display) -> Step {
    let name = name.to_string();
    let bar = std::io::stderr().is_terminal().then(|| {
        let bar = ProgressBar::new_spinner().with_style(
            ProgressStyle::with_template("{spinner} {msg} {elapsed}")
                .expect("the template is constant"),
        );
        bar.set_message(name.clone());
        bar.enable_steady_tick(Duration::from_millis(120));
        bar
    });
    if bar.is_none() {
        eprintln!("series: {name} ...");
    }
    Step {
        name,
        start: Instant::now(),
        bar,
        ended: false,
    }
}

/// Says one line that is no step.
pub fn note(text: impl Display) {
    eprintln!("series: {text}");
}

impl Step {
    /// Says what the step does right now; shown on a terminal only.
    pub fn say(&self, text: impl Display) {
        if let Some(bar) = &self.bar {
            bar.set_message(format!("{}: {text}", self.name));
        }
    }

    pub fn done(self) {
        self.end("done");
    }

    /// Ends the step with a result of its own instead of "done".
    pub fn done_with(self, result: impl Display) {
        self.end(&result.to_string());
    }

    fn end(mut self, result: &str) {
        self.finish(result);
    }

    fn finish(&mut self, result: &str) {
        self.ended = true;
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        let time = self.start.elapsed();
        eprintln!("series: {}: {result} ({})", self.name, duration(time));
        if let Ok(mut ended) = ENDED.lock() {
            ended.push(StepTime {
                name: self.name.clone(),
                seconds: time.as_secs_f64(),
            });
        }
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        if !self.ended {
            self.finish("failed");
        }
    }
}

/// "0.4 s", "42 s", "7 min 05 s".
pub fn duration(d: Duration) -> String {
    let s = d.as_secs();
    if s < 10 {
        format!("{:.1} s", d.as_secs_f64())
    } else if s < 60 {
        format!("{s} s")
    } else {
        format!("{} min {:02} s", s / 60, s % 60)
    }
}
