//! Padded images, cut into `stride * stride` planes: pixel (h, w) of a padded image lies at
//! (h / stride, w / stride) of plane (h % stride, w % stride). There neighbouring positions of a
//! map see neighbouring elements through each tap of the kernel.

use std::ops::Range;

use macro_rules_attribute::apply;

use super::Geometry;
use super::columns::{Columns, Rows};
use crate::backend::Mode;
use crate::backend::cpu::scratch;
use crate::backend::cpu::simd;

/// Some channels of some images: (images, channels, stride, stride, rows, cols).
pub(super) struct Planes<'a> {
    g: &'a Geometry,
    channels: Range<usize>,
    rows: usize,
    cols: usize,
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
    pub(super) fn rows<R>(&self, f: impl FnOnce(Rows) -> R) -> R {
        let (taps, kw, s) = (self.g.taps(), self.g.kernel[1], self.g.stride);
        let rows = (0..self.channels.len() * taps).map(|row| {
            let (c, u, v) = (row / taps, row % taps / kw, row % kw);
            c * self.channel() + (u % s * s + v % s) * self.plane() + u / s * self.cols + v / s
        });
        Rows::with(rows, f)
    }

    /// Columns for positions of the maps.
    pub(super) fn columns<R>(
        &self,
        rows: Rows,
        positions: Range<usize>,
        f: impl FnOnce(Columns) -> R,
    ) -> R {
        let (width, map, image) = (self.g.map_width(), self.g.positions(), self.elems(1));
        let place = |n: usize| n / map * image + n % map / width * self.cols + n % width;
        Columns::with(rows, positions, width, place, f)
    }

    /// Fill in images; around them `planes` must be zero.
    pub(super) fn split(&self, images: &[f32], planes: &mut [f32]) {
        let (own, s, width) = (self.own(), self.g.stride, self.g.width);
        let images = images.chunks(self.g.channels * self.g.pixels());
        for (image, planes) in images.zip(planes.chunks_mut(self.elems(1))) {
            let image = &image[own.clone()];
            match s {
                1 => give(self, 0, image, width, planes),
                2 if width % 2 == 0 => halves(image.len() / 2, |sides| {
                    part(image, sides);
                    (0..2).for_each(|side| give(self, side, sides[side], width / 2, planes));
                }),
                _ => (0..s).for_each(|side| {
                    self.each_row(side, |row, at| {
                        let pixels = image[row * width..][..width].iter().skip(side).step_by(s);
                        pixels.zip(&mut planes[at..]).for_each(|(pixel, to)| *to = *pixel);
                    });
                }),
            }
        }
    }

    /// The images of planes of all channels.
    pub(super) fn join(
        &self,
        planes: &[f32],
        bias: Option<&[f32]>,
        mode: Mode,
        images: &mut [f32],
    ) {
        let (s, width) = (self.g.stride, self.g.width);
        let images = images.chunks_mut(self.g.channels * self.g.pixels());
        for (image, planes) in images.zip(planes.chunks(self.elems(1))) {
            match s {
                1 => take(self, 0, planes, bias, mode, image, width),
                2 if width % 2 == 0 => halves(image.len() / 2, |sides| {
                    for (side, to) in sides.iter_mut().enumerate() {
                        take(self, side, planes, bias, Mode::Set, to, width / 2);
                    }
                    merge(sides, mode, image);
                }),
                _ => (0..s).for_each(|side| {
                    self.each_row(side, |row, at| {
                        let bias = bias.map_or(0.0, |bias| bias[row / self.g.height]);
                        let pixels = image[row * width..][..width].iter_mut().skip(side);
                        for (pixel, from) in pixels.step_by(s).zip(&planes[at..]) {
                            let before = if mode == Mode::Add { *pixel } else { 0.0 };
                            *pixel = before + (from + bias);
                        }
                    });
                }),
            }
        }
    }

    /// The pixels of an image that belong to the channels.
    fn own(&self) -> Range<usize> {
        self.channels.start * self.g.pixels()..self.channels.end * self.g.pixels()
    }

    /// f(row, place among the planes of its pixel `side`) for every row of pixels: `side` is the
    /// first of those that a stride apart lie side by side there.
    #[inline(always)]
    fn each_row(&self, side: usize, mut f: impl FnMut(usize, usize)) {
        let Geometry { height, stride: s, padding, .. } = *self.g;
        let (channel, plane, w) = (self.channel(), self.plane(), side + padding);
        for row in 0..height {
            let h = row + padding;
            let start = (h % s * s + w % s) * plane + h / s * self.cols + w / s;
            (0..self.channels.len()).for_each(|c| f(c * height + row, c * channel + start));
        }
    }
}

/// `f` with scratch for the pixels of even and of odd columns.
fn halves<R>(len: usize, f: impl FnOnce(&mut [&mut [f32]; 2]) -> R) -> R {
    scratch::split(&[len, len], |mut sides| f(&mut sides))
}

/// Rows of `len` pixels to their planes.
#[apply(simd)]
fn give(p: &Planes, side: usize, pixels: &[f32], len: usize, planes: &mut [f32]) {
    p.each_row(side, |row, at| {
        let pixels = &pixels[row * len..][..len];
        planes[at..at + len].iter_mut().zip(pixels).for_each(|(to, pixel)| *to = *pixel);
    });
}

/// Rows of `len` pixels from their planes.
#[apply(simd)]
fn take(
    p: &Planes,
    side: usize,
    planes: &[f32],
    bias: Option<&[f32]>,
    mode: Mode,
    pixels: &mut [f32],
    len: usize,
) {
    p.each_row(side, |row, at| {
        let bias = bias.map_or(0.0, |bias| bias[row / p.g.height]);
        let pixels = &mut pixels[row * len..][..len];
        for (pixel, from) in pixels.iter_mut().zip(&planes[at..]) {
            let before = if mode == Mode::Add { *pixel } else { 0.0 };
            *pixel = before + (from + bias);
        }
    });
}

/// Even and odd pixels.
#[apply(simd)]
fn part(image: &[f32], sides: &mut [&mut [f32]; 2]) {
    let [even, odd] = sides;
    for ((pair, even), odd) in image.as_chunks::<2>().0.iter().zip(&mut **even).zip(&mut **odd) {
        (*even, *odd) = (pair[0], pair[1]);
    }
}

#[apply(simd)]
fn merge(sides: &[&mut [f32]; 2], mode: Mode, image: &mut [f32]) {
    let [even, odd] = sides;
    for ((pair, even), odd) in image.as_chunks_mut::<2>().0.iter_mut().zip(&**even).zip(&**odd) {
        let before = if mode == Mode::Add { *pair } else { [0.0; 2] };
        *pair = [before[0] + even, before[1] + odd];
    }
}
