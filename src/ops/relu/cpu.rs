use multiversion::multiversion;
use rayon::prelude::*;

use crate::ops::ELEMS_PER_TASK;

pub fn forward(x: &[f32], y: &mut [f32]) {
    y.par_chunks_mut(ELEMS_PER_TASK)
        .zip(x.par_chunks(ELEMS_PER_TASK))
        .for_each(|(y, x)| forward_chunk(x, y));
}

#[multiversion(targets("x86_64+avx512f", "x86_64+avx2+fma"))]
fn forward_chunk(x: &[f32], y: &mut [f32]) {
    for (y, &x) in y.iter_mut().zip(x) {
        *y = if x < 0.0 { 0.0 } else { x };
    }
}

/// dy becomes dx.
pub fn backward(dy: &mut [f32], y: &[f32]) {
    dy.par_chunks_mut(ELEMS_PER_TASK)
        .zip(y.par_chunks(ELEMS_PER_TASK))
        .for_each(|(dy, y)| backward_chunk(dy, y));
}

#[multiversion(targets("x86_64+avx512f", "x86_64+avx2+fma"))]
fn backward_chunk(dy: &mut [f32], y: &[f32]) {
    for (dy, &y) in dy.iter_mut().zip(y) {
        *dy = if y > 0.0 { *dy } else { 0.0 };
    }
}
