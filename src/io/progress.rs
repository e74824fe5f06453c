//! Progress of long work: a bar with ETA on a terminal, a plain line every few seconds otherwise,
//! nothing when quiet or when the work is done within two seconds.

use std::io::IsTerminal;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::say::say;

const PATIENCE: Duration = Duration::from_secs(2);
const LINE_EVERY: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Progress {
    Quiet,
    Shown,
}

pub struct Bar {
    what: String,
    total: u64,
    done: AtomicU64,
    started: Instant,
    lines_printed: AtomicU64,
    shown: bool,
    bar: ProgressBar,
}

impl Progress {
    pub fn bar(self, what: &str, total: u64) -> Bar {
        let style = "{msg} [{wide_bar}] {pos}/{len} ETA {eta}";
        let style = ProgressStyle::with_template(style).unwrap_or(ProgressStyle::default_bar());
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::hidden());
        Bar {
            what: what.to_owned(),
            total,
            done: AtomicU64::new(0),
            started: Instant::now(),
            lines_printed: AtomicU64::new(0),
            shown: self == Progress::Shown,
            bar: bar.with_style(style).with_message(what.to_owned()),
        }
    }

    pub fn note(self, text: &str) {
        if self == Progress::Shown {
            say!("{text}");
        }
    }
}

impl Bar {
    /// May be called from any thread.
    pub fn advance(&self, by: u64) {
        let done = self.done.fetch_add(by, Ordering::Relaxed) + by;
        let elapsed = self.started.elapsed();
        if !self.shown || elapsed < PATIENCE || done == 0 {
            return;
        }
        if std::io::stderr().is_terminal() {
            if self.bar.is_hidden() {
                self.bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(8));
            }
            self.bar.set_position(done);
            return;
        }
        let due = elapsed.as_secs() / LINE_EVERY.as_secs() + 1;
        if self.lines_printed.fetch_max(due, Ordering::Relaxed) < due {
            let left = elapsed.as_secs_f64() * self.total.saturating_sub(done) as f64 / done as f64;
            say!("{}: {done} of {}, about {left:.0} s left", self.what, self.total);
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
