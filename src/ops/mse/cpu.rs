use macro_rules_attribute::apply;
use rayon::prelude::*;

use crate::backend::Mode;
use crate::backend::cpu::simd;
use crate::ops::ELEMS_PER_TASK;

pub fn forward(a: &[f32], b: &[f32]) -> f32 {
    let parts: Vec<f32> = a
        .par_chunks(ELEMS_PER_TASK)
        .zip(b.par_chunks(ELEMS_PER_TASK))
        .map(|(a, b)| forward_chunk(a, b))
        .collect();
    (parts.iter().map(|&x| x as f64).sum::<f64>() / a.len() as f64) as f32
}

#[apply(simd)]
fn forward_chunk(a: &[f32], b: &[f32]) -> f32 {
    simd::sum_over([a, b], |[a, b]| (a - b) * (a - b))
}

/// da = or += factor (a - b).
pub fn backward(a: &[f32], b: &[f32], factor: f32, da: &mut [f32], mode: Mode) {
    da.par_chunks_mut(ELEMS_PER_TASK)
        .zip(a.par_chunks(ELEMS_PER_TASK))
        .zip(b.par_chunks(ELEMS_PER_TASK))
        .for_each(|((da, a), b)| backward_chunk(a, b, factor, da, mode));
}

#[apply(simd)]
fn backward_chunk(a: &[f32], b: &[f32], factor: f32, da: &mut [f32], mode: Mode) {
    for ((da, a), b) in da.iter_mut().zip(a).zip(b) {
        let d = factor * (a - b);
        *da = if mode == Mode::Add { *da + d } else { d };
    }
}
