use macro_rules_attribute::apply;
use rayon::prelude::*;

use crate::backend::Mode;
use crate::backend::cpu::simd;
use crate::ops::ELEMS_PER_TASK;

pub fn forward(mu: &[f32], log_var: &[f32]) -> f32 {
    let parts: Vec<f32> = mu
        .par_chunks(ELEMS_PER_TASK)
        .zip(log_var.par_chunks(ELEMS_PER_TASK))
        .map(|(mu, log_var)| forward_chunk(mu, log_var))
        .collect();
    (-0.5 * parts.iter().map(|&x| x as f64).sum::<f64>() / mu.len() as f64) as f32
}

#[apply(simd)]
fn forward_chunk(mu: &[f32], log_var: &[f32]) -> f32 {
    simd::sum_over([mu, log_var], |[m, v]| 1.0 + v - m * m - simd::exp(v))
}

#[apply(simd)]
pub fn backward_mu(mu: &[f32], factor: f32, dmu: &mut [f32], mode: Mode) {
    for (dmu, mu) in dmu.iter_mut().zip(mu) {
        let d = factor * mu;
        *dmu = if mode == Mode::Add { *dmu + d } else { d };
    }
}

#[apply(simd)]
pub fn backward_log_var(log_var: &[f32], factor: f32, dlog_var: &mut [f32], mode: Mode) {
    for (dv, &v) in dlog_var.iter_mut().zip(log_var) {
        let d = factor * 0.5 * (simd::exp(v) - 1.0);
        *dv = if mode == Mode::Add { *dv + d } else { d };
    }
}
