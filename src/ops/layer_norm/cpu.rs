use macro_rules_attribute::apply;
use rayon::prelude::*;

use crate::backend::Mode;
use crate::backend::cpu::simd;
use crate::dtype::Float;
use crate::ops::{ELEMS_PER_TASK, ROWS_PER_TASK};

/// s = x + r
pub fn sum<E: Float>(x: &[E], r: &[E], s: &mut [E]) {
    s.par_chunks_mut(ELEMS_PER_TASK)
        .zip(x.par_chunks(ELEMS_PER_TASK))
        .zip(r.par_chunks(ELEMS_PER_TASK))
        .for_each(|((s, x), r)| sum_chunk(x, r, s));
}

#[apply(simd)]
fn sum_chunk<E: Float>(x: &[E], r: &[E], s: &mut [E]) {
    for ((s, x), r) in s.iter_mut().zip(x).zip(r) {
        *s = E::from_f32(x.to_f32() + r.to_f32());
    }
}

pub fn forward<E: Float>(
    s: &[E],
    gain: &[E],
    bias: &[E],
    eps: f32,
    y: &mut [E],
    mean: &mut [f32],
    rstd: &mut [f32],
) {
    let task = ROWS_PER_TASK * gain.len();
    y.par_chunks_mut(task)
        .zip(s.par_chunks(task))
        .zip(mean.par_chunks_mut(ROWS_PER_TASK))
        .zip(rstd.par_chunks_mut(ROWS_PER_TASK))
        .for_each(|(((y, s), mean), rstd)| forward_rows(s, gain, bias, eps, y, mean, rstd));
}

#[apply(simd)]
fn forward_rows<E: Float>(
    s: &[E],
    gain: &[E],
    bias: &[E],
    eps: f32,
    y: &mut [E],
    mean: &mut [f32],
    rstd: &mut [f32],
) {
    let c = gain.len();
    let mut centred = vec![0.0_f32; c];
    let rows = s.chunks_exact(c).zip(y.chunks_exact_mut(c));
    for ((s, y), (mean, rstd)) in rows.zip(mean.iter_mut().zip(rstd)) {
        *mean = simd::sum(s) / c as f32;
        centred.iter_mut().zip(s).for_each(|(d, s)| *d = s.to_f32() - *mean);
        *rstd = 1.0 / (simd::sum_sq(&centred) / c as f32 + eps).sqrt();
        for ((y, d), (gain, bias)) in y.iter_mut().zip(&centred).zip(gain.iter().zip(bias)) {
            *y = E::from_f32(d * *rstd * gain.to_f32() + bias.to_f32());
        }
    }
}

/// dy becomes ds; returns dgain and dbias.
pub fn backward<E: Float>(
    dy: &mut [E],
    s: &[E],
    mean: &[f32],
    rstd: &[f32],
    gain: &[E],
) -> [Vec<f32>; 2] {
    let c = gain.len();
    let task = ROWS_PER_TASK * c;
    let parts: Vec<[Vec<f32>; 2]> = dy
        .par_chunks_mut(task)
        .zip(s.par_chunks(task))
        .zip(mean.par_chunks(ROWS_PER_TASK))
        .zip(rstd.par_chunks(ROWS_PER_TASK))
        .map(|(((dy, s), mean), rstd)| {
            let mut sums = [vec![0.0; c], vec![0.0; c]];
            backward_rows(dy, s, mean, rstd, gain, &mut sums);
            sums
        })
        .collect();
    let mut sums = [vec![0.0; c], vec![0.0; c]];
    for part in parts {
        for (sum, part) in sums.iter_mut().flatten().zip(part.iter().flatten()) {
            *sum += part;
        }
    }
    sums
}

#[apply(simd)]
fn backward_rows<E: Float>(
    dy: &mut [E],
    s: &[E],
    mean: &[f32],
    rstd: &[f32],
    gain: &[E],
    [dgain, dbias]: &mut [Vec<f32>; 2],
) {
    let c = gain.len();
    let (mut xhat, mut g) = (vec![0.0_f32; c], vec![0.0_f32; c]);
    let rows = dy.chunks_exact_mut(c).zip(s.chunks_exact(c));
    for ((dy, s), (mean, rstd)) in rows.zip(mean.iter().zip(rstd)) {
        for i in 0..c {
            let d = dy[i].to_f32();
            xhat[i] = (s[i].to_f32() - mean) * rstd;
            g[i] = d * gain[i].to_f32();
            dgain[i] += d * xhat[i];
            dbias[i] += d;
        }
        let (mean_g, mean_dot) = (simd::sum(&g) / c as f32, simd::dot(&g, &xhat) / c as f32);
        for i in 0..c {
            dy[i] = E::from_f32(rstd * (g[i] - mean_g - xhat[i] * mean_dot));
        }
    }
}

/// A sum into its gradient.
pub fn put(sums: &[f32], to: &mut [f32], mode: Mode) {
    for (to, sum) in to.iter_mut().zip(sums) {
        *to = if mode == Mode::Add { *to + sum } else { *sum };
    }
}
