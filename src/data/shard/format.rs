//! Layout of a shard file. All numbers are little-endian; offsets are bytes from the file's start.
//!
//! ```text
//! header page (4096 bytes)
//!      0  magic "HRMSHARD"         8  version u32          12  kind u32
//!     16  canvas u32              20  vocab u32            24  examples u64
//!     32  puzzles u64             40  groups u64           48  largest puzzle id u64
//!     56  section table: per section offset u64, bytes u64, checksum (first 16 of BLAKE3)
//!   4064  BLAKE3 of bytes 0..4064
//! sections, each on a 4096-byte boundary, in any order
//!   examples       16 bytes each, see [`Record`]
//!   cells          grids as stored, two cells per byte (even cell in the low nibble)
//!   puzzle_starts  u32 x (puzzles + 1): first example of each puzzle
//!   puzzle_ids     u32 x puzzles
//!   variants       u64 x puzzles: transform and colours, see `Variant::to_bits`
//!   group_starts   u32 x (groups + 1): first puzzle of each group
//!   provenance     JSON: builder version, options, digests of the sources
//! ```
//!
//! A task's grids are stored once; each of its variants is a puzzle that refers to the same cells
//! with its own transform, colours and placements.

use crate::data::canvas::Placement;
use crate::data::vocab::{Kind, MAX_CANVAS};

pub const MAGIC: &[u8; 8] = b"HRMSHARD";
pub const VERSION: u32 = 1;
pub const PAGE_BYTES: usize = 4096;
pub const CHECKSUM_BYTES: usize = 16;
const TABLE_AT: usize = 56;
const DIGEST_AT: usize = PAGE_BYTES - 32;

/// What every row of a split has in common.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Spec {
    pub kind: Kind,
    pub canvas: usize,
    pub vocab_size: usize,
}

impl Spec {
    pub fn arc(canvas: usize) -> Self {
        Self::of(Kind::Arc, canvas)
    }

    /// For the kinds whose vocabulary is known; `Kind::Tokens` gets the whole 4 bits.
    pub fn of(kind: Kind, canvas: usize) -> Self {
        Self { kind, canvas, vocab_size: kind.vocab_size(canvas).unwrap_or(16) }
    }

    pub fn seq_len(&self) -> usize {
        self.canvas * self.canvas
    }

    pub(super) fn cell_values(&self) -> usize {
        self.kind.cell_values(self.vocab_size)
    }

