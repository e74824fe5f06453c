//! `metrics.jsonl`: one JSON object per line, in order of steps, appended as the run goes.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::{Error, Result};

pub struct Jsonl {
    path: PathBuf,
    file: File,
}

impl Jsonl {
    /// Go on after `step`: later lines, and a last line that a kill tore, are cut off, so that the
    /// file ends up as if the run had never been interrupted.
    pub fn open(path: &Path, step: u64) -> Result<Self> {
        let mut options = OpenOptions::new();
        let file = options.read(true).append(true).create(true).open(path);
        let file = file.map_err(Error::io(path, "open for appending"))?;
        let keep = bytes_up_to(&file, step).map_err(Error::io(path, "read"))?;
        file.set_len(keep).map_err(Error::io(path, "cut lines after the checkpoint"))?;
        Ok(Self { path: path.to_owned(), file })
    }

    /// One line, handed to the system before this returns.
    pub fn write(&mut self, line: Map<String, Value>) -> Result<()> {
        let text = Value::Object(line).to_string() + "\n";
        let written = self.file.write_all(text.as_bytes());
        written.map_err(Error::io(&self.path, "write (earlier lines are intact)"))
    }

    /// To the disk itself: before a checkpoint that relies on these lines appears.
    pub fn sync(&self) -> Result<()> {
        self.file.sync_data().map_err(Error::io(&self.path, "write to disk"))
    }
}

fn bytes_up_to(file: &File, step: u64) -> std::io::Result<u64> {
    let mut reader = BufReader::new(file);
    let mut keep = 0;
    let mut line = vec![];
    loop {
        line.clear();
        let n = reader.read_until(b'\n', &mut line)? as u64;
        if line.last() != Some(&b'\n') {
            return Ok(keep);
        }
        // A line that is no JSON was put there by someone else: leave it.
        let value: Option<Value> = serde_json::from_slice(&line).ok();
        let at = value.and_then(|v| v.get("step")?.as_u64());
        if at.is_some_and(|at| at > step) {
            return Ok(keep);
        }
        keep += n;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(step: u64) -> Map<String, Value> {
        serde_json::json!({ "step": step, "lm_loss": 0.5 }).as_object().unwrap().clone()
    }

    #[test]
    fn resuming_cuts_later_and_torn_lines() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.jsonl");
        let mut whole = Jsonl::open(&path, 0).unwrap();
        (1..=4).for_each(|step| whole.write(line(step)).unwrap());
        let uninterrupted = std::fs::read(&path).unwrap();
        let mut torn = uninterrupted.clone();
        torn.truncate(torn.len() - 3);
        for (bytes, step) in [(&uninterrupted, 2), (&torn, 3), (&torn, 9)] {
            std::fs::write(&path, bytes).unwrap();
            let mut again = Jsonl::open(&path, step).unwrap();
            (step.min(3) + 1..=4).for_each(|step| again.write(line(step)).unwrap());
            assert_eq!(std::fs::read(&path).unwrap(), uninterrupted);
        }
    }

    #[test]
    fn starting_anew_empties_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.jsonl");
        Jsonl::open(&path, 0).unwrap().write(line(1)).unwrap();
        Jsonl::open(&path, 0).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"");
    }
}
