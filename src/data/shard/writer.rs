//! Writes a shard: groups are encoded independently (on any thread), then appended in order.
//! Cells stream to the file; the index (16 bytes per example) is held until the end. The header
//! goes in last, so that an unfinished file is not taken for a shard.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::format::{
    Extent, Header, PAGE_BYTES, RECORD_BYTES, Record, Section, Side, Spec, checksum, pack, short,
};
use crate::data::augment::{Variant, swaps_sides};
use crate::data::canvas::Placement;
use crate::data::grid::{Grid, Pair};
use crate::data::vocab::Kind;
use crate::{Error, Result};

/// A pair of grids in a [`GroupBuf`].
#[derive(Clone, Copy, Debug)]
pub struct StoredPair {
    cells_word: u32,
    input: (u8, u8),
    output: (u8, u8),
}

/// One group (a task with its variants) as it will stand in a shard, at relative offsets.
pub struct GroupBuf {
    spec: Spec,
    cells: Vec<u8>,
    stored: HashMap<Pair, StoredPair>,
    examples: Vec<Record>,
    puzzles: Vec<(Variant, u32)>, // variant, first example
}

impl GroupBuf {
    pub fn new(spec: Spec) -> Self {
        Self { spec, cells: vec![], stored: HashMap::new(), examples: vec![], puzzles: vec![] }
    }

    pub fn puzzles(&self) -> usize {
        self.puzzles.len()
    }

    pub fn examples(&self) -> usize {
        self.examples.len()
    }

    /// Keeps the grids of a pair; the same pair is kept once. A hidden output is kept as 0 x 0.
    pub fn store(&mut self, pair: &Pair) -> Result<StoredPair> {
        if let Some(&stored) = self.stored.get(pair) {
            return Ok(stored);
        }
        let may_hide = self.spec.kind == Kind::Arc;
        let side = |grid: &Grid| {
            let (h, w, canvas) = (grid.h(), grid.w(), self.spec.canvas);
            let values = self.spec.cell_values();
            if grid.is_empty() || h > canvas || w > canvas {
                return Err(Error::invalid(format!("grid {h} x {w} on canvas {canvas}")));
            }
            if grid.cells().iter().any(|&c| c as usize >= values) {
                let kind = self.spec.kind.name();
                return Err(Error::invalid(format!("cell value out of 0..{values} for {kind}")));
            }
            Ok((h as u8, w as u8))
        };
        let input = side(&pair.input)?;
        let output = match pair.is_hidden() && may_hide {
            true => (0, 0),
            false => side(&pair.output)?,
        };
        let stored = StoredPair { cells_word: (self.cells.len() / 4) as u32, input, output };
        pack(pair.input.cells(), &mut self.cells);
        pack(pair.output.cells(), &mut self.cells);
        self.cells.resize(self.cells.len().next_multiple_of(4), 0);
        self.stored.insert(pair.clone(), stored);
        Ok(stored)
    }

    /// Begins a puzzle; the examples that follow are its own.
    pub fn begin_puzzle(&mut self, variant: Variant) {
        self.puzzles.push((variant, self.examples.len() as u32));
    }

    /// Adds a stored pair, seen through the puzzle's variant, to the puzzle begun last.
    pub fn push(&mut self, pair: StoredPair, input: Placement, output: Placement) -> Result<()> {
        let Some(&(variant, _)) = self.puzzles.last() else {
            return Err(Error::invalid("an example needs a puzzle: call begin_puzzle first"));
        };
        let side = |(h, w): (u8, u8), at: Placement| {
            let (seen_h, seen_w) = if swaps_sides(variant.transform) { (w, h) } else { (h, w) };
            let (bottom, right) =
                (at.top as usize + seen_h as usize, at.left as usize + seen_w as usize);
            if bottom > self.spec.canvas || right > self.spec.canvas {
                let canvas = self.spec.canvas;
                return Err(Error::invalid(format!(
                    "{seen_h} x {seen_w} at {at:?} leaves {canvas}"
                )));
            }
            Ok(Side { h, w, at })
        };
        self.examples.push(Record {
            cells_word: pair.cells_word,
            puzzle: self.puzzles.len() as u32 - 1,
            input: side(pair.input, input)?,
            output: side(pair.output, output)?,
        });
        Ok(())
    }
}

/// What the manifest says of a finished shard.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Written {
    pub bytes: u64,
    /// BLAKE3 of the header page, which holds the checksum of everything else.
    pub digest: String,
    pub examples: u64,
    pub puzzles: u64,
    pub groups: u64,
}

pub struct Writer {
    path: PathBuf,
    file: BufWriter<File>,
    spec: Spec,
    cells_bytes: u64,
    cells_hash: blake3::Hasher,
    examples: Vec<u8>,
    puzzle_starts: Vec<u8>,
    puzzle_ids: Vec<u8>,
    variants: Vec<u8>,
    group_starts: Vec<u8>,
    largest_puzzle_id: u32,
}

