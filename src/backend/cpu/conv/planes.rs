//! Padded images, cut into `stride * stride` planes: pixel (h, w) of a padded image lies at
//! (h / stride, w / stride) of plane (h % stride, w % stride). There neighbouring positions of a map
//! see neighbouring elements through each tap of the kernel.

use std::ops::Range;

use multiversion::multiversion;

use super::Geometry;
use super::columns::{self, Run};
use crate::backend::Mode;

/// Some channels of some images: (images, channels, stride, stride, rows, cols).
pub(super) struct Planes<'a> {
    g: &'a Geometry,
    channels: Range<usize>,
    rows: usize,
    cols: usize,
}

/// A row of pixels and where it lies among the planes of its image.
struct Row {
    bias_channel: usize,
    pixels: Range<usize>,
    /// Of the planes' element at column 0 of plane column 0.
    start: usize,
}

impl<'a> Planes<'a> {
    pub(super) fn new(g: &'a Geometry, channels: Range<usize>) -> Self {
        let rows = (g.height + 2 * g.padding).div_ceil(g.stride);
        let cols = (g.width + 2 * g.padding).div_ceil(g.stride);
        Self { g, channels, rows, cols }
    }

    fn plane(&self) -> usize {
        self.rows * self.cols
    }

    fn channel(&self) -> usize {
        self.g.stride * self.g.stride * self.plane()
    }

    pub(super) fn elems(&self, images: usize) -> usize {
        images * self.channels.len() * self.channel()
    }

    /// Rows of the columns: each channel through each tap.
    pub(super) fn rows(&self) -> impl ExactSizeIterator<Item = usize> {
        let (taps, kw, s) = (self.g.taps(), self.g.kernel[1], self.g.stride);
        let (channel, plane, cols) = (self.channel(), self.plane(), self.cols);
        (0..self.channels.len() * taps).map(move |row| {
            let (c, u, v) = (row / taps, row % taps / kw, row % kw);
            c * channel + (u % s * s + v % s) * plane + u / s * cols + v / s
        })
    }

    /// Where positions of the maps lie; each row of a map by itself.
    pub(super) fn runs(&self, positions: Range<usize>, f: &mut dyn FnMut(Run)) {
        let (width, map, image) = (self.g.map_width(), self.g.positions(), self.elems(1));
        let place = |n: usize| n / map * image + n % map / width * self.cols + n % width;
        columns::runs(positions, width, place, f);
    }

    /// The rows of one image's pixels.
    fn pixel_rows(&self) -> impl Iterator<Item = Row> {
        let Geometry { height, width, stride: s, padding, .. } = *self.g;
        self.channels.clone().enumerate().flat_map(move |(i, c)| {
            (0..height).map(move |h| {
                let first = (c * height + h) * width;
                let h = h + padding;
                let start = i * self.channel() + h % s * s * self.plane() + h / s * self.cols;
                Row { bias_channel: c, pixels: first..first + width, start }
            })
        })
    }

    /// The planes of whole images, `image_len` elements each.
    pub(super) fn split(&self, images: &[f32], image_len: usize, planes: &mut [f32]) {
        planes.fill(0.0);
        for (image, planes) in images.chunks(image_len).zip(planes.chunks_mut(self.elems(1))) {
            for row in self.pixel_rows() {
                let Geometry { stride, padding, .. } = *self.g;
                let pixels = &image[row.pixels];
                let planes = &mut planes[row.start..];
                match stride {
                    1 => planes[padding..][..pixels.len()].copy_from_slice(pixels),
                    2 => split_row::<2>(pixels, planes, padding, self.plane(), 2),
                    _ => split_row::<0>(pixels, planes, padding, self.plane(), stride),
                }
            }
        }
    }

    /// The images of planes of all channels; `planes` is what `split` would have made.
    pub(super) fn join(
        &self,
        planes: &[f32],
        bias: Option<&[f32]>,
        mode: Mode,
        images: &mut [f32],
    ) {
        let image_len = self.g.channels * self.g.pixels();
        for (image, planes) in images.chunks_mut(image_len).zip(planes.chunks(self.elems(1))) {
            for row in self.pixel_rows() {
                let Geometry { stride, padding, .. } = *self.g;
                let bias = bias.map_or(0.0, |bias| bias[row.bias_channel]);
                let pixels = &mut image[row.pixels];
                if mode == Mode::Set {
                    pixels.fill(0.0);
                }
                let planes = &planes[row.start..];
                match stride {
                    1 => join_row::<1>(planes, pixels, bias, padding, 0, 1),
                    2 => join_row::<2>(planes, pixels, bias, padding, self.plane(), 2),
                    _ => join_row::<0>(planes, pixels, bias, padding, self.plane(), stride),
                }
            }
        }
    }
}

/// `S` is the stride, or 0.
#[multiversion(
    targets("x86_64+avx512f+avx512bw+avx512vl+avx512dq", "x86_64+avx2+fma"),
    dispatcher = "direct"
)]
fn split_row<const S: usize>(
    pixels: &[f32],
    planes: &mut [f32],
    padding: usize,
    plane: usize,
    stride: usize,
) {
    let stride = if S > 0 { S } else { stride };
    for first in 0..stride.min(pixels.len()) {
        let at = first + padding;
        let planes = &mut planes[at % stride * plane + at / stride..];
        let pixels = pixels[first..].iter().step_by(stride);
        planes.iter_mut().zip(pixels).for_each(|(to, pixel)| *to = *pixel);
    }
}

/// pixels += planes + bias. `S` is the stride, or 0.
#[multiversion(
    targets("x86_64+avx512f+avx512bw+avx512vl+avx512dq", "x86_64+avx2+fma"),
    dispatcher = "direct"
)]
fn join_row<const S: usize>(
    planes: &[f32],
    pixels: &mut [f32],
    bias: f32,
    padding: usize,
    plane: usize,
    stride: usize,
) {
    let stride = if S > 0 { S } else { stride };
    for first in 0..stride.min(pixels.len()) {
        let at = first + padding;
        let planes = &planes[at % stride * plane + at / stride..];
        let pixels = pixels[first..].iter_mut().step_by(stride);
        pixels.zip(planes).for_each(|(pixel, from)| *pixel += from + bias);
    }
}
