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
    /// Go on with a file of which only the lines that `keep` holds for were meant: from the first
    /// other line, or a last line that a kill tore, everything is cut off. So the file ends up as
    /// if the run had never been interrupted.
    pub fn open(path: &Path, keep: impl Fn(&Value) -> bool) -> Result<Self> {
        let mut options = OpenOptions::new();
        let file = options.read(true).append(true).create(true).open(path);
        let file = file.map_err(Error::io(path, "open for appending"))?;
        let bytes = bytes_to_keep(&file, keep).map_err(Error::io(path, "read"))?;
        file.set_len(bytes).map_err(Error::io(path, "cut lines after the checkpoint"))?;
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

fn bytes_to_keep(file: &File, keep: impl Fn(&Value) -> bool) -> std::io::Result<u64> {
    let mut reader = BufReader::new(file);
    let mut bytes = 0;
    let mut line = vec![];
    loop {
        line.clear();
        let n = reader.read_until(b'\n', &mut line)? as u64;
        if line.last() != Some(&b'\n') {
            return Ok(bytes);
        }
        // A line that is no JSON was put there by someone else: leave it.
        if serde_json::from_slice::<Value>(&line).is_ok_and(|value| !keep(&value)) {
            return Ok(bytes);
        }
        bytes += n;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(step: u64) -> Map<String, Value> {
        serde_json::json!({ "step": step, "lm_loss": 0.5 }).as_object().unwrap().clone()
    }

    fn up_to(step: u64) -> impl Fn(&Value) -> bool {
        move |line| line["step"].as_u64().is_some_and(|s| s <= step)
    }

    #[test]
    fn resuming_cuts_later_and_torn_lines() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.jsonl");
        let mut whole = Jsonl::open(&path, up_to(0)).unwrap();
        (1..=4).for_each(|step| whole.write(line(step)).unwrap());
        let uninterrupted = std::fs::read(&path).unwrap();
        let mut torn = uninterrupted.clone();
        torn.truncate(torn.len() - 3);
        for (bytes, step) in [(&uninterrupted, 2), (&torn, 3), (&torn, 9)] {
            std::fs::write(&path, bytes).unwrap();
            let mut again = Jsonl::open(&path, up_to(step)).unwrap();
            (step.min(3) + 1..=4).for_each(|step| again.write(line(step)).unwrap());
            assert_eq!(std::fs::read(&path).unwrap(), uninterrupted);
        }
    }

    #[test]
    fn starting_anew_empties_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.jsonl");
        Jsonl::open(&path, up_to(0)).unwrap().write(line(1)).unwrap();
        Jsonl::open(&path, up_to(0)).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"");
    }
}
