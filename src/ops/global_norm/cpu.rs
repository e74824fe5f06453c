use macro_rules_attribute::apply;
use rayon::prelude::*;

use crate::backend::cpu::simd;
use crate::ops::ELEMS_PER_TASK;

pub fn guard(g: &[f32], losses: &[f32], max_norm: f32, guard: &mut [f32]) {
    let partials: Vec<f64> = g.par_chunks(ELEMS_PER_TASK).map(sum_sq).collect();
    let norm = partials.iter().sum::<f64>().sqrt() as f32;
    let finite = norm.is_finite() && losses.iter().all(|l| l.is_finite());
    guard[0] = norm;
    guard[1] = if max_norm > 0.0 { (max_norm / (norm + 1e-6)).min(1.0) } else { 1.0 };
    guard[2] = finite as u32 as f32;
}

#[apply(simd)]
fn sum_sq(g: &[f32]) -> f64 {
    const LANES: usize = 16;
    let mut lanes = [0.0_f64; LANES];
    let mut chunks = g.chunks_exact(LANES);
    for chunk in &mut chunks {
        for (lane, g) in lanes.iter_mut().zip(chunk) {
            *lane += *g as f64 * *g as f64;
        }
    }
    let tail: f64 = chunks.remainder().iter().map(|g| *g as f64 * *g as f64).sum();
    lanes.iter().sum::<f64>() + tail
}
