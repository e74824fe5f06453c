//! The three products of a convolution in f32, for both directions of it:
//!
//! ```text
//! images (B, C, H, W)    maps (B, M, OH, OW)    w (M, C, KH, KW)    row = i*stride + u - padding
//! correlate  maps[b,m,i,j]     (+)= sum_{c,u,v} w[m,c,u,v] images[b,c,row,col]  (+ bias[m])
//! spread     images[b,c,row,col] (+)= sum_{m,u,v} w[m,c,u,v] maps[b,m,i,j]      (+ bias[c])
//! weights    dw[m,c,u,v]       (+)= sum_{b,i,j} maps[b,m,i,j] images[b,c,row,col]
//! ```
//!
//! A convolution's forward is `correlate`, its dx `spread`; of a transposed convolution it is the
//! other way round; dw is the same. Each is a matrix product with the columns of the images
//! (im2col), made for a few positions at a time in thread-local scratch. Positions of several small
//! images lie side by side, so that products are as wide as the GEMM likes.
//!
//! Bits depend on shapes only: images are cut into fixed groups, sums over the batch into fixed
//! parts, which are added in order.

mod columns;
mod planes;
mod weights;

pub use weights::weights;

use super::gemm::{self, Mat, MatMut, PANEL};
use super::{par, scratch, simd};
use crate::backend::Mode;
use columns::{Columns, Run};
use planes::Planes;

/// Images and maps of one convolution; see the module header for the letters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Geometry {
    pub batch: usize,
    pub channels: usize,
    pub height: usize,
    pub width: usize,
    pub maps: usize,
    pub kernel: [usize; 2],
    pub stride: usize,
    pub padding: usize,
}

impl Geometry {
    pub fn map_height(&self) -> usize {
        (self.height + 2 * self.padding - self.kernel[0]) / self.stride + 1
    }

    pub fn map_width(&self) -> usize {
        (self.width + 2 * self.padding - self.kernel[1]) / self.stride + 1
    }

    /// Positions of one map.
    pub fn positions(&self) -> usize {
        self.map_height() * self.map_width()
    }

    /// Pixels of one channel.
    pub fn pixels(&self) -> usize {
        self.height * self.width
    }

    pub fn taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    /// Terms of a map's value: rows of the columns.
    pub fn depth(&self) -> usize {
        self.channels * self.taps()
    }

    pub fn image_elems(&self) -> usize {
        self.batch * self.channels * self.pixels()
    }

    pub fn map_elems(&self) -> usize {
        self.batch * self.maps * self.positions()
    }

    pub fn weight_elems(&self) -> usize {
        self.maps * self.depth()
    }

    /// Images whose columns are worked on together.
    fn group(&self) -> usize {
        GROUP_POSITIONS.div_ceil(self.positions())
    }

    /// Images of one task: whole groups, with enough to do.
    fn task(&self) -> usize {
        let muladds = self.group() * self.positions() * self.weight_elems();
        self.group() * MIN_TASK_MULADDS.div_ceil(muladds.max(1))
    }

    /// Where rows of the maps' columns start.
    fn map_rows(&self) -> impl ExactSizeIterator<Item = usize> {
        let positions = self.positions();
        (0..self.maps).map(move |m| m * positions)
    }

    fn check(&self, images: usize, w: usize, maps: usize) {
        assert_eq!(images, self.image_elems(), "images (B, C, H, W)");
        assert_eq!(w, self.weight_elems(), "w (M, C, KH, KW)");
        assert_eq!(maps, self.map_elems(), "maps (B, M, OH, OW)");
    }
}

/// Positions that fill two panels of the product.
const GROUP_POSITIONS: usize = 2 * PANEL;

/// Below this a task costs more to hand over than to run.
const MIN_TASK_MULADDS: usize = 1 << 19;

/// Between rows, so that they do not fall on the same lines of the cache.
const ROW_PAD: usize = 16;

/// See the module header.
pub fn correlate(
    g: &Geometry,
    images: &[f32],
    w: &[f32],
    bias: Option<&[f32]>,
    mode: Mode,
    maps: &mut [f32],
) {
    g.check(images.len(), w.len(), maps.len());
    let (depth, positions) = (g.depth(), g.positions());
    let (image_len, map_len) = (g.channels * g.pixels(), g.maps * positions);
    let planes = Planes::new(g, 0..g.channels);
    padded(w, g.maps, depth, |w| {
        par::rows(g.batch, g.task(), par::by_row(maps, map_len), |batch, maps| {
            let images = &images[batch.start * image_len..batch.end * image_len];
            let groups = images.chunks(g.group() * image_len);
            for (images, maps) in groups.zip(maps.chunks_mut(g.group() * map_len)) {
                let count = images.len() / image_len;
                let lens = [planes.elems(count), depth * PANEL, g.maps * PANEL];
                scratch::split(&lens, |[split, panel, sums]| {
                    planes.split(images, image_len, split);
                    for from in (0..count * positions).step_by(PANEL) {
                        let to = (count * positions).min(from + PANEL);
                        let runs = |f: &mut dyn FnMut(Run)| planes.runs(from..to, f);
                        Columns::with(planes.rows(), runs, |c| c.gather(split, panel, PANEL));
                        let c = MatMut::new(sums, g.maps, PANEL);
                        gemm::product(1.0, w, &gemm::panel(panel), Mode::Set, c);
                        let runs = |f: &mut dyn FnMut(Run)| map_runs(g, from..to, f);
                        Columns::with(g.map_rows(), runs, |c| c.put(sums, bias, mode, maps));
                    }
                });
            }
        });
    });
}

