//! Reading a checkpoint: structure at open, every byte against its checksum before it is used.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::format::{self, Damage, Entry, LENGTH_BYTES, MAX_HEADER_BYTES};
use super::{Meta, Named, State};
use crate::shape::Shape;
use crate::{Error, Result};

const CHUNK_BYTES: usize = 1 << 20;

/// An open checkpoint whose header is sound. Tensors are checked when read, or all by [`verify`].
///
/// [`verify`]: Reader::verify
#[derive(Debug)]
pub struct Reader {
    path: PathBuf,
    file: File,
    data_start: u64,
    entries: Vec<Entry>,
    pub meta: Meta,
}

impl Reader {
    pub fn open(path: &Path) -> Result<Self> {
        let io = |doing| Error::io(path, doing);
        let corrupt = |d: Damage| Error::corrupt(path, format!("{}: {}", d.section, d.what));
        let broken =
            |section: &str, what: String| corrupt(Damage { section: section.into(), what });
        let mut file = File::open(path).map_err(io("open the checkpoint"))?;
        let file_bytes = file.metadata().map_err(io("read the checkpoint"))?.len();
        let too_short = || broken("header", format!("file has {file_bytes} bytes (truncated?)"));
        let mut length = [0; LENGTH_BYTES];
        if file_bytes < LENGTH_BYTES as u64 {
            return Err(too_short());
        }
        file.read_exact(&mut length).map_err(io("read the checkpoint"))?;
        let header_bytes = u64::from_le_bytes(length);
        if header_bytes > MAX_HEADER_BYTES {
            return Err(broken("header", format!("claims to be {header_bytes} bytes long")));
        }
        if header_bytes > file_bytes - LENGTH_BYTES as u64 {
            return Err(too_short());
        }
        let mut header = vec![0; header_bytes as usize];
        file.read_exact(&mut header).map_err(io("read the checkpoint"))?;
        let (meta, entries) = format::decode(&header).map_err(corrupt)?;
        let meta = serde_json::from_str(&meta)
            .map_err(|e| broken("metadata", format!("of another version of hrm? {e}")))?;
        let data_start = LENGTH_BYTES as u64 + header_bytes;
        let have = file_bytes - data_start;
        // The entries are contiguous and their ends fit u64, so the last end is their sum.
        let want = entries.last().map_or(0, |e| e.start + e.bytes);
        if have < want {
            let cut = entries.iter().find(|e| e.start + e.bytes > have);
            let name = cut.map_or("", |e| &e.name);
            let what = format!("file ends after {have} of {want} bytes (truncated?)");
            return Err(broken(&format!("tensor {name}"), what));
        }
        if have > want {
            return Err(broken("end of file", format!("{} bytes too many", have - want)));
        }
        Ok(Self { path: path.to_owned(), file, data_start, entries, meta })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Check the bytes of every tensor.
    pub fn verify(&self) -> Result<()> {
        let mut chunk = vec![0; CHUNK_BYTES];
        self.entries.iter().try_for_each(|entry| {
            let mut hasher = blake3::Hasher::new();
            let mut done = 0;
            while done < entry.bytes {
                let part = (entry.bytes - done).min(CHUNK_BYTES as u64) as usize;
                self.read_at(entry.start + done, &mut chunk[..part])?;
                hasher.update(&chunk[..part]);
                done += part as u64;
            }
            self.expect_hash(entry, hasher.finalize())
        })
    }

    /// One digest of the training state: every tensor and every counter, whatever file it is in.
    /// Left out: what is collected for the next line of metrics, which only logging depends on.
    pub fn digest(&self) -> Result<blake3::Hash> {
        self.verify()?;
        let mut hasher = blake3::Hasher::new();
        let state = serde_json::to_string(&State { pending: vec![], ..self.meta.state.clone() })
            .map_err(|e| Error::corrupt(&self.path, format!("metadata: {e}")))?;
        hasher.update(state.as_bytes());
        for e in &self.entries {
            let line = format!("\n{} {} {} {}", e.name, e.dtype, e.shape, e.hash.to_hex());
            hasher.update(line.as_bytes());
        }
        Ok(hasher.finalize())
    }

    /// Fill `tensors` from the file. They must be the file's, by name, dtype and shape; otherwise
    /// the error lists what differs and nothing is changed.
    pub fn load(&self, tensors: &[Named]) -> Result<()> {
        let differences = self.differences(tensors);
        if !differences.is_empty() {
            return Err(Error::corrupt(
                &self.path,
                format!("does not fit this run:\n  {}", differences.join("\n  ")),
            ));
        }
        self.verify()?;
        self.load_part(tensors)
    }

    /// Fill `tensors`, which may be some of the file's only; each must be there, with its dtype and
    /// shape. Only their own bytes are checked.
    pub fn load_part(&self, tensors: &[Named]) -> Result<()> {
        self.expect_part(tensors)?;
        for (name, tensor) in tensors {
            tensor.upload_bytes(&self.tensor_bytes(name)?)?;
        }
        Ok(())
    }

    /// Refuses a file that has not all of `tensors`, each with its dtype and shape.
    pub fn expect_part(&self, tensors: &[Named]) -> Result<()> {
        let known = |name: &str| tensors.iter().any(|(n, _)| n == name);
        let file = self.entries.iter().filter(|e| known(&e.name));
        let differences = differences(file, tensors);
        if !differences.is_empty() {
            return Err(Error::corrupt(
                &self.path,
                format!("does not fit this model:\n  {}", differences.join("\n  ")),
            ));
        }
        Ok(())
    }

    /// What keeps `tensors` from being loaded, one line each.
    pub fn differences(&self, tensors: &[Named]) -> Vec<String> {
        differences(self.entries.iter(), tensors)
    }

    /// Shape of a tensor of the file.
    pub fn shape(&self, name: &str) -> Option<Shape> {
        self.entry(name).map(|e| e.shape)
    }

    /// Content of a tensor of the file, checked.
    pub fn tensor_bytes(&self, name: &str) -> Result<Vec<u8>> {
        let missing = || Error::corrupt(&self.path, format!("tensor {name} is missing"));
        let entry = self.entry(name).ok_or_else(missing)?;
        // The file was found to be long enough.
        let mut bytes = vec![0; entry.bytes as usize];
        self.read_at(entry.start, &mut bytes)?;
        self.expect_hash(entry, blake3::hash(&bytes))?;
        Ok(bytes)
    }

    fn entry(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().find(|e| e.name == name)
    }

    fn read_at(&self, start: u64, bytes: &mut [u8]) -> Result<()> {
        let mut file = &self.file;
        file.seek(SeekFrom::Start(self.data_start + start))
            .and_then(|_| file.read_exact(bytes))
            .map_err(Error::io(&self.path, "read the checkpoint"))
    }

    fn expect_hash(&self, entry: &Entry, got: blake3::Hash) -> Result<()> {
        if got == entry.hash {
            return Ok(());
        }
        Err(Error::corrupt(&self.path, format!("tensor {}: checksum differs", entry.name)))
    }
}

fn differences<'a>(file: impl Iterator<Item = &'a Entry>, tensors: &[Named]) -> Vec<String> {
    let file: Vec<&Entry> = file.collect();
    let mut lines = vec![];
    for (name, tensor) in tensors {
        let here = format!("{} {}", tensor.dtype(), tensor.shape());
        match file.iter().find(|e| e.name == *name) {
            Some(e) if e.dtype == tensor.dtype() && e.shape == *tensor.shape() => {}
            Some(e) => lines.push(format!("tensor {name}: {} {} -> {here}", e.dtype, e.shape)),
            None => lines.push(format!("tensor {name}: absent -> {here}")),
        }
    }
    let unknown = file.iter().filter(|e| !tensors.iter().any(|(n, _)| *n == e.name));
    lines.extend(unknown.map(|e| format!("tensor {}: {} {} -> absent", e.name, e.dtype, e.shape)));
    lines
}