    /// `Err` says why no shard can have this spec.
    pub(crate) fn check(&self) -> Result<(), String> {
        let Self { kind, canvas, vocab_size } = *self;
        if !(1..=MAX_CANVAS).contains(&canvas) {
            return Err(format!("canvas {canvas} is not between 1 and {MAX_CANVAS}"));
        }
        let wanted = kind.vocab_size(canvas).unwrap_or(vocab_size);
        if vocab_size != wanted || !(2..=16).contains(&vocab_size) {
            let name = kind.name();
            return Err(format!("vocabulary {vocab_size} is not one of {name} on canvas {canvas}"));
        }
        Ok(())
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(usize)]
pub enum Section {
    Examples,
    Cells,
    PuzzleStarts,
    PuzzleIds,
    Variants,
    GroupStarts,
    Provenance,
}

impl Section {
    pub const ALL: [Section; 7] = [
        Section::Examples,
        Section::Cells,
        Section::PuzzleStarts,
        Section::PuzzleIds,
        Section::Variants,
        Section::GroupStarts,
        Section::Provenance,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Section::Examples => "examples",
            Section::Cells => "cells",
            Section::PuzzleStarts => "puzzle_starts",
            Section::PuzzleIds => "puzzle_ids",
            Section::Variants => "variants",
            Section::GroupStarts => "group_starts",
            Section::Provenance => "provenance",
        }
    }
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Extent {
    pub offset: u64,
    pub bytes: u64,
    pub checksum: [u8; CHECKSUM_BYTES],
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Header {
    pub spec: Spec,
    pub examples: u64,
    pub puzzles: u64,
    pub groups: u64,
    pub largest_puzzle_id: u64,
    pub sections: [Extent; Section::ALL.len()],
}

impl Header {
    pub fn to_page(&self) -> [u8; PAGE_BYTES] {
        let mut page = [0; PAGE_BYTES];
        page[..8].copy_from_slice(MAGIC);
        let small =
            [VERSION, self.spec.kind as u32, self.spec.canvas as u32, self.spec.vocab_size as u32];
        for (at, value) in (8..).step_by(4).zip(small) {
            page[at..at + 4].copy_from_slice(&value.to_le_bytes());
        }
        let counts = [self.examples, self.puzzles, self.groups, self.largest_puzzle_id];
        for (at, value) in (24..).step_by(8).zip(counts) {
            page[at..at + 8].copy_from_slice(&value.to_le_bytes());
        }
        for (at, section) in (TABLE_AT..).step_by(32).zip(&self.sections) {
            page[at..at + 8].copy_from_slice(&section.offset.to_le_bytes());
            page[at + 8..at + 16].copy_from_slice(&section.bytes.to_le_bytes());
            page[at + 16..at + 32].copy_from_slice(&section.checksum);
        }
        let digest = blake3::hash(&page[..DIGEST_AT]);
        page[DIGEST_AT..].copy_from_slice(digest.as_bytes());
        page
    }

    /// Reads and checks the header page against itself and against the file's length.
    pub fn parse(page: &[u8; PAGE_BYTES], file_bytes: u64) -> Result<Self, String> {
        if &page[..8] != MAGIC {
            return Err("is not a shard (wrong magic at byte 0)".into());
        }
        let version = u32_at(page, 8);
        if version != VERSION {
            return Err(format!("has format version {version}; this program reads {VERSION}"));
        }
        if blake3::hash(&page[..DIGEST_AT]).as_bytes()[..] != page[DIGEST_AT..] {
            return Err("header is damaged (its digest at byte 4064 does not match)".into());
        }
        let kind = u32_at(page, 12);
        let kind = Kind::from_u32(kind).ok_or_else(|| format!("header: kind {kind} is unknown"))?;
        let spec =
            Spec { kind, canvas: u32_at(page, 16) as usize, vocab_size: u32_at(page, 20) as usize };
        spec.check().map_err(|what| format!("header: {what}"))?;
        let sections = std::array::from_fn(|i| {
            let entry = &page[TABLE_AT + 32 * i..][..32];
            let mut checksum = [0; CHECKSUM_BYTES];
            checksum.copy_from_slice(&entry[16..]);
            Extent { offset: u64_at(entry, 0), bytes: u64_at(entry, 8), checksum }
        });
        let header = Self {
            spec,
            examples: u64_at(page, 24),
            puzzles: u64_at(page, 32),
            groups: u64_at(page, 40),
            largest_puzzle_id: u64_at(page, 48),
            sections,
        };
        header.check_sections(file_bytes)?;
        Ok(header)
    }

    fn check_sections(&self, file_bytes: u64) -> Result<(), String> {
        let counts = [self.examples, self.puzzles, self.groups, self.largest_puzzle_id];
        if counts.iter().any(|&n| n >= u32::MAX as u64) {
            return Err(format!("header: counts {counts:?} exceed 32 bits"));
        }
        for section in Section::ALL {
            let (Extent { offset, bytes, .. }, name) =
                (self.sections[section as usize], section.name());
            if offset % PAGE_BYTES as u64 != 0 || offset < PAGE_BYTES as u64 {
                return Err(format!("section {name} starts at byte {offset}, not on a page"));
            }
            let end = offset.saturating_add(bytes);
            if end > file_bytes {
                return Err(format!(
                    "section {name} ends at byte {end} but the file has {file_bytes} \
                     (truncated copy?)"
                ));
            }
            let want = match section {
                Section::Examples => self.examples * RECORD_BYTES as u64,
                Section::PuzzleStarts => (self.puzzles + 1) * 4,
                Section::PuzzleIds => self.puzzles * 4,
                Section::Variants => self.puzzles * 8,
                Section::GroupStarts => (self.groups + 1) * 4,
                Section::Cells | Section::Provenance => bytes,
            };
            if bytes != want {
                return Err(format!("section {name} has {bytes} bytes, its counts need {want}"));
            }
        }
        Ok(())
    }
}

pub const RECORD_BYTES: usize = 16;

/// One example: where its cells are and where its grids stand.
///
/// ```text
///  0  u32  cells, in 4-byte words from the section's start: input, then output at the next byte
///  4  u32  puzzle
///  8  u8   input: h, w as stored (before the variant), top, left on the canvas (after it)
/// 12  u8   output: the same; 0 x 0 of a hidden test input (ARC), which has no cells then
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Record {
    pub cells_word: u32,
    pub puzzle: u32,
    pub input: Side,
    pub output: Side,
}

/// Input or output: its size and its place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Side {
    pub h: u8,
    pub w: u8,
    pub at: Placement,
}

impl Side {
    #[inline]
    pub fn packed_bytes(&self) -> usize {
        (self.h as usize * self.w as usize).div_ceil(2)
    }
}

impl Record {
    /// Whether nobody says what the output is.
    #[inline]
    pub fn is_hidden(&self) -> bool {
        (self.output.h, self.output.w) == (0, 0)
    }

