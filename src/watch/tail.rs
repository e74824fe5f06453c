//! The lines of a file that another process appends to, each handed over once. The file may be
//! missing yet, may end in half a line, and may be cut or replaced: a run that goes on from a
//! checkpoint cuts its metrics. What was read is then void, and reading begins anew.

use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// Read at a time.
const PIECE_BYTES: usize = 1 << 16;
/// No line of ours is longer: what is gets thrown away.
const LINE_BYTES: usize = 1 << 20;
/// The end of what was read, by which a file is known again.
const MARK_BYTES: usize = 256;

pub struct Tail {
    path: PathBuf,
    /// Bytes read.
    at: u64,
    /// A line whose end is not there yet.
    half: Vec<u8>,
    /// The last bytes read.
    mark: Vec<u8>,
}

/// What is handed over.
pub enum Piece<'a> {
    /// Everything handed over before is void.
    Anew,
    Line(&'a str),
}

impl Tail {
    pub fn new(path: PathBuf) -> Self {
        Self { path, at: 0, half: vec![], mark: vec![] }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Hands over the lines that were completed since the last call.
    pub fn read(&mut self, mut each: impl FnMut(Piece)) -> Result<()> {
        let mut file = match File::open(&self.path) {
            Ok(file) => file,
            Err(e) if e.kind() == ErrorKind::NotFound => {
                if self.at > 0 {
                    *self = Self::new(std::mem::take(&mut self.path));
                    each(Piece::Anew);
                }
                return Ok(());
            }
            Err(e) => return Err(Error::io(&self.path, "read")(e)),
        };
        let read = self.read_from(&mut file, &mut each);
        read.map_err(Error::io(&self.path, "read"))
    }

    fn read_from(&mut self, file: &mut File, each: &mut impl FnMut(Piece)) -> std::io::Result<()> {
        if !self.is_known(file)? {
            *self = Self::new(std::mem::take(&mut self.path));
            each(Piece::Anew);
        }
        file.seek(SeekFrom::Start(self.at))?;
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            let n = file.read(&mut piece)?;
            if n == 0 {
                return Ok(());
            }
            self.take(&piece[..n], each);
        }
    }

    /// Whether the file still begins with what was read: judged by its last bytes.
    fn is_known(&self, file: &mut File) -> std::io::Result<bool> {
        let mut now = vec![0; self.mark.len()];
        file.seek(SeekFrom::Start(self.at - self.mark.len() as u64))?;
        match file.read_exact(&mut now) {
            Ok(()) => Ok(now == self.mark),
            Err(e) if e.kind() == ErrorKind::UnexpectedEof => Ok(false),
            Err(e) => Err(e),
        }
    }

    fn take(&mut self, bytes: &[u8], each: &mut impl FnMut(Piece)) {
        self.at += bytes.len() as u64;
        self.mark.extend(&bytes[bytes.len().saturating_sub(MARK_BYTES)..]);
        self.mark.drain(..self.mark.len().saturating_sub(MARK_BYTES));
        for part in bytes.split_inclusive(|&b| b == b'\n') {
            if self.half.len() + part.len() <= LINE_BYTES {
                self.half.extend(part);
            }
            if part.ends_with(b"\n") {
                each(Piece::Line(String::from_utf8_lossy(&self.half).trim_end_matches('\n')));
                self.half.clear();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// Lines in order; `-` where what came before is void.
    fn read(tail: &mut Tail) -> Vec<String> {
        let mut all = vec![];
        let each = |piece: Piece| {
            all.push(match piece {
                Piece::Anew => "-".to_owned(),
                Piece::Line(line) => line.to_owned(),
            })
        };
        tail.read(each).unwrap();
        all
    }

    #[test]
    fn lines_come_once_and_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut tail = Tail::new(path.clone());
        assert_eq!(read(&mut tail), [""; 0]);
        fs::write(&path, "one\ntw").unwrap();
        assert_eq!(read(&mut tail), ["one"]);
        assert_eq!(read(&mut tail), [""; 0]);
        fs::write(&path, b"one\ntwo\n\xff\n").unwrap();
        assert_eq!(read(&mut tail), ["two", "\u{fffd}"]);
    }

    #[test]
    fn a_cut_or_replaced_file_is_read_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut tail = Tail::new(path.clone());
        fs::write(&path, "1\n2\n3\n").unwrap();
        assert_eq!(read(&mut tail), ["1", "2", "3"]);
        fs::write(&path, "1\n").unwrap();
        assert_eq!(read(&mut tail), ["-", "1"]);
        // As long as before or longer, but with another end.
        fs::write(&path, "4\n5\n6\n").unwrap();
        assert_eq!(read(&mut tail), ["-", "4", "5", "6"]);
        fs::remove_file(&path).unwrap();
        assert_eq!(read(&mut tail), ["-"]);
        assert_eq!(read(&mut tail), [""; 0]);
    }

    #[test]
    fn a_line_without_end_takes_no_memory() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        fs::write(&path, "x".repeat(5 * LINE_BYTES) + "\nlast\n").unwrap();
        let mut tail = Tail::new(path);
        let lines = read(&mut tail);
        assert_eq!(lines.last().unwrap(), "last");
        assert!(lines[0].len() <= LINE_BYTES && tail.half.capacity() <= 2 * LINE_BYTES);
    }
}