impl Writer {
    pub fn create(path: &Path, spec: Spec) -> Result<Self> {
        spec.check().map_err(Error::Invalid)?;
        let file = File::create_new(path).map_err(Error::io(path, "create shard"))?;
        let mut writer = Self {
            path: path.to_owned(),
            file: BufWriter::with_capacity(1 << 20, file),
            spec,
            cells_bytes: 0,
            cells_hash: blake3::Hasher::new(),
            examples: vec![],
            puzzle_starts: vec![],
            puzzle_ids: vec![],
            variants: vec![],
            group_starts: vec![],
            largest_puzzle_id: 0,
        };
        writer.write(&[0; PAGE_BYTES])?;
        Ok(writer)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(Error::io(&self.path, "write shard (disk full?)"))
    }

    /// Appends a group. `puzzle_ids` has one id for each puzzle of it.
    pub fn push(&mut self, group: &GroupBuf, puzzle_ids: &[u32]) -> Result<()> {
        if puzzle_ids.len() != group.puzzles.len() || group.spec != self.spec {
            return Err(Error::invalid("group does not match the shard or its puzzle ids"));
        }
        let word = self.cells_bytes / 4;
        let example = (self.examples.len() / RECORD_BYTES) as u64;
        let puzzle = (self.puzzle_ids.len() / 4) as u64;
        let last = [
            word + group.cells.len() as u64 / 4,
            example + group.examples.len() as u64,
            puzzle + group.puzzles.len() as u64,
        ];
        if last.iter().any(|&n| n >= u32::MAX as u64) {
            return Err(Error::invalid(format!(
                "{}: more than 2^32 examples or 16 GiB of grids: use a smaller --num-aug",
                self.path.display()
            )));
        }
        let (word, example, puzzle) = (word as u32, example as u32, puzzle as u32);
        self.group_starts.extend(puzzle.to_le_bytes());
        for (&(variant, first), &id) in group.puzzles.iter().zip(puzzle_ids) {
            self.puzzle_starts.extend((example + first).to_le_bytes());
            self.puzzle_ids.extend(id.to_le_bytes());
            self.variants.extend(variant.to_bits().to_le_bytes());
            self.largest_puzzle_id = self.largest_puzzle_id.max(id);
        }
        for &record in &group.examples {
            let cells_word = record.cells_word + word;
            let moved = Record { cells_word, puzzle: record.puzzle + puzzle, ..record };
            self.examples.extend(moved.to_bytes());
        }
        self.cells_hash.update(&group.cells);
        self.cells_bytes += group.cells.len() as u64;
        self.write(&group.cells)
    }

    /// Writes the index and, last of all, the header; the file is on disk when this returns.
    pub fn finish(mut self, provenance: &str) -> Result<Written> {
        let examples = (self.examples.len() / RECORD_BYTES) as u64;
        let puzzles = (self.puzzle_ids.len() / 4) as u64;
        let groups = (self.group_starts.len() / 4) as u64;
        self.puzzle_starts.extend((examples as u32).to_le_bytes());
        self.group_starts.extend((puzzles as u32).to_le_bytes());

        let mut sections = [Extent::default(); Section::ALL.len()];
        sections[Section::Cells as usize] = Extent {
            offset: PAGE_BYTES as u64,
            bytes: self.cells_bytes,
            checksum: short(self.cells_hash.finalize()),
        };
        let mut end = PAGE_BYTES as u64 + self.cells_bytes;
        for (section, bytes) in [
            (Section::Examples, std::mem::take(&mut self.examples)),
            (Section::PuzzleStarts, std::mem::take(&mut self.puzzle_starts)),
            (Section::PuzzleIds, std::mem::take(&mut self.puzzle_ids)),
            (Section::Variants, std::mem::take(&mut self.variants)),
            (Section::GroupStarts, std::mem::take(&mut self.group_starts)),
            (Section::Provenance, provenance.as_bytes().to_vec()),
        ] {
            let offset = end.next_multiple_of(PAGE_BYTES as u64);
            self.write(&vec![0; (offset - end) as usize])?;
            self.write(&bytes)?;
            end = offset + bytes.len() as u64;
            sections[section as usize] =
                Extent { offset, bytes: bytes.len() as u64, checksum: checksum(&bytes) };
        }
        let header = Header {
            spec: self.spec,
            examples,
            puzzles,
            groups,
            largest_puzzle_id: self.largest_puzzle_id as u64,
            sections,
        };
        let page = header.to_page();
        let io = || Error::io(&self.path, "write shard (disk full?)");
        self.file.seek(SeekFrom::Start(0)).map_err(io())?;
        self.file.write_all(&page).map_err(io())?;
        self.file.flush().map_err(io())?;
        self.file.get_ref().sync_all().map_err(io())?;
        let digest = blake3::hash(&page).to_hex().to_string();
        Ok(Written { bytes: end, digest, examples, puzzles, groups })
    }
}
