//! Reads a shard through a memory map. The header is checked at open, each section's checksum on
//! first touch, every offset before use: a corrupt file is an error that names the record, never
//! a crash or wrong data.
#![allow(unsafe_code)]

use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use memmap2::Mmap;

use super::format::{
    Header, PAGE_BYTES, RECORD_BYTES, Record, Section, Side, Spec, checksum, u32_at, u64_at, unpack,
};
use crate::data::augment::{Variant, View};
use crate::data::canvas::{self, Placement, Tokens};
use crate::data::grid::{Grid, Pair};
use crate::data::vocab::{IGNORE, Kind, MAX_CANVAS, PAD};
use crate::{Error, Result};

/// One example as the model sees it: variant applied, with its place on the canvas.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Example {
    pub pair: Pair,
    pub input_at: Placement,
    pub output_at: Placement,
    /// Index of its puzzle in the split.
    pub puzzle: usize,
    pub puzzle_id: u32,
    pub variant: Variant,
}

pub struct Shard {
    path: PathBuf,
    map: Mmap,
    header: Header,
    digest: String,
    intact: [OnceLock<bool>; Section::ALL.len()],
}

impl Shard {
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(Error::io(path, "open shard"))?;
        // SAFETY: the map is read-only and private to this value; all accesses are bounds-checked
        // slices of it. The file must not be cut short while it is open, as for every memory map.
        let map = unsafe { Mmap::map(&file) }.map_err(Error::io(path, "map shard"))?;
        let page = map.first_chunk::<PAGE_BYTES>().ok_or_else(|| {
            let what = format!("has {} bytes, a shard has at least {PAGE_BYTES}", map.len());
            Error::corrupt(path, what + " (truncated copy?)")
        })?;
        let header = Header::parse(page, map.len() as u64).map_err(|e| Error::corrupt(path, e))?;
        let digest = blake3::hash(page).to_hex().to_string();
        Ok(Self { path: path.to_owned(), header, digest, intact: Default::default(), map })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn spec(&self) -> Spec {
        self.header.spec
    }

    pub fn bytes(&self) -> usize {
        self.map.len()
    }

    pub fn digest(&self) -> &str {
        &self.digest
    }

    pub fn examples(&self) -> usize {
        self.header.examples as usize
    }

    pub fn puzzles(&self) -> usize {
        self.header.puzzles as usize
    }

    pub fn groups(&self) -> usize {
        self.header.groups as usize
    }

    pub fn largest_puzzle_id(&self) -> u32 {
        self.header.largest_puzzle_id as u32
    }

    fn corrupt(&self, what: impl Into<String>) -> Error {
        Error::corrupt(&self.path, what)
    }

    #[inline]
    fn section(&self, section: Section) -> Result<&[u8]> {
        let extent = &self.header.sections[section as usize];
        let bytes = &self.map[extent.offset as usize..(extent.offset + extent.bytes) as usize];
        let intact = &self.intact[section as usize];
        if *intact.get_or_init(|| checksum(bytes) == extent.checksum) {
            return Ok(bytes);
        }
        Err(self.corrupt(format!(
            "section {} (bytes {} to {}) is damaged: its checksum does not match; build the data \
             set again",
            section.name(),
            extent.offset,
            extent.offset + extent.bytes
        )))
    }

    #[inline]
    fn range(&self, section: Section, i: usize, end: usize) -> Result<Range<usize>> {
        let starts = self.section(section)?;
        let Some(bytes) = starts.get(4 * i..4 * i + 8) else {
            return Err(self.out_of_range(section, i, starts.len() / 4 - 1));
        };
        let range = u32_at(bytes, 0) as usize..u32_at(bytes, 4) as usize;
        if range.start > range.end || range.end > end {
            let name = section.name();
            return Err(self.corrupt(format!("{name} record {i} is {range:?}, beyond {end}")));
        }
        Ok(range)
    }

    fn out_of_range(&self, section: Section, i: usize, count: usize) -> Error {
        self.corrupt(format!("{} record {i}: there are {count}", section.name()))
    }

    /// Examples of a puzzle.
    pub fn puzzle_range(&self, puzzle: usize) -> Result<Range<usize>> {
        self.range(Section::PuzzleStarts, puzzle, self.examples())
    }

    /// Puzzles of a group.
    pub fn group_range(&self, group: usize) -> Result<Range<usize>> {
        self.range(Section::GroupStarts, group, self.puzzles())
    }

    #[inline]
    pub fn puzzle_id(&self, puzzle: usize) -> Result<u32> {
        let ids = self.section(Section::PuzzleIds)?;
        let Some(bytes) = ids.get(4 * puzzle..4 * puzzle + 4) else {
            return Err(self.out_of_range(Section::PuzzleIds, puzzle, self.puzzles()));
        };
        let (id, largest) = (u32_at(bytes, 0), self.largest_puzzle_id());
        if id > largest {
            return Err(
                self.corrupt(format!("puzzle_ids record {puzzle} is {id}, above {largest}"))
            );
        }
        Ok(id)
    }

