//! Launches of `kernels/common/conv.cuh`, which `conv2d` and `conv_transpose2d` share.

use super::launch::On;
use super::traffic;
use crate::Result;
use crate::backend::cpu::conv::Geometry;
use crate::backend::{Arg, Cost, Kernel, Mode, Param, Purpose};
use crate::dtype::DType;
use crate::tensor::Tensor;

/// conv.cuh
const THREADS: usize = 128;
const CHANNEL_THREADS: usize = 256;
const SLICE: usize = 16;

/// The outputs of a block.
struct Tile {
    rows: usize,
    cols: usize,
}

/// For many rows and for few, as in [`Kernels`].
const TILES: [Tile; 2] = [Tile { rows: 64, cols: 64 }, Tile { rows: 16, cols: 128 }];

/// Up to which the tile for few rows has less to throw away.
const FEW_ROWS: usize = 32;

/// Blocks that keep a card busy; parts of a sum are made until there are as many.
const ENOUGH_BLOCKS: usize = 512;
/// Shorter parts would be mostly start-up and store.
const MIN_POSITIONS_PER_PART: usize = 256;
const MAX_WORKSPACE_BYTES: usize = 32 << 20;
/// Values that a block sums for a bias's gradient, about.
const VALUES_PER_BLOCK: usize = 16 << 10;

/// The kernels of one op; pairs are those of [`TILES`].
pub(super) struct Kernels {
    pub correlate: [Kernel; 2],
    pub spread: [Kernel; 2],
    pub weights: [Kernel; 2],
    pub channel_part: Kernel,
    pub sum: Kernel,
}

/// `CONV_KERNELS` of conv.cuh.
macro_rules! conv_kernels {
    ($op:literal, $correlate:literal, $spread:literal) => {{
        use crate::backend::Kernel;
        use crate::ops::conv_launch::{CHANNEL_PART, Kernels, PRODUCT, SUM, WEIGHTS};
        macro_rules! named {
            ($name:expr, $params:expr) => {
                Kernel { op: $op, name: concat!($op, "_", $name), params: $params }
            };
        }
        Kernels {
            correlate: [
                named!(concat!($correlate, "_t64"), PRODUCT),
                named!(concat!($correlate, "_t16"), PRODUCT),
            ],
            spread: [
                named!(concat!($spread, "_t64"), PRODUCT),
                named!(concat!($spread, "_t16"), PRODUCT),
            ],
            weights: [named!("bwd_dw_t64", WEIGHTS), named!("bwd_dw_t16", WEIGHTS)],
            channel_part: named!("bwd_db", CHANNEL_PART),
            sum: named!("sum", SUM),
        }
    }};
}
pub(super) use conv_kernels;

use Param::{In, Out, U32};

#[rustfmt::skip]
pub(super) const PRODUCT: &[Param] = &[
    Out, In, In, In, U32, U32, U32, U32, U32, U32, U32, U32, U32, U32, U32, U32,
];
#[rustfmt::skip]
pub(super) const WEIGHTS: &[Param] = &[
    Out, In, In, U32, U32, U32, U32, U32, U32, U32, U32, U32, U32, U32, U32, U32,
];
pub(super) const CHANNEL_PART: &[Param] = &[Out, In, U32, U32, U32, U32];
pub(super) const SUM: &[Param] = &[Out, In, U32, U32, U32];

/// Which of [`TILES`].
fn tile_for(rows: usize) -> usize {
    (rows <= FEW_ROWS) as usize
}

impl Geometry {
    /// CONV_PARAMS of conv.cuh.
    fn args<'a>(&self) -> [Arg<'a>; 11] {
        let &Geometry { batch, channels, height, width, maps, kernel: [kh, kw], .. } = self;
        let (map_height, map_width) = (self.map_height(), self.map_width());
        [
            batch,
            channels,
            height,
            width,
            maps,
            kh,
            kw,
            self.stride,
            self.padding,
            map_height,
            map_width,
        ]
        .map(Arg::from)
    }
}

/// maps (+)= images correlated with w (+ bias).
pub(super) fn correlate(
    kernels: &'static Kernels,
    cost: Cost,
    g: &Geometry,
    [images, w]: [&Tensor; 2],
    bias: Option<&Tensor>,
    mode: Mode,
    maps: &Tensor,
) -> Result<()> {
    let tile = tile_for(g.maps);
    let grid = grid(&TILES[tile], g.maps, g.batch * g.positions(), 1);
    let args = args(&[maps.into(), images.into(), w.into(), bias.into()], g, &[mode.into()]);
    On { device: maps.device(), kernel: &kernels.correlate[tile], cost }
        .blocks(grid, THREADS, &args)
}

