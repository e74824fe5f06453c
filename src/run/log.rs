//! What a person sees of a run: a progress bar on a terminal, plain lines otherwise; all lines also
//! in `train.log`, with the seconds since the process started.

use std::fs::{File, OpenOptions};
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::track::Sink;
use crate::{Error, Result};

/// Plain lines are at least this far apart.
const LINE_EVERY: Duration = Duration::from_secs(5);
/// After this long without one, a step is worth a line: it must not look hung.
const SILENCE: Duration = Duration::from_secs(15);

pub struct Log {
    path: PathBuf,
    file: File,
    started: Instant,
    last_line: Option<Instant>,
    bar: Option<ProgressBar>,
    also: Option<Sink>,
}

impl Log {
    pub fn open(path: &Path) -> Result<Self> {
        let file = OpenOptions::new().append(true).create(true).open(path);
        let file = file.map_err(Error::io(path, "open for appending"))?;
        let bar = std::io::stdout().is_terminal().then(ProgressBar::hidden);
        Ok(Self {
            path: path.to_owned(),
            file,
            started: Instant::now(),
            last_line: None,
            bar,
            also: None,
        })
    }

    /// From here on every line also goes to `sink`.
    pub fn also(&mut self, sink: Option<Sink>) {
        self.also = sink;
    }

    /// Show the bar: `done` of `total` steps.
    pub fn start(&mut self, done: u64, total: u64) {
        if let Some(bar) = &self.bar {
            let style = "{bar:24} {pos}/{len}  {msg}  ETA {eta}";
            bar.set_style(
                ProgressStyle::with_template(style).unwrap_or(ProgressStyle::default_bar()),
            );
            bar.set_length(total);
            bar.set_draw_target(ProgressDrawTarget::stdout_with_hz(8));
            bar.set_position(done);
            bar.reset_eta();
        }
    }

    /// A line that matters: always shown, always in the log.
    pub fn say(&mut self, text: &str) -> Result<()> {
        match &self.bar {
            Some(bar) if !bar.is_hidden() => bar.println(text),
            // A closed pipe does not end a run: the log file has every line.
            _ => drop(writeln!(std::io::stdout(), "{text}")),
        }
        let seconds = self.started.elapsed().as_secs_f64();
        let line = format!("{seconds:10.1}s  {text}\n");
        let written = self.file.write_all(line.as_bytes());
        written.map_err(Error::io(&self.path, "write the log"))?;
        self.also.as_mut().map_or(Ok(()), |sink| sink(text))
    }

    /// A step is done and there is nothing to report about it.
    pub fn tick(&mut self, step: u64, total: u64) -> Result<()> {
        if let Some(bar) = &self.bar {
            bar.set_position(step);
            return Ok(());
        }
        if self.last_line.unwrap_or(self.started).elapsed() >= SILENCE {
            self.last_line = Some(Instant::now());
            return self.say(&format!("step {step:>6}/{total}"));
        }
        Ok(())
    }

    /// The bar on a terminal, otherwise a line if the last one is some seconds ago.
    pub fn progress(
        &mut self,
        step: u64,
        message: &str,
        line: impl FnOnce() -> String,
    ) -> Result<()> {
        if let Some(bar) = &self.bar {
            bar.set_position(step);
            bar.set_message(message.to_owned());
            return Ok(());
        }
        if self.last_line.is_none_or(|last| last.elapsed() >= LINE_EVERY) {
            self.last_line = Some(Instant::now());
            return self.say(&line());
        }
        Ok(())
    }

    /// Before a last line that should stay.
    pub fn finish(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
    }
}

/// `7s`, `3m05s`, `2h10m`
pub fn duration(seconds: f64) -> String {
    let s = seconds.round() as u64;
    match s {
        0..60 => format!("{s}s"),
        60..3600 => format!("{}m{:02}s", s / 60, s % 60),
        _ => format!("{}h{:02}m", s / 3600, s / 60 % 60),
    }
}
