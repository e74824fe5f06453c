//! Launch shapes that several ops share, and the constants of `kernels/common/*.cuh` behind them.

use crate::Result;
use crate::backend::{Arg, Cost, Device, Kernel, Launch};

/// elementwise.cuh: BLOCK
pub(super) const THREADS: usize = 256;
/// Bytes that a thread moves at once.
pub(super) const PIECE_BYTES: usize = 16;

/// row.cuh
const ROWS_PER_BLOCK: usize = 4;
const NARROW: usize = 512;
pub(super) const WARP: usize = 32;

/// column_sum.cuh
pub(super) const ROWS_PER_PART: usize = 128;
const PART_THREADS: usize = 128;
const COLUMNS: usize = 4;
pub(super) const SUM_WARPS: usize = 8;

/// mean.cuh
const MEAN_ELEMS_PER_PART: usize = 4096;

/// A kernel in f32 and bf16.
type Pair = [Kernel; 2];

/// A kernel, where it runs and what it costs; the shape comes by the method.
pub(super) struct On<'a> {
    pub device: &'a Device,
    pub kernel: &'static Kernel,
    pub cost: Cost,
}

impl On<'_> {
    /// `each_piece`: a thread for each piece of `width` out of `n` elements.
    pub fn pieces(&self, n: usize, width: usize, args: &[Arg]) -> Result<()> {
        self.blocks([n.div_ceil(width * THREADS), 1, 1], THREADS, args)
    }

    /// row.cuh: a warp for each of `n` rows.
    pub fn rows(&self, n: usize, args: &[Arg]) -> Result<()> {
        self.blocks([n.div_ceil(ROWS_PER_BLOCK), 1, 1], ROWS_PER_BLOCK * WARP, args)
    }

    /// The first stage of a column sum: a block for each part of `rows` and each stretch of the `c`
    /// columns that fits one, `layers` times.
    pub fn parts(&self, rows: usize, c: usize, layers: usize, args: &[Arg]) -> Result<()> {
        // Single columns to a thread where the vector path is closed: no more threads than that.
        let width = if c.is_multiple_of(COLUMNS) { COLUMNS } else { 1 };
        let threads = c.div_ceil(width).next_multiple_of(WARP).min(PART_THREADS);
        let grid = [parts(rows), c.div_ceil(threads * width), layers];
        self.blocks(grid, threads, args)
    }

    /// `column_sum` of `width` columns.
    pub fn column_sum(&self, width: usize, args: &[Arg]) -> Result<()> {
        self.blocks([width.div_ceil(WARP), 1, 1], SUM_WARPS * WARP, args)
    }

    /// mean.cuh: a block for each part of `n` elements.
    pub fn mean_parts(&self, n: usize, args: &[Arg]) -> Result<()> {
        self.blocks([mean_parts(n), 1, 1], THREADS, args)
    }

    pub fn one_block(&self, args: &[Arg]) -> Result<()> {
        self.blocks([1; 3], THREADS, args)
    }

    pub fn blocks(&self, grid: [usize; 3], threads: usize, args: &[Arg]) -> Result<()> {
        let &On { device, kernel, cost } = self;
        let block = [threads, 1, 1];
        device.launch(&Launch { kernel, grid, block, shared_bytes: 0, args, cost })
    }
}

/// Parts that `rows` make.
pub(super) fn parts(rows: usize) -> usize {
    rows.div_ceil(ROWS_PER_PART)
}

/// Parts that the mean over `n` elements has.
pub(super) fn mean_parts(n: usize) -> usize {
    n.div_ceil(MEAN_ELEMS_PER_PART)
}

/// Kernels for rows of `c` elements: those for narrow rows or those for wide ones.
pub(super) fn by_width(c: usize, narrow: &'static Pair, wide: &'static Pair) -> &'static Pair {
    if c <= NARROW { narrow } else { wide }
}

/// Elements of `dtype` that a thread moves at once.
pub(super) fn width(dtype: crate::dtype::DType) -> usize {
    PIECE_BYTES / dtype.size_bytes()
}