/// images (+)= maps spread by w (+ bias).
pub(super) fn spread(
    kernels: &'static Kernels,
    cost: Cost,
    g: &Geometry,
    [maps, w]: [&Tensor; 2],
    bias: Option<&Tensor>,
    mode: Mode,
    images: &Tensor,
) -> Result<()> {
    let tile = tile_for(g.channels);
    // Of the largest of stride * stride kinds of pixels.
    let pixels = g.height.div_ceil(g.stride) * g.width.div_ceil(g.stride);
    let grid = grid(&TILES[tile], g.channels, g.batch * pixels, g.stride * g.stride);
    let args = args(&[images.into(), maps.into(), w.into(), bias.into()], g, &[mode.into()]);
    On { device: images.device(), kernel: &kernels.spread[tile], cost }.blocks(grid, THREADS, &args)
}

/// dw (+)= the products of maps with what each tap saw.
pub(super) fn weights(
    kernels: &'static Kernels,
    cost: Cost,
    g: &Geometry,
    [images, maps]: [&Tensor; 2],
    dw: &Tensor,
    mode: Mode,
) -> Result<()> {
    let tile = tile_for(g.maps);
    let [tiles_across, tiles_down, _] = grid(&TILES[tile], g.maps, g.depth(), 1);
    let (positions, elems) = (g.batch * g.positions(), g.weight_elems());
    let most = (positions / MIN_POSITIONS_PER_PART).min(MAX_WORKSPACE_BYTES / (4 * elems)).max(1);
    let parts = ENOUGH_BLOCKS.div_ceil(tiles_across * tiles_down).min(most);
    let per_part = positions.div_ceil(parts).next_multiple_of(SLICE);
    let parts = positions.div_ceil(per_part);
    let run = |cost: Cost, to: &Tensor, mode: Mode| {
        let rest = [per_part.into(), mode.into()];
        let args = args(&[to.into(), images.into(), maps.into()], g, &rest);
        On { device: dw.device(), kernel: &kernels.weights[tile], cost }.blocks(
            [tiles_across, tiles_down, parts],
            THREADS,
            &args,
        )
    };
    if parts == 1 {
        return run(cost, dw, mode);
    }
    let workspace = Tensor::uninit(dw.device(), DType::F32, [parts, elems], Purpose::Workspace)?;
    run(cost.and_bytes(workspace.bytes()), &workspace, Mode::Set)?;
    sum(kernels, &workspace, dw, mode)
}

/// db[c] (+)= sum of dy (B, C, ..) over all but c.
pub(super) fn channel_sum(
    kernels: &'static Kernels,
    cost: Cost,
    dy: &Tensor,
    db: &Tensor,
    mode: Mode,
) -> Result<()> {
    let (batch, channels) = (dy.shape().dims()[0], db.elems());
    let places = dy.elems() / (batch * channels);
    let images = VALUES_PER_BLOCK.div_ceil(places).min(batch);
    let parts = batch.div_ceil(images);
    let workspace = Tensor::uninit(dy.device(), DType::F32, [parts, channels], Purpose::Workspace)?;
    let cost = cost.and_bytes(workspace.bytes());
    let sizes = [batch, channels, places, images].map(Arg::from);
    let args = [&[(&workspace).into(), dy.into()], &sizes[..]].concat();
    On { device: dy.device(), kernel: &kernels.channel_part, cost }.blocks(
        [channels, parts, 1],
        CHANNEL_THREADS,
        &args,
    )?;
    sum(kernels, &workspace, db, mode)
}

/// out (+)= the rows of `parts`, in order.
fn sum(kernels: &'static Kernels, parts: &Tensor, out: &Tensor, mode: Mode) -> Result<()> {
    let [count, width] = parts.dims("conv parts (count, width)")?;
    let cost = traffic(parts.bytes());
    let args = [out.into(), parts.into(), count.into(), width.into(), mode.into()];
    On { device: out.device(), kernel: &kernels.sum, cost }.column_sum(width, &args)
}

fn grid(tile: &Tile, rows: usize, cols: usize, layers: usize) -> [usize; 3] {
    [cols.div_ceil(tile.cols), rows.div_ceil(tile.rows), layers]
}

fn args<'a>(tensors: &[Arg<'a>], g: &Geometry, rest: &[Arg<'a>]) -> Vec<Arg<'a>> {
    [tensors, &g.args(), rest].concat()
}
