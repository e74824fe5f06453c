//! What a person sees of a run: a progress bar on a terminal, plain lines otherwise; all lines also
//! in `train.log`, with the seconds since the process started.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::io::out;
use crate::io::progress::Bar;
use crate::track::Sink;
use crate::{Error, Result};

/// The lines of a run, and how far it is.
pub struct Log {
    path: PathBuf,
    file: File,
    started: Instant,
    bar: Option<Bar>,
    also: Option<Sink>,
}

impl Log {
    /// Append to the file at `path`.
    pub fn open(path: &Path) -> Result<Self> {
        let file = OpenOptions::new().append(true).create(true).open(path);
        let file = file.map_err(Error::io(path, "open for appending"))?;
        Ok(Self { path: path.to_owned(), file, started: Instant::now(), bar: None, also: None })
    }

    /// From here on every line also goes to `sink`.
    pub fn also(&mut self, sink: Option<Sink>) {
        self.also = sink;
    }

    /// Steps begin: `done` of `total` are made already.
    pub fn start(&mut self, done: u64, total: u64) {
        self.bar = Some(Bar::of_run(done, total));
    }

    /// A line that matters: always shown, always in the log.
    pub fn say(&mut self, text: &str) -> Result<()> {
        if !self.bar.as_ref().is_some_and(|bar| bar.print_above(text)) {
            // Whether that works does not end a run: the log file has every line.
            out::write(format_args!("{text}\n"));
        }
        let seconds = self.started.elapsed().as_secs_f64();
        let line = format!("{seconds:10.1}s  {text}\n");
        let written = self.file.write_all(line.as_bytes());
        written.map_err(Error::io(&self.path, "write the log"))?;
        self.also.as_mut().map_or(Ok(()), |sink| sink(text))
    }

    /// A step is done and there is nothing to report about it.
    pub fn tick(&mut self, step: u64) -> Result<()> {
        let line = self.bar.as_ref().and_then(|bar| bar.shown_at(step));
        line.map_or(Ok(()), |line| self.say(&line))
    }

    /// A step is done, with `news` for the bar; `line` where plain lines tell, if one is due.
    pub fn progress(&mut self, step: u64, news: &str, line: impl FnOnce() -> String) -> Result<()> {
        let Some(bar) = &self.bar else { return self.say(&line()) };
        if !bar.news_at(step, news) {
            return Ok(());
        }
        let line = format!("{}  ETA {}", line(), bar.time_left(step));
        self.say(&line)
    }

    /// No more steps: the bar goes, lines that follow stay.
    pub fn finish(&mut self) {
        self.bar = None;
    }
}