    #[inline]
    pub fn variant(&self, puzzle: usize) -> Result<Variant> {
        let variants = self.section(Section::Variants)?;
        let Some(bytes) = variants.get(8 * puzzle..8 * puzzle + 8) else {
            return Err(self.out_of_range(Section::Variants, puzzle, self.puzzles()));
        };
        let fits = |v: &Variant| self.spec().kind == Kind::Arc || *v == Variant::IDENTITY;
        let variant = Variant::from_bits(u64_at(bytes, 0)).filter(fits);
        variant.ok_or_else(|| self.corrupt(format!("variants record {puzzle} is no variant")))
    }

    #[inline]
    fn record(&self, i: usize) -> Result<Record> {
        let records = self.section(Section::Examples)?;
        match records.get(RECORD_BYTES * i..).and_then(|r| r.first_chunk()) {
            Some(bytes) => match Record::parse(bytes) {
                record if record.input.h == 0 => Err(self.bad_example(i, "no input".into())),
                record => Ok(record),
            },
            None => Err(self.out_of_range(Section::Examples, i, self.examples())),
        }
    }

    /// Whether an example is a hidden test input.
    pub fn is_hidden(&self, i: usize) -> Result<bool> {
        Ok(self.record(i)?.is_hidden())
    }

    /// How many hidden test inputs there are, those of variants included.
    pub fn hidden_examples(&self) -> Result<usize> {
        let all = 0..self.examples();
        all.map(|i| Ok(self.is_hidden(i)? as usize)).sum()
    }

    /// A side through the variant, checked against the canvas. Only a hidden output is empty.
    #[inline]
    fn view(&self, i: usize, side: Side, transform: u8) -> Result<View> {
        let Spec { kind, canvas, .. } = self.header.spec;
        let (h, w) = (side.h as usize, side.w as usize);
        let hidden = kind == Kind::Arc && (h, w) == (0, 0);
        if ((h == 0 || w == 0) && !hidden) || h > canvas || w > canvas {
            return Err(self.bad_example(i, format!("grid {h} x {w} on canvas {canvas}")));
        }
        let view = View::new(transform, h, w);
        let (bottom, right) = (side.at.top as usize + view.h, side.at.left as usize + view.w);
        let board = kind == Kind::Arc || (h == canvas && w == canvas);
        if bottom > canvas || right > canvas || !board {
            return Err(self.bad_example(i, format!("{h} x {w} at {:?}", side.at)));
        }
        Ok(view)
    }

    /// Puzzle of an example, and its input and output as the variant shows them. No cell is read.
    pub fn outline(&self, i: usize) -> Result<(usize, [Side; 2])> {
        let record = self.record(i)?;
        let puzzle = record.puzzle as usize;
        Ok((puzzle, self.seen(i, record, self.variant(puzzle)?.transform)?))
    }

    /// Input and output of each example of a puzzle, as in [`Self::outline`].
    pub fn outlines(&self, puzzle: usize) -> Result<impl Iterator<Item = Result<[Side; 2]>>> {
        let transform = self.variant(puzzle)?.transform;
        let own = move |i| match self.record(i)? {
            record if record.puzzle as usize == puzzle => self.seen(i, record, transform),
            record => Err(self.bad_puzzle(i, record, puzzle)),
        };
        Ok(self.puzzle_range(puzzle)?.map(own))
    }

    /// What `length` makes of each example: of its puzzle's id, its input and its output.
    pub fn lengths(&self, length: impl Fn(u32, [Side; 2]) -> usize) -> Result<Vec<u16>> {
        let mut lengths = vec![0; self.examples()];
        for puzzle in 0..self.puzzles() {
            let id = self.puzzle_id(puzzle)?;
            let own = &mut lengths[self.puzzle_range(puzzle)?];
            for (to, outline) in own.iter_mut().zip(self.outlines(puzzle)?) {
                *to = length(id, outline?) as u16;
            }
        }
        Ok(lengths)
    }

    #[inline]
    fn seen(&self, i: usize, record: Record, transform: u8) -> Result<[Side; 2]> {
        let seen = |side: Side| -> Result<Side> {
            let View { h, w, .. } = self.view(i, side, transform)?;
            Ok(Side { h: h as u8, w: w as u8, ..side })
        };
        Ok([seen(record.input)?, seen(record.output)?])
    }

