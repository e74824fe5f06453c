use macro_rules_attribute::apply;
use rayon::prelude::*;

use super::{Dims, ROW};
use crate::backend::Mode;
use crate::backend::cpu::simd;
use crate::dtype::Float;
use crate::ops::ROWS_PER_TASK;

pub fn pool<E: Float>(d: Dims, h: &[E], l: &[E], pooled: &mut [f32]) {
    let Dims { t, c, .. } = d;
    // A half of `pooled[b]` is a task.
    pooled.par_chunks_mut(c).enumerate().for_each(|(i, sums)| {
        let x = if i % 2 == 0 { h } else { l };
        sums.fill(0.0);
        add_rows(&x[i / 2 * t * c..][..t * c], sums);
        sums.iter_mut().for_each(|sum| *sum /= t as f32);
    });
}

#[apply(simd)]
fn add_rows<E: Float>(x: &[E], sums: &mut [f32]) {
    for x in x.chunks_exact(sums.len()) {
        sums.iter_mut().zip(x).for_each(|(sum, x)| *sum += x.to_f32());
    }
}

pub fn rows<E: Float>(pooled: &[f32], w: &[E], bias: E, rows: &mut [f32]) {
    let w: Vec<f32> = w.iter().map(|w| w.to_f32()).collect();
    for (row, pooled) in rows.chunks_exact_mut(ROW).zip(pooled.chunks_exact(w.len())) {
        let z = simd::dot(pooled, &w) + bias.to_f32();
        row.copy_from_slice(&[z, 1.0 / (1.0 + (-z).exp())]);
    }
}

/// The gradient of a row's logit.
fn dz(row: &[f32], drow: &[f32]) -> f32 {
    drow[0] + drow[1] * row[1] * (1.0 - row[1])
}

/// Sums for w, then bias.
pub fn backward_params(pooled: &[f32], rows: &[f32], drows: &[f32], sums: &mut [f32]) {
    let width = sums.len() - 1;
    let of_rows = rows.chunks_exact(ROW).zip(drows.chunks_exact(ROW));
    for (pooled, (row, drow)) in pooled.chunks_exact(width).zip(of_rows) {
        let dz = dz(row, drow);
        let (of_w, of_bias) = sums.split_at_mut(width);
        of_w.iter_mut().zip(pooled).for_each(|(sum, p)| *sum += dz * p);
        of_bias[0] += dz;
    }
}

/// A sum into its gradient.
pub fn put(sums: &[f32], to: &mut [f32], mode: Mode) {
    for (to, sum) in to.iter_mut().zip(sums) {
        *to = if mode == Mode::Add { *to + sum } else { *sum };
    }
}

/// dx of one level; `saved`: its part of w, rows, drows.
pub fn backward_state<E: Float>(d: Dims, saved: (&[E], &[f32], &[f32]), dx: &mut [E], mode: Mode) {
    let (w, rows, drows) = saved;
    let Dims { t, c, .. } = d;
    let of_rows = rows.chunks_exact(ROW).zip(drows.chunks_exact(ROW));
    for (dx, (row, drow)) in dx.chunks_exact_mut(t * c).zip(of_rows) {
        let each: Vec<f32> = w.iter().map(|w| dz(row, drow) * w.to_f32() / t as f32).collect();
        dx.par_chunks_mut(ROWS_PER_TASK * c).for_each(|dx| spread(&each, dx, mode));
    }
}

#[apply(simd)]
fn spread<E: Float>(each: &[f32], dx: &mut [E], mode: Mode) {
    for dx in dx.chunks_exact_mut(each.len()) {
        match mode {
            Mode::Set => dx.iter_mut().zip(each).for_each(|(dx, g)| *dx = E::from_f32(*g)),
            Mode::Add => {
                dx.iter_mut().zip(each).for_each(|(dx, g)| *dx = E::from_f32(dx.to_f32() + g));
            }
        }
    }
}
