//! The gradient of a convolution's weights: columns of the images times maps, summed over the
//! batch.
//!
//! A task takes some channels and a part of the batch and sums dw^T (channels * taps, M) over it,
//! block of positions by block; then the parts are added in order and turned round.

use std::ops::Range;

use super::columns::Rows;
use super::planes::Planes;
use super::{Geometry, ROW_PAD, TRANSPOSED_ROWS};
use crate::backend::Mode;
use crate::backend::cpu::gemm::{self, Mat, MatMut};
use crate::backend::cpu::transpose::transpose;
use crate::backend::cpu::{par, scratch};

/// Positions summed in one product: its columns and sums stay in the second cache.
const BLOCK_POSITIONS: usize = 256;

/// Rows of dw^T that a task sums, about.
const TASK_ROWS: usize = 512;

/// Enough for an even end on a machine with a few cores; bounds the memory of the parts.
const TASKS: usize = 16;

/// How the work is cut; a function of the shape alone.
struct Cut {
    channels_per_task: usize,
    ranges: usize,
    /// Images whose columns fill a block.
    images_per_block: usize,
    images_per_part: usize,
    parts: usize,
}

impl Cut {
    fn new(g: &Geometry) -> Self {
        let ranges = g.depth().div_ceil(TASK_ROWS).min(g.channels);
        let channels_per_task = g.channels.div_ceil(ranges);
        let ranges = g.channels.div_ceil(channels_per_task);
        let images_per_block = BLOCK_POSITIONS.div_ceil(g.positions()).min(g.batch);
        let blocks = g.batch.div_ceil(images_per_block);
        let parts = TASKS.div_ceil(ranges).min(blocks);
        let images_per_part = blocks.div_ceil(parts) * images_per_block;
        let parts = g.batch.div_ceil(images_per_part);
        Self { channels_per_task, ranges, images_per_block, images_per_part, parts }
    }
}

/// See the header of [`conv`](super).
pub fn weights(g: &Geometry, images: &[f32], maps: &[f32], mode: Mode, dw: &mut [f32]) {
    g.check(images.len(), dw.len(), maps.len());
    if g.batch == 0 || dw.is_empty() {
        return if mode == Mode::Set {
            dw.fill(0.0)
        };
    }
    let cut = Cut::new(g);
    let range_len = cut.channels_per_task * g.taps() * g.maps;
    scratch::with(cut.parts * cut.ranges * range_len, |sums: &mut [f32]| {
        let tasks = cut.parts * cut.ranges;
        par::rows(tasks, 1, par::by_row(sums, range_len), |range, sums| {
            for (task, sums) in range.zip(sums.chunks_exact_mut(range_len)) {
                let first = task % cut.ranges * cut.channels_per_task;
                let channels = first..g.channels.min(first + cut.channels_per_task);
                let first = task / cut.ranges * cut.images_per_part;
                let batch = first..g.batch.min(first + cut.images_per_part);
                sum_part(g, &cut, images, maps, channels, batch, sums);
            }
        });
        add_parts(g, &cut, sums, mode, dw);
    });
}

/// Rows `channels * taps` of dw^T, over some images.
fn sum_part(
    g: &Geometry,
    cut: &Cut,
    images: &[f32],
    maps: &[f32],
    channels: Range<usize>,
    batch: Range<usize>,
    sums: &mut [f32],
) {
    let (image_len, map_len) = (g.channels * g.pixels(), g.maps * g.positions());
    let rows = channels.len() * g.taps();
    let planes = Planes::new(g, channels);
    let stride = BLOCK_POSITIONS + ROW_PAD;
    let lens = [planes.elems(cut.images_per_block), rows * stride, g.maps * stride];
    let mut task = |taps: Rows, of: Rows, [split, columns, values]: [&mut [f32]; 3]| {
        split.fill(0.0);
        let mut mode = Mode::Set;
        for first in batch.clone().step_by(cut.images_per_block) {
            let last = batch.end.min(first + cut.images_per_block);
            let maps = &maps[first * map_len..last * map_len];
            planes.split(&images[first * image_len..last * image_len], split);
            let positions = (last - first) * g.positions();
            for from in (0..positions).step_by(BLOCK_POSITIONS) {
                let block = from..positions.min(from + BLOCK_POSITIONS);
                let width = block.len();
                planes.columns(taps, block.clone(), |c| c.gather(split, columns, stride));
                g.map_columns(of, block, |c| c.gather(maps, values, stride));
                let columns = Mat::strided(columns, rows, width, stride);
                let values = Mat::strided(values, g.maps, width, stride).t();
                gemm::with_packed(values, |values| {
                    let sums = MatMut::new(&mut sums[..rows * g.maps], rows, g.maps);
                    gemm::product(1.0, columns, values, mode, sums);
                });
                mode = Mode::Add;
            }
        }
    };
    planes.rows(|taps| {
        g.map_rows(|of| scratch::split(&lens, |work| task(taps, of, work)));
    });
}

/// dw (M, depth) from the parts' dw^T.
fn add_parts(g: &Geometry, cut: &Cut, sums: &mut [f32], mode: Mode, dw: &mut [f32]) {
    let (depth, maps) = (g.depth(), g.maps);
    let part_len = cut.ranges * cut.channels_per_task * g.taps() * maps;
    let (total, parts) = sums.split_at_mut(part_len);
    let chunk = par::rows_per_chunk(1);
    par::rows(part_len, chunk, par::by_row(total, 1), |range, total| {
        for part in parts.chunks_exact(part_len) {
            total.iter_mut().zip(&part[range.clone()]).for_each(|(total, part)| *total += part);
        }
    });
    let total = &total[..depth * maps];
    par::rows(maps, TRANSPOSED_ROWS, par::by_row(dw, depth), |range, dw| {
        if mode == Mode::Set {
            return transpose(&total[range.start..], maps, depth, dw, depth);
        }
        scratch::with(dw.len(), |turned: &mut [f32]| {
            transpose(&total[range.start..], maps, depth, turned, depth);
            dw.iter_mut().zip(turned).for_each(|(dw, turned)| *dw += *turned);
        });
    });
}
