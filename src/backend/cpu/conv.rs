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

use std::ops::Range;

use macro_rules_attribute::apply;
pub use weights::weights;

use super::gemm::{self, Mat, MatMut, PANEL};
use super::transpose::transpose;
use super::{par, scratch, simd};
use crate::backend::Mode;
use columns::{Columns, Rows};
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

    /// Rows of the maps' columns.
    fn map_rows<R>(&self, f: impl FnOnce(Rows) -> R) -> R {
        Rows::with((0..self.maps).map(|m| m * self.positions()), f)
    }

    /// The maps' columns for positions of several images.
    fn map_columns<R>(
        &self,
        rows: Rows,
        positions: Range<usize>,
        f: impl FnOnce(Columns) -> R,
    ) -> R {
        let (map, per_image) = (self.positions(), self.maps * self.positions());
        Columns::with(rows, positions, map, |n| n / map * per_image + n % map, f)
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
    let task = |w: Mat<f32>, taps: Rows, to: Rows, images: &[f32], maps: &mut [f32]| {
        let lens = [planes.elems(g.group()), depth * PANEL, g.maps * PANEL];
        scratch::split(&lens, |[split, panel, sums]| {
            split.fill(0.0);
            let groups = images.chunks(g.group() * image_len);
            for (images, maps) in groups.zip(maps.chunks_mut(g.group() * map_len)) {
                planes.split(images, split);
                for positions in panels(images.len() / image_len * positions) {
                    let columns = positions.clone();
                    planes.columns(taps, columns, |c| c.gather(split, panel, PANEL));
                    let c = MatMut::new(sums, g.maps, PANEL);
                    gemm::product(1.0, w, &gemm::panel(panel), Mode::Set, c);
                    g.map_columns(to, positions, |c| c.put(sums, bias, mode, maps));
                }
            }
        });
    };
    padded(w, g.maps, depth, |w| {
        planes.rows(|taps| {
            g.map_rows(|to| {
                par::rows(g.batch, g.task(), par::by_row(maps, map_len), |batch, maps| {
                    let images = &images[batch.start * image_len..batch.end * image_len];
                    task(w, taps, to, images, maps);
                });
            });
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
    let task = |w: Mat<f32>, taps: Rows, from: Rows, maps: &[f32], images: &mut [f32]| {
        let lens = [planes.elems(g.group()), g.maps * PANEL, depth * PANEL];
        scratch::split(&lens, |[split, panel, columns]| {
            let groups = maps.chunks(g.group() * map_len);
            for (maps, images) in groups.zip(images.chunks_mut(g.group() * image_len)) {
                split.fill(0.0);
                for positions in panels(maps.len() / map_len * positions) {
                    g.map_columns(from, positions.clone(), |c| c.gather(maps, panel, PANEL));
                    let c = MatMut::new(columns, depth, PANEL);
                    gemm::product(1.0, w, &gemm::panel(panel), Mode::Set, c);
                    planes.columns(taps, positions, |c| c.add(columns, split));
                }
                planes.join(split, bias, mode, images);
            }
        });
    };
    padded_transpose(w, g.maps, depth, |w| {
        planes.rows(|taps| {
            g.map_rows(|from| {
                par::rows(g.batch, g.task(), par::by_row(images, image_len), |batch, images| {
                    let maps = &maps[batch.start * map_len..batch.end * map_len];
                    task(w, taps, from, maps, images);
                });
            });
        });
    });
}

/// Positions in panels.
fn panels(positions: usize) -> impl Iterator<Item = Range<usize>> {
    (0..positions).step_by(PANEL).map(move |from| from..positions.min(from + PANEL))
}

/// Elements that stay in the first cache.
const CACHED_ELEMS: usize = 4096;

/// sums\[c\] (+)= sum over images and places of values (B, C, places): a bias's gradient.
pub fn channel_sum(values: &[f32], places: usize, mode: Mode, sums: &mut [f32]) {
    let channels = sums.len();
    let chunk = (CACHED_ELEMS / places).max(1);
    par::rows(channels, chunk, par::by_row(sums, 1), |range, sums| {
        scratch::with(range.len() * places, |total: &mut [f32]| {
            total.fill(0.0);
            for image in values.chunks_exact(channels * places) {
                add_to(total, &image[range.start * places..range.end * places]);
            }
            for (to, total) in sums.iter_mut().zip(total.chunks_exact(places)) {
                let before = if mode == Mode::Add { *to } else { 0.0 };
                *to = before + simd::sum(total);
            }
        });
    });
}

#[apply(simd)]
fn add_to(total: &mut [f32], x: &[f32]) {
    total.iter_mut().zip(x).for_each(|(total, x)| *total += x);
}

/// `f` with the matrix in rows that start on different cache lines.
fn padded<R>(x: &[f32], rows: usize, cols: usize, f: impl FnOnce(Mat<f32>) -> R) -> R {
    let stride = cols + ROW_PAD;
    scratch::with(rows * stride, |to: &mut [f32]| {
        par::rows(rows, par::rows_per_chunk(cols), par::by_row(to, stride), |range, to| {
            for (to, x) in to.chunks_exact_mut(stride).zip(x[range.start * cols..].chunks(cols)) {
                to[..cols].copy_from_slice(x);
            }
        });
        f(Mat::strided(to, rows, cols, stride))
    })
}

/// `f` of the padded transpose of `x` (rows, cols).
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
