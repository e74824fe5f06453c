//! How a product is cut into blocks: a function of the shape alone, not of the card, so that
//! neither bits nor memory depend on it.

use super::Dims;
use crate::backend::gemm::Layout;

/// The outputs that one block computes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tile {
    pub rows: usize,
    pub cols: usize,
    /// Speed relative to the largest tile, by count: smaller ones read each operand more often.
    rate: f64,
}

pub const T128: Tile = Tile { rows: 128, cols: 128, rate: 1.0 };
pub const T96: Tile = Tile { rows: 96, cols: 128, rate: 0.97 };
pub const T64: Tile = Tile { rows: 64, cols: 64, rate: 0.85 };

/// Multiprocessors that the rule counts on: an RTX 4090 has 128, an H100 132.
const MULTIPROCESSORS: usize = 128;
/// Blocks of a large tile that one multiprocessor holds.
const RESIDENT_BLOCKS: usize = 2;
/// Multiprocessors with a block, averaged over a launch's waves, that are busy enough.
const GOOD_BUSY_FRAC: f64 = 0.9;
/// Shorter parts of a sum would be mostly start-up and store.
const MIN_K_PER_PART: usize = 256;
/// Parts are whole slices of shared memory.
const SLICE_K: usize = 32;
const MAX_WORKSPACE_BYTES: usize = 32 << 20;
/// f32 copies of the output that a library may use to split a sum.
const LIBRARY_PARTS: usize = 4;

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cut {
    d: Dims,
    tile: Tile,
    /// Parts of the sum over k; more than one only where the output is f32 anyway.
    pub parts: usize,
    pub k_per_part: usize,
}

impl Cut {
    /// The fewest parts that keep the multiprocessors busy.
    pub fn new(d: Dims, layout: Layout, tile: Tile) -> Self {
        let Dims { m, n, k } = d;
        let whole = Self { d, tile, parts: 1, k_per_part: k };
        let most_parts = match layout {
            Layout::Tn => (k / MIN_K_PER_PART).min(MAX_WORKSPACE_BYTES / (4 * m * n)).max(1),
            Layout::Nt | Layout::Nn => 1,
        };
        let cuts = || (1..=most_parts).map(|parts| Self { parts, ..whole });
        let enough = GOOD_BUSY_FRAC * (RESIDENT_BLOCKS * MULTIPROCESSORS) as f64;
        let good = |c: &Self| c.blocks() as f64 >= enough && c.busy_frac() >= GOOD_BUSY_FRAC;
        let busiest = || cuts().rev().max_by(|a, b| a.busy_frac().total_cmp(&b.busy_frac()));
        let parts = cuts().find(good).or_else(busiest).unwrap_or(whole).parts;
        let k_per_part = k.div_ceil(parts).next_multiple_of(SLICE_K);
        Self { parts: k.div_ceil(k_per_part), k_per_part, ..whole }
    }

    /// Blocks of one part.
    pub fn tiles(&self) -> usize {
        self.d.m.div_ceil(self.tile.rows) * self.d.n.div_ceil(self.tile.cols)
    }

    fn blocks(&self) -> usize {
        self.tiles() * self.parts
    }

    /// Blocks that all waves of the launch have room for.
    fn slots(&self) -> usize {
        self.blocks().next_multiple_of(MULTIPROCESSORS)
    }

    fn busy_frac(&self) -> f64 {
        self.blocks() as f64 / self.slots() as f64
    }

    /// Relative to the largest tile with nothing wasted on idle multiprocessors or ragged edges.
    pub fn speed(&self) -> f64 {
        let room = self.slots() * self.tile.rows * self.tile.cols;
        self.tile.rate * (self.d.m * self.d.n * self.parts) as f64 / room as f64
    }

    /// Operations of whole tiles and whole slices.
    pub fn executed_flops(&self) -> f64 {
        let outputs = self.tiles() * self.tile.rows * self.tile.cols;
        2.0 * outputs as f64 * self.d.k.next_multiple_of(SLICE_K) as f64
    }

    /// At most `MAX_WORKSPACE_BYTES`, and enough for `parts` copies of the output.
    pub fn workspace_elems(&self) -> usize {
        (self.parts.max(LIBRARY_PARTS) * self.d.m * self.d.n).min(MAX_WORKSPACE_BYTES / 4)
    }
}
