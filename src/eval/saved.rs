//! Answers on disk while an evaluation runs, so that an interrupted one goes on where it stopped.
//!
//! ```text
//! line 1   what is evaluated: a digest of model, data, examples and options
//! line n   crc32 (8 hexadecimal digits), space, what one segment finished, as JSON
//! ```
//!
//! A line counts if it is whole and its checksum holds; what follows the first that is not is cut
//! off and answered again. Another digest starts anew. Floats are kept as their bits.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};

use super::finished::{Answer, Finished, Tried};
use crate::io::file;
use crate::ops::act_halt::metric;
use crate::{Error, Result};

pub struct Saved {
    path: PathBuf,
    file: File,
}

/// What is on disk of one segment, and the seconds that had passed when it was finished.
#[derive(Serialize, Deserialize)]
struct Line {
    rows: Vec<SavedRow>,
    wall_s: u64,
}

#[derive(Serialize, Deserialize)]
struct SavedRow {
    row: usize,
    tokens: String,
    q: [u32; 2],
    halt_step: u32,
    steps: u32,
    asked_again: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tried: Option<Tried>,
    metrics: [u64; metric::LEN],
}

impl Saved {
    /// What is there for `key`, in the order in which it was finished, with the seconds spent so
    /// far.
    pub(super) fn open(path: &Path, key: &str) -> Result<(Self, Vec<Finished>, f64)> {
        let io = |doing| Error::io(path, doing);
        if let Some(dir) = path.parent() {
            file::create_dir(dir)?;
        }
        let bytes = match fs::read(path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(io("read")(e)),
            read => read.unwrap_or_default(),
        };
        let head = format!("{key}\n");
        let mut kept = 0;
        let (mut finished, mut wall_s) = (vec![], 0.0);
        if bytes.starts_with(head.as_bytes()) {
            kept = head.len();
            for line in bytes[kept..].split_inclusive(|&b| b == b'\n') {
                let Some((done, at_s)) = decode(line) else { break };
                (kept, wall_s) = (kept + line.len(), at_s);
                finished.push(done);
            }
        }
        let open = OpenOptions::new().create(true).append(true).open(path);
        let mut file = open.map_err(io("open"))?;
        file.set_len(kept as u64).map_err(io("cut off what is damaged"))?;
        if kept == 0 {
            file.write_all(head.as_bytes()).map_err(io("write (disk full?)"))?;
        }
        Ok((Self { path: path.to_owned(), file }, finished, wall_s))
    }

    pub(super) fn push(&mut self, done: &Finished, wall_s: f64) -> Result<()> {
        let line = encode(done, wall_s)?;
        self.file.write_all(line.as_bytes()).map_err(Error::io(&self.path, "write (disk full?)"))
    }
}

/// The evaluation is complete and what came of it is written.
pub fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::io(path, "remove the saved answers")(e))
        }
        _ => Ok(()),
    }
}

fn encode(done: &Finished, wall_s: f64) -> Result<String> {
    let row = |(row, answer): &(usize, Answer)| SavedRow {
        row: *row,
        tokens: BASE64.encode(&answer.tokens),
        q: answer.q.map(f32::to_bits),
        halt_step: answer.halt_step,
        steps: answer.steps,
        asked_again: answer.asked_again,
        tried: answer.tried.clone(),
        metrics: answer.metrics.map(f64::to_bits),
    };
    let line = Line { rows: done.iter().map(row).collect(), wall_s: wall_s.to_bits() };
    let json = serde_json::to_string(&line).map_err(|e| Error::invalid(e.to_string()))?;
    Ok(format!("{:08x} {json}\n", crc32fast::hash(json.as_bytes())))
}

fn decode(line: &[u8]) -> Option<(Finished, f64)> {
    let line = std::str::from_utf8(line).ok()?.strip_suffix('\n')?;
    let (crc, json) = line.split_once(' ')?;
    if crc != format!("{:08x}", crc32fast::hash(json.as_bytes())) {
        return None;
    }
    let line: Line = serde_json::from_str(json).ok()?;
    let row = |saved: SavedRow| {
        let tokens = BASE64.decode(saved.tokens).ok()?;
        let SavedRow { row, halt_step, steps, asked_again, tried, .. } = saved;
        let (q, metrics) = (saved.q.map(f32::from_bits), saved.metrics.map(f64::from_bits));
        Some((row, Answer { tokens, q, halt_step, steps, asked_again, tried, metrics }))
    };
    let done = line.rows.into_iter().map(row).collect::<Option<_>>()?;
    Some((done, f64::from_bits(line.wall_s)))
}

#[cfg(test)]
mod tests {
    use super::super::finished::Before;
    use super::*;

    fn done(row: usize) -> Finished {
        let q = [0.1 + row as f32, f32::MIN_POSITIVE];
        let (tokens, asked_again) = (vec![row as u8; 9], row % 2 == 1);
        let tried = (row == 2).then(|| {
            let before = Before { rollout: 1, tokens: vec![7; 9], q: [0.3, f32::MIN_POSITIVE] };
            Tried { rollouts: 8, best: 5, before: vec![before], obeys: Some(3) }
        });
        let metrics = [0.1 * row as f64; metric::LEN];
        let answer = Answer { tokens, q, halt_step: 2, steps: 4, asked_again, tried, metrics };
        vec![(row, answer)]
    }

    fn found(path: &Path, key: &str) -> Vec<Finished> {
        Saved::open(path, key).unwrap().1
    }

    #[test]
    fn what_was_pushed_comes_back_to_the_bit_and_another_key_starts_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/saved");
        let (mut saved, none, _) = Saved::open(&path, "k").unwrap();
        assert!(none.is_empty());
        (0..3).for_each(|row| saved.push(&done(row), row as f64 / 3.0).unwrap());
        assert_eq!(found(&path, "k"), [done(0), done(1), done(2)]);
        assert_eq!(Saved::open(&path, "k").unwrap().2, 2.0 / 3.0);
        assert!(found(&path, "other").is_empty() && found(&path, "k").is_empty());
    }

    #[test]
    fn whatever_is_damaged_is_cut_off_and_the_lines_before_it_stay() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("saved");
        let (mut saved, ..) = Saved::open(&path, "key").unwrap();
        (0..3).for_each(|row| saved.push(&done(row), 1.0).unwrap());
        let whole = fs::read(&path).unwrap();
        let ends: Vec<usize> =
            whole.iter().enumerate().filter(|(_, b)| **b == b'\n').map(|(i, _)| i + 1).collect();
        for at in 0..whole.len() {
            let lines_before = |i: usize| ends[1..].iter().filter(|end| **end <= i).count();
            let mut flipped = whole.clone();
            flipped[at] ^= 4;
            fs::write(&path, flipped).unwrap();
            // A damaged key is another key.
            let kept = if at < ends[0] { 0 } else { lines_before(at) };
            assert_eq!(found(&path, "key").len(), kept, "bit flipped in byte {at}");
            fs::write(&path, &whole[..at]).unwrap();
            assert_eq!(found(&path, "key").len(), lines_before(at), "cut at byte {at}");
        }
    }
}
