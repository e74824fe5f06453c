//! Per word: the last accesses of kernels. Per 32-byte sector: the last instruction that touched it.

use super::Mapping;
use super::touched::Touched;
use crate::check::race::Words;
use std::io;
use std::ops::Range;

pub const SECTOR_BYTES: usize = 32;

pub struct Trace {
    written: Mapping<u64>,
    read: Mapping<u64>,
    read_too: Mapping<u64>,
    pub sector_read: Mapping<u64>,
    pub sector_written: Mapping<u64>,
    /// Of the launch in progress.
    pub reads: Touched,
    pub writes: Touched,
    /// The present moment of [`crate::check::clock`], kept from launch to launch.
    pub now: u64,
    /// Number of the last memory instruction of a warp.
    pub serial: u64,
}

impl Trace {
    pub fn new(bytes: usize) -> io::Result<Self> {
        Ok(Self {
            written: Mapping::new(bytes.div_ceil(4))?,
            read: Mapping::new(bytes.div_ceil(4))?,
            read_too: Mapping::new(bytes.div_ceil(4))?,
            sector_read: Mapping::new(bytes.div_ceil(SECTOR_BYTES))?,
            sector_written: Mapping::new(bytes.div_ceil(SECTOR_BYTES))?,
            reads: Touched::new(bytes)?,
            writes: Touched::new(bytes)?,
            now: 1,
            serial: 0,
        })
    }

    pub fn words(&mut self) -> Words<'_> {
        Words {
            written: &mut self.written,
            read: &mut self.read,
            read_too: &mut self.read_too,
            of_launch: true,
        }
    }

    /// Gives the memory of a freed range of bytes back.
    pub fn discard(&mut self, range: Range<usize>) {
        let words = range.start / 4..range.end / 4;
        for stamps in [&mut self.written, &mut self.read, &mut self.read_too] {
            stamps.discard(words.clone());
        }
    }
}
