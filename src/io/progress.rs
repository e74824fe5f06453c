//! Progress of long work: a bar with ETA on a terminal, plain lines with it otherwise, nothing when
//! quiet or when the work is done within two seconds.

use std::fmt::Write;
use std::io::{IsTerminal, stderr, stdout};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use super::say::say;
use super::units::compact_time;

/// Shorter work is done before anybody wonders.
const PATIENCE: Duration = Duration::from_secs(2);
/// Plain lines that say something besides the position are at least this far apart.
const NEWS_EVERY: Duration = Duration::from_secs(5);
/// After this long without a line, the position is worth one: nothing must look hung.
const SILENCE: Duration = Duration::from_secs(10);
const REDRAWS_PER_S: u8 = 8;

/// Whether long work tells how far it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Progress {
    /// Nothing is said.
    Quiet,
    /// Bars and notes on stderr.
    Shown,
}

impl Progress {
    /// A bar on stderr for `total` pieces of work.
    pub fn bar(self, what: &str, total: u64) -> Bar {
        let form = match self {
            Progress::Quiet => Form::Nothing,
            Progress::Shown if stderr().is_terminal() => {
                Form::Drawn(ProgressDrawTarget::stderr_with_hz)
            }
            Progress::Shown => Form::Lines,
        };
        Bar::new(what, 0, total, form)
    }

    /// A line on stderr.
    pub fn note(self, text: &str) {
        if self == Progress::Shown {
            say!("{text}");
        }
    }
}

/// How far some work is. It may be told from any thread; what was drawn goes when this is dropped.
pub struct Bar {
    what: String,
    /// Work that was done before.
    from: u64,
    total: u64,
    done: AtomicU64,
    started: Instant,
    form: Form,
    lines: Mutex<Lines>,
    drawn: ProgressBar,
}

enum Form {
    Nothing,
    Drawn(fn(u8) -> ProgressDrawTarget),
    Lines,
}

/// When plain lines were last due.
#[derive(Default)]
struct Lines {
    any: Option<Instant>,
    news: Option<Instant>,
}

impl Bar {
    /// Steps of a run, shown on stdout among its lines: `done` of `total` are made already.
    pub fn of_run(done: u64, total: u64) -> Self {
        let form = match stdout().is_terminal() {
            true => Form::Drawn(ProgressDrawTarget::stdout_with_hz),
            false => Form::Lines,
        };
        Self::new("step", done, total, form)
    }

    fn new(what: &str, from: u64, total: u64, form: Form) -> Self {
        let started = Instant::now();
        let style = "{prefix} {bar:24} {pos}/{len}{msg}  ETA {left}";
        let style = ProgressStyle::with_template(style).unwrap_or(ProgressStyle::default_bar());
        let left = move |state: &ProgressState, out: &mut dyn Write| {
            let _ = out.write_str(&time_left(started, from, state.pos(), total));
        };
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::hidden());
        let drawn = bar.with_style(style.with_key("left", left)).with_prefix(what.to_owned());
        Self {
            what: what.to_owned(),
            from,
            total,
            done: AtomicU64::new(from),
            started,
            form,
            lines: Mutex::default(),
            drawn,
        }
    }

    /// So much more is done.
    pub fn advance(&self, by: u64) {
        let done = self.done.fetch_add(by, Ordering::Relaxed) + by;
        if let Some(line) = self.shown_at(done) {
            say!("{line}");
        }
    }

    /// Show `done`. Where nothing can be drawn: the plain line that is due, if one is.
    pub fn shown_at(&self, done: u64) -> Option<String> {
        if self.started.elapsed() < PATIENCE || !self.draw(done) {
            return None;
        }
        // Whoever holds the lock is about to say it.
        let mut lines = self.lines.try_lock().ok()?;
        let is_due = lines.any.is_none_or(|last| last.elapsed() >= SILENCE);
        is_due.then(|| {
            lines.any = Some(Instant::now());
            let Self { what, total, .. } = self;
            let width = total.to_string().len();
            format!("{what} {done:>width$}/{total}  ETA {}", self.time_left(done))
        })
    }

    /// Show `done` with `news`. True where nothing can be drawn and a plain line with them is due.
    pub fn news_at(&self, done: u64, news: &str) -> bool {
        self.drawn.set_message(format!("  {news}"));
        if !self.draw(done) {
            return false;
        }
        let Ok(mut lines) = self.lines.try_lock() else { return false };
        let is_due = lines.news.is_none_or(|last| last.elapsed() >= NEWS_EVERY);
        if is_due {
            let now = Some(Instant::now());
            *lines = Lines { any: now, news: now };
        }
        is_due
    }

    /// A line that stays, above what is drawn. False: nothing is drawn.
    pub fn print_above(&self, text: &str) -> bool {
        let is_drawn = !self.drawn.is_hidden();
        if is_drawn {
            self.drawn.println(text);
        }
        is_drawn
    }

    /// What the rest takes at the pace so far.
    pub fn time_left(&self, done: u64) -> String {
        time_left(self.started, self.from, done, self.total)
    }

    /// True: there is nothing to draw on, only lines can tell.
    fn draw(&self, done: u64) -> bool {
        match self.form {
            Form::Nothing => false,
            Form::Lines => true,
            Form::Drawn(target) => {
                self.drawn.set_position(done);
                if self.drawn.is_hidden() && self.started.elapsed() >= PATIENCE {
                    self.drawn.set_draw_target(target(REDRAWS_PER_S));
                }
                false
            }
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.drawn.finish_and_clear();
    }
}

fn time_left(started: Instant, from: u64, done: u64, total: u64) -> String {
    let made = done.saturating_sub(from).max(1) as f64;
    compact_time(started.elapsed().as_secs_f64() * total.saturating_sub(done) as f64 / made)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(seconds: u64, form: Form) -> Bar {
        let mut bar = Bar::new("reading", 100, 200, form);
        bar.started -= Duration::from_secs(seconds);
        bar
    }

    #[test]
    fn a_line_has_position_and_time_left_and_silence_after_it() {
        let bar = after(30, Form::Lines);
        assert_eq!(bar.shown_at(125).unwrap(), "reading 125/200  ETA 1m30s");
        assert_eq!(bar.shown_at(126), None);
        bar.lines.lock().unwrap().any = Some(Instant::now() - SILENCE);
        assert_eq!(bar.shown_at(200).unwrap(), "reading 200/200  ETA 0s");
    }

    #[test]
    fn news_come_at_once_and_then_in_turn() {
        let bar = after(0, Form::Lines);
        assert!(bar.news_at(101, "loss 1") && !bar.news_at(102, "loss 1"));
        bar.lines.lock().unwrap().news = Some(Instant::now() - NEWS_EVERY);
        assert!(bar.news_at(103, "loss 1"));
    }

    #[test]
    fn quiet_or_short_work_says_nothing() {
        assert_eq!(after(1, Form::Lines).shown_at(150), None);
        let quiet = after(60, Form::Nothing);
        assert!(quiet.shown_at(150).is_none() && !quiet.news_at(150, "loss 1"));
        assert!(!quiet.print_above("a line"));
    }
}