/// See the module header.
pub fn spread(
    g: &Geometry,
    maps: &[f32],
    w: &[f32],
    bias: Option<&[f32]>,
    mode: Mode,
    images: &mut [f32],
) {
    g.check(images.len(), w.len(), maps.len());
    let (depth, positions) = (g.depth(), g.positions());
    let (image_len, map_len) = (g.channels * g.pixels(), g.maps * positions);
    let planes = Planes::new(g, 0..g.channels);
    padded_transpose(w, g.maps, depth, |w| {
        par::rows(g.batch, g.task(), par::by_row(images, image_len), |batch, images| {
            let maps = &maps[batch.start * map_len..batch.end * map_len];
            let groups = maps.chunks(g.group() * map_len);
            for (maps, images) in groups.zip(images.chunks_mut(g.group() * image_len)) {
                let count = maps.len() / map_len;
                let lens = [planes.elems(count), g.maps * PANEL, depth * PANEL];
                scratch::split(&lens, |[split, panel, columns]| {
                    split.fill(0.0);
                    for from in (0..count * positions).step_by(PANEL) {
                        let to = (count * positions).min(from + PANEL);
                        let runs = |f: &mut dyn FnMut(Run)| map_runs(g, from..to, f);
                        Columns::with(g.map_rows(), runs, |c| c.gather(maps, panel, PANEL));
                        let c = MatMut::new(columns, depth, PANEL);
                        gemm::product(1.0, w, &gemm::panel(panel), Mode::Set, c);
                        let runs = |f: &mut dyn FnMut(Run)| planes.runs(from..to, f);
                        Columns::with(planes.rows(), runs, |c| c.add(columns, split));
                    }
                    planes.join(split, bias, mode, images);
                });
            }
        });
    });
}

/// sums[c] (+)= sum over images and places of values (B, C, places): a bias's gradient.
pub fn channel_sum(values: &[f32], places: usize, mode: Mode, sums: &mut [f32]) {
    let channels = sums.len();
    let chunk = par::rows_per_chunk(values.len() / channels.max(1));
    par::rows(channels, chunk, par::by_row(sums, 1), |range, sums| {
        for (channel, to) in range.zip(sums) {
            let images = values.chunks_exact(channels * places);
            let sum: f64 = images.map(|x| sum_of(&x[channel * places..][..places])).sum();
            *to = if mode == Mode::Add { *to + sum as f32 } else { sum as f32 };
        }
    });
}

#[multiversion::multiversion(
    targets("x86_64+avx512f+avx512bw+avx512vl+avx512dq", "x86_64+avx2+fma"),
    dispatcher = "direct"
)]
fn sum_of(x: &[f32]) -> f64 {
    simd::sum(x) as f64
}

/// Where positions of the maps lie: whole maps side by side.
fn map_runs(g: &Geometry, positions: std::ops::Range<usize>, f: &mut dyn FnMut(Run)) {
    let (map, per_image) = (g.positions(), g.maps * g.positions());
    columns::runs(positions, map, |n| n / map * per_image + n % map, f);
}

/// `f` with the matrix in rows that start on different cache lines.
fn padded<R>(x: &[f32], rows: usize, cols: usize, f: impl FnOnce(Mat<f32>) -> R) -> R {
    let stride = cols + ROW_PAD;
    scratch::with(rows * stride, |to: &mut [f32]| {
        for (to, x) in to.chunks_exact_mut(stride).zip(x.chunks_exact(cols)) {
            to[..cols].copy_from_slice(x);
        }
        f(Mat::strided(to, rows, cols, stride))
    })
}

/// The same for the transpose of `x` (rows, cols).
fn padded_transpose<R>(x: &[f32], rows: usize, cols: usize, f: impl FnOnce(Mat<f32>) -> R) -> R {
    let stride = rows + ROW_PAD;
    scratch::with(cols * stride, |to: &mut [f32]| {
        par::rows(cols, TRANSPOSED_ROWS, par::by_row(to, stride), |range, to| {
            transpose(&x[range.start..], cols, rows, to, stride);
        });
        f(Mat::strided(to, cols, rows, stride))
    })
}

/// Rows that one task transposes.
const TRANSPOSED_ROWS: usize = 64;

/// Side of a block that is transposed in registers and the first cache.
const BLOCK: usize = 16;

/// to[c * to_stride + r] = x[r * x_stride + c], for `rows` r and all rows of `to`.
#[multiversion::multiversion(
    targets("x86_64+avx512f+avx512bw+avx512vl+avx512dq", "x86_64+avx2+fma"),
    dispatcher = "direct"
)]
fn transpose(x: &[f32], x_stride: usize, rows: usize, to: &mut [f32], to_stride: usize) {
    let cols = to.len().div_ceil(to_stride);
    for c0 in (0..cols).step_by(BLOCK) {
        let width = BLOCK.min(cols - c0);
        for r0 in (0..rows).step_by(BLOCK) {
            let height = BLOCK.min(rows - r0);
            let mut block = [[0.0f32; BLOCK]; BLOCK];
            for (r, block) in block[..height].iter_mut().enumerate() {
                block[..width].copy_from_slice(&x[(r0 + r) * x_stride + c0..][..width]);
            }
            for c in 0..width {
                for (r, to) in to[(c0 + c) * to_stride + r0..][..height].iter_mut().enumerate() {
                    *to = block[r][c];
                }
            }
        }
    }
}
