// SPDX-License-Identifier: GPL-2.0
//! One line per step, with its duration: on a terminal a spinner, and a bar where the past tells how long it takes; plain
//! lines elsewhere.
//!
//! All of it goes to standard error, so that standard output holds results only.

use std::fmt::{Display, Write};
use std::io::IsTerminal;
use std::sync::{LazyLock, Mutex, OnceLock};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressState, ProgressStyle};
use serde::{Deserialize, Serialize};

use crate::history;

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
    kind: String,
    start: Instant,
    bar: Option<ProgressBar>,
    ended: bool,
}

/// Starts a step and says so.
pub fn step(name: impl Display) -> Step {
    let name = name.to_string();
    step_of(name.clone(), name)
}

/// A step whose name says more than what it has in common with those that took about as long.
pub fn step_of(kind: impl Display, name: impl Display) -> Step {
    let (name, kind) = (name.to_string(), kind.to_string());
    let bar = std::io::stderr()
        .is_terminal()
        .then(|| bar(&name, history::usual(&kind)));
    if bar.is_none() {
        note(format_args!("{name} ..."));
    }
    Step {
        name,
        kind,
        start: Instant::now(),
        bar,
        ended: false,
    }
}

fn bar(name: &str, usual: Option<Duration>) -> ProgressBar {
    let template = "{spinner} {msg} {elapsed}{past}{whole}";
    let past = move |state: &ProgressState, out: &mut dyn Write| {
        if let Some(usual) = usual {
            let _ = out.write_str(&past(state.elapsed(), usual));
        }
    };
    let style = ProgressStyle::with_template(template)
        .expect("the template is constant")
        .with_key("past", past)
        .with_key("whole", |_: &ProgressState, out: &mut dyn Write| {
            if let Some((start, usual)) = WHOLE.get() {
                let _ = out.write_str(&whole(start.elapsed(), *usual));
            }
        });
    let bar = BARS.add(ProgressBar::new_spinner().with_style(style));
    bar.set_message(name.to_owned());
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}

/// The bars of all steps that run at the same time.
static BARS: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// Writes something while no bar is drawn.
pub fn beside_bars<T>(write: impl FnOnce() -> T) -> T {
    BARS.suspend(write)
}

/// How much of the usual time is over. A step that takes longer has no end that anybody could tell.
fn past(elapsed: Duration, usual: Duration) -> String {
    const WIDTH: usize = 20;
    match usual.checked_sub(elapsed).filter(|left| !left.is_zero()) {
        Some(left) => {
            let done = (WIDTH as f64 * elapsed.as_secs_f64() / usual.as_secs_f64()) as usize;
            let bar = "#".repeat(done) + &".".repeat(WIDTH - done);
            format!(" [{bar}] about {} left", duration(left))
        }
        None => format!(" (usually {})", duration(usual)),
    }
}

/// When the command started, and what it usually takes.
static WHOLE: OnceLock<(Instant, Duration)> = OnceLock::new();

/// How far the command is, behind what its step says.
fn whole(elapsed: Duration, usual: Duration) -> String {
    match usual.checked_sub(elapsed).filter(|left| !left.is_zero()) {
        Some(left) => format!(", {} left of all", duration(left)),
        None => format!(", {} in all", duration(elapsed)),
    }
}

/// Says what runs of this kind took, if there were any. From here on, each step says what is left of the whole.
pub fn expect(kind: &str) {
    if let Some(usual) = history::usual(kind) {
        // A process is one run.
        let _ = WHOLE.set((Instant::now(), usual));
    }
    let times = history::of(kind);
    if let (Some(least), Some(most)) = (times.iter().min(), times.iter().max()) {
        let (least, most) = (duration(*least), duration(*most));
        let times = if least == most {
            least
        } else {
            format!("{least} to {most}")
        };
        note(format_args!("the last runs of this kind took {times}"));
    }
}

/// Says one line that is no step.
pub fn note(text: impl Display) {
    beside_bars(|| eprintln!("series: {text}"));
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
        history::add(&self.kind, self.start.elapsed());
        self.finish(result);
    }

    fn finish(&mut self, result: &str) {
        self.ended = true;
        let time = self.start.elapsed();
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        note(format_args!("{}: {result} ({})", self.name, duration(time)));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_ends_where_the_past_does() {
        let at = |elapsed| past(Duration::from_secs(elapsed), Duration::from_secs(100));
        assert_eq!(at(0), " [....................] about 1 min 40 s left");
        assert_eq!(at(50), " [##########..........] about 50 s left");
        assert_eq!(at(99), " [###################.] about 1.0 s left");
        assert_eq!(at(100), " (usually 1 min 40 s)");
        assert_eq!(at(300), " (usually 1 min 40 s)");
    }

    #[test]
    fn the_whole_has_an_end_too() {
        let at = |elapsed| whole(Duration::from_secs(elapsed), Duration::from_secs(600));
        assert_eq!(at(60), ", 9 min 00 s left of all");
        assert_eq!(at(600), ", 10 min 00 s in all");
    }

    #[test]
    fn durations() {
        for (millis, said) in [
            (400, "0.4 s"),
            (9_999, "10.0 s"),
            (42_000, "42 s"),
            (425_000, "7 min 05 s"),
        ] {
            assert_eq!(duration(Duration::from_millis(millis)), said);
        }
    }
}