    pub fn to_bytes(self) -> [u8; RECORD_BYTES] {
        let mut bytes = [0; RECORD_BYTES];
        bytes[..4].copy_from_slice(&self.cells_word.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.puzzle.to_le_bytes());
        for (at, side) in [(8, self.input), (12, self.output)] {
            bytes[at..at + 4].copy_from_slice(&[side.h, side.w, side.at.top, side.at.left]);
        }
        bytes
    }

    #[inline]
    pub fn parse(bytes: &[u8; RECORD_BYTES]) -> Self {
        let side = |at: usize| Side {
            h: bytes[at],
            w: bytes[at + 1],
            at: Placement { top: bytes[at + 2], left: bytes[at + 3] },
        };
        Self {
            cells_word: u32_at(bytes, 0),
            puzzle: u32_at(bytes, 4),
            input: side(8),
            output: side(12),
        }
    }
}

pub fn checksum(bytes: &[u8]) -> [u8; CHECKSUM_BYTES] {
    short(blake3::hash(bytes))
}

pub(super) fn short(hash: blake3::Hash) -> [u8; CHECKSUM_BYTES] {
    let mut checksum = [0; CHECKSUM_BYTES];
    checksum.copy_from_slice(&hash.as_bytes()[..CHECKSUM_BYTES]);
    checksum
}

/// Two cells per byte, the even one in the low nibble.
pub fn pack(cells: &[u8], packed: &mut Vec<u8>) {
    packed.extend(cells.chunks(2).map(|c| c[0] | c.get(1).copied().unwrap_or(0) << 4));
}

/// Fills `cells` and returns the largest value met.
#[inline]
pub fn unpack(packed: &[u8], cells: &mut [u8]) -> u8 {
    let (mut low, mut high) = (0, 0);
    let odd = cells.len() % 2;
    for (pair, &byte) in cells.chunks_exact_mut(2).zip(packed) {
        (pair[0], pair[1]) = (byte & 15, byte >> 4);
        low = low.max(pair[0]);
        high = high.max(pair[1]);
    }
    if odd == 1
        && let (Some(last), Some(&byte)) = (cells.last_mut(), packed.last())
    {
        *last = byte & 15;
        low = low.max(*last);
    }
    low.max(high)
}

#[inline]
pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[inline]
pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u32_at(bytes, at) as u64 | (u32_at(bytes, at + 4) as u64) << 32
}
