use macro_rules_attribute::apply;
use rayon::prelude::*;

use crate::backend::Mode;
use crate::backend::cpu::dropout::{self, Mask, WORDS};
use crate::backend::cpu::simd;
use crate::dtype::Float;
use crate::ops::ROWS_PER_TASK;

pub fn forward<E: Float>(x: &[E], bias: &[E], mask: Option<Mask>, y: &mut [E]) {
    let task = ROWS_PER_TASK * bias.len();
    const { assert!(ROWS_PER_TASK.is_multiple_of(WORDS)) } // tasks begin with a Philox block
    y.par_chunks_mut(task).zip(x.par_chunks(task)).enumerate().for_each(|(i, (y, x))| match mask {
        None => forward_rows(x, bias, y),
        Some(mask) => {
            // The sum is rounded once, after the mask's scale.
            let mut sums = vec![0.0_f32; y.len()];
            forward_rows(x, bias, &mut sums);
            dropout::apply(&mut sums, (i * task / WORDS) as u32, mask);
            round(&sums, y);
        }
    });
}

#[apply(simd)]
fn forward_rows<E: Float, Y: Float>(x: &[E], bias: &[E], y: &mut [Y]) {
    for (x, y) in x.chunks_exact(bias.len()).zip(y.chunks_exact_mut(bias.len())) {
        for ((y, x), b) in y.iter_mut().zip(x).zip(bias) {
            let sum = x.to_f32() + b.to_f32();
            *y = Y::from_f32(if sum < 0.0 { 0.0 } else { sum });
        }
    }
}

#[apply(simd)]
fn round<E: Float>(sums: &[f32], y: &mut [E]) {
    y.iter_mut().zip(sums).for_each(|(y, &sum)| *y = E::from_f32(sum));
}

/// dy becomes dx; returns dbias.
pub fn backward<E: Float>(dy: &mut [E], y: &[E], scale: f32, c: usize) -> Vec<f32> {
    let task = ROWS_PER_TASK * c;
    let parts: Vec<Vec<f32>> = dy
        .par_chunks_mut(task)
        .zip(y.par_chunks(task))
        .map(|(dy, y)| {
            let mut sums = vec![0.0; c];
            backward_rows(dy, y, scale, &mut sums);
            sums
        })
        .collect();
    let mut sums = vec![0.0; c];
    for part in parts {
        sums.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
    }
    sums
}

#[apply(simd)]
fn backward_rows<E: Float>(dy: &mut [E], y: &[E], scale: f32, sums: &mut [f32]) {
    for (dy, y) in dy.chunks_exact_mut(sums.len()).zip(y.chunks_exact(sums.len())) {
        for ((dy, y), sum) in dy.iter_mut().zip(y).zip(sums.iter_mut()) {
            let dx = if y.to_f32() > 0.0 { scale * dy.to_f32() } else { 0.0 };
            *dy = E::from_f32(dx);
            *sum += dx;
        }
    }
}

/// A sum into its gradient.
pub fn put(sums: &[f32], to: &mut [f32], mode: Mode) {
    for (to, sum) in to.iter_mut().zip(sums) {
        *to = if mode == Mode::Add { *to + sum } else { *sum };
    }
}
