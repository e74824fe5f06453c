//! The file of a W&B run: a 7-byte header, then records cut into chunks that never cross a block of
//! 32 KiB. Blocks count from the start of the file. Chunk: CRC-32 of type and data, length, type.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use prost::Message;

use crate::{Error, Result};

const HEADER: [u8; 7] = *b":W&B\xe1\xbe\x00";
const BLOCK_BYTES: usize = 32 * 1024;
const CHUNK_HEADER_BYTES: usize = 7;
/// A record in one chunk; else its first, middle and last ones.
const FULL: u8 = 1;
const FIRST: u8 = 2;
const MIDDLE: u8 = 3;
const LAST: u8 = 4;

pub struct Blocks {
    path: PathBuf,
    file: File,
    /// Bytes used of the current block.
    used: usize,
}

impl Blocks {
    pub fn create(path: &Path) -> Result<Self> {
        let mut file = File::create_new(path).map_err(Error::io(path, "create"))?;
        file.write_all(&HEADER).map_err(Error::io(path, "write"))?;
        Ok(Self { path: path.to_owned(), file, used: HEADER.len() })
    }

    /// Handed to the system before this returns.
    pub fn write(&mut self, record: &impl Message) -> Result<()> {
        let bytes = self.cut(&record.encode_to_vec());
        let written = self.file.write_all(&bytes);
        written.map_err(Error::io(&self.path, "write (earlier records are intact)"))
    }

    fn cut(&mut self, record: &[u8]) -> Vec<u8> {
        let mut bytes = vec![];
        let mut rest = record;
        loop {
            let left = BLOCK_BYTES - self.used;
            if left < CHUNK_HEADER_BYTES {
                bytes.extend(std::iter::repeat_n(0, left));
                self.used = 0;
                continue;
            }
            let (data, after) = rest.split_at(rest.len().min(left - CHUNK_HEADER_BYTES));
            let kind = match (rest.len() == record.len(), after.is_empty()) {
                (true, true) => FULL,
                (true, false) => FIRST,
                (false, false) => MIDDLE,
                (false, true) => LAST,
            };
            let mut crc = crc32fast::Hasher::new();
            crc.update(&[kind]);
            crc.update(data);
            bytes.extend(crc.finalize().to_le_bytes());
            bytes.extend((data.len() as u16).to_le_bytes());
            bytes.push(kind);
            bytes.extend(data);
            self.used = (self.used + CHUNK_HEADER_BYTES + data.len()) % BLOCK_BYTES;
            rest = after;
            if rest.is_empty() {
                return bytes;
            }
        }
    }
}