    /// The stored cells of one side, unpacked and checked, and the view through the variant.
    #[inline]
    fn cells<'a>(
        &self,
        i: usize,
        side: Side,
        first_byte: usize,
        variant: &Variant,
        buffer: &'a mut [u8; MAX_CELLS],
    ) -> Result<(&'a [u8], View)> {
        let view = self.view(i, side, variant.transform)?;
        let section = self.section(Section::Cells)?;
        let Some(packed) = section.get(first_byte..first_byte + side.packed_bytes()) else {
            let (end, have) = (first_byte + side.packed_bytes(), section.len());
            return Err(self.bad_example(i, format!("ends at byte {end} of {have} in cells")));
        };
        let cells = &mut buffer[..view.h * view.w];
        if unpack(packed, cells) as usize >= self.header.spec.cell_values() {
            return Err(self.bad_example(i, "a cell value is out of range".into()));
        }
        Ok((cells, view))
    }

    fn bad_example(&self, i: usize, what: String) -> Error {
        self.corrupt(format!("examples record {i}: {what}"))
    }

    fn bad_puzzle(&self, i: usize, record: Record, puzzle: usize) -> Error {
        self.bad_example(i, format!("names puzzle {}, not {puzzle}", record.puzzle))
    }

    pub fn example(&self, i: usize) -> Result<Example> {
        let record = self.record(i)?;
        let puzzle = record.puzzle as usize;
        let (puzzle_id, variant) = (self.puzzle_id(puzzle)?, self.variant(puzzle)?);
        let mut buffer = [0; MAX_CELLS];
        let mut side = |side: Side, at: usize| -> Result<Grid> {
            let (cells, _) = self.cells(i, side, at, &variant, &mut buffer)?;
            let stored = Grid::new(side.h as usize, side.w as usize, cells.to_vec())?;
            Ok(if variant == Variant::IDENTITY { stored } else { variant.apply(&stored) })
        };
        let at = record.cells_word as usize * 4;
        let input = side(record.input, at)?;
        let output = side(record.output, at + record.input.packed_bytes())?;
        Ok(Example {
            pair: Pair { input, output },
            input_at: record.input.at,
            output_at: record.output.at,
            puzzle,
            puzzle_id,
            variant,
        })
    }

    /// Writes example `i` as two rows of `seq_len` tokens and returns its puzzle id. PAD becomes
    /// `pad_label` in the label row; that of a hidden test input is all [`IGNORE`].
    pub fn decode(
        &self,
        i: usize,
        pad_label: i32,
        input: &mut [i32],
        label: &mut [i32],
    ) -> Result<u32> {
        let Spec { kind, canvas, .. } = self.header.spec;
        if input.len() != canvas * canvas || label.len() != canvas * canvas {
            let (a, b) = (input.len(), label.len());
            return Err(Error::invalid(format!("rows of {a} and {b} tokens on canvas {canvas}")));
        }
        let record = self.record(i)?;
        let puzzle = record.puzzle as usize;
        let (puzzle_id, variant) = (self.puzzle_id(puzzle)?, self.variant(puzzle)?);
        let mut buffer = [0; MAX_CELLS];
        let mut side = |side: Side, at: usize, pad: i32, row: &mut [i32]| -> Result<()> {
            let (cells, view) = self.cells(i, side, at, &variant, &mut buffer)?;
            let tokens: Tokens = match kind {
                Kind::Arc => canvas::arc_tokens(&variant),
                _ => canvas::fixed_tokens(pad),
            };
            if view.h * view.w < row.len() {
                row.fill(pad);
            }
            canvas::paint(cells, view, &tokens, side.at, canvas, row);
            if kind == Kind::Arc {
                canvas::paint_eos(view.h, view.w, side.at, canvas, row);
            }
            Ok(())
        };
        let at = record.cells_word as usize * 4;
        side(record.input, at, PAD, input)?;
        if record.is_hidden() {
            label.fill(IGNORE);
            return Ok(puzzle_id);
        }
        side(record.output, at + record.input.packed_bytes(), pad_label, label)?;
        Ok(puzzle_id)
    }

    pub fn provenance(&self) -> Result<&str> {
        let bytes = self.section(Section::Provenance)?;
        std::str::from_utf8(bytes).map_err(|e| self.corrupt(format!("provenance: {e}")))
    }

    /// Everything: all checksums, all ranges, all examples.
    pub fn verify(&self) -> Result<()> {
        for section in Section::ALL {
            self.section(section)?;
        }
        self.provenance()?;
        self.check_chain(Section::GroupStarts, self.groups(), self.puzzles())?;
        self.check_chain(Section::PuzzleStarts, self.puzzles(), self.examples())?;
        let mut rows = vec![0; 2 * self.spec().seq_len()];
        let (input, label) = rows.split_at_mut(self.spec().seq_len());
        for puzzle in 0..self.puzzles() {
            for i in self.puzzle_range(puzzle)? {
                let record = self.record(i)?;
                if record.puzzle as usize != puzzle {
                    return Err(self.bad_puzzle(i, record, puzzle));
                }
                self.decode(i, PAD, input, label)?;
            }
        }
        Ok(())
    }

    /// The ranges follow each other from 0 to `end`.
    fn check_chain(&self, section: Section, count: usize, end: usize) -> Result<()> {
        let starts = self.section(section)?;
        let (first, last) = (u32_at(starts, 0) as usize, u32_at(starts, 4 * count) as usize);
        if first != 0 || last != end {
            let name = section.name();
            return Err(self.corrupt(format!("{name} run from {first} to {last}, not to {end}")));
        }
        (0..count).try_for_each(|i| self.range(section, i, end).map(|_| ()))
    }
}

const MAX_CELLS: usize = MAX_CANVAS * MAX_CANVAS;
