use macro_rules_attribute::apply;

use super::Dims;
use crate::backend::Mode;
use crate::backend::cpu::par::{self, by_row};
use crate::backend::cpu::simd;

/// y's row from the two rows of x above it.
#[apply(simd)]
fn largest(top: &[f32], bottom: &[f32], y: &mut [f32]) {
    for (y, (top, bottom)) in y.iter_mut().zip(top.chunks_exact(2).zip(bottom.chunks_exact(2))) {
        *y = larger(larger(larger(top[0], top[1]), bottom[0]), bottom[1]);
    }
}

/// NaN wins.
#[inline(always)]
fn larger(a: f32, b: f32) -> f32 {
    if b > a || b.is_nan() { b } else { a }
}

pub fn forward(d: Dims, x: &[f32], y: &mut [f32]) {
    let (rows, width) = (d.height / 2, d.width / 2);
    let chunk = par::rows_per_chunk(d.height * d.width);
    par::rows(d.planes, chunk, by_row(y, rows * width), |planes, y| {
        for (plane, y) in planes.zip(y.chunks_exact_mut(rows * width)) {
            let x = &x[plane * d.height * d.width..][..d.height * d.width];
            for (pair, y) in x.chunks_exact(2 * d.width).zip(y.chunks_exact_mut(width)) {
                let (top, bottom) = pair.split_at(d.width);
                largest(top, bottom, y);
            }
        }
    });
}

pub fn backward(d: Dims, x: &[f32], dy: &[f32], dx: &mut [f32], mode: Mode) {
    let (rows, width, plane_len) = (d.height / 2, d.width / 2, d.height * d.width);
    par::rows(d.planes, par::rows_per_chunk(plane_len), by_row(dx, plane_len), |planes, dx| {
        if mode == Mode::Set {
            dx.fill(0.0);
        }
        for (plane, dx) in planes.zip(dx.chunks_exact_mut(plane_len)) {
            let (x, dy) = (&x[plane * plane_len..], &dy[plane * rows * width..]);
            for (i, dy) in dy.chunks_exact(width).take(rows).enumerate() {
                for (j, dy) in dy.iter().enumerate() {
                    let first = 2 * i * d.width + 2 * j;
                    let mut best = first;
                    for at in [first + 1, first + d.width, first + d.width + 1] {
                        if x[at] > x[best] || x[at].is_nan() {
                            best = at;
                        }
                    }
                    dx[best] += dy;
                }
            }
        }
    });
}
