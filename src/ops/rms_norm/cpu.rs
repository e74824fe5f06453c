use macro_rules_attribute::apply;
use rayon::prelude::*;

use crate::backend::cpu::simd;
use crate::dtype::Float;
use crate::ops::ROWS_PER_TASK;

/// `r`: none where x alone is normed.
pub fn forward<E: Float>(
    x: &[E],
    r: Option<&[E]>,
    c: usize,
    eps: f32,
    y: &mut [E],
    rstd: &mut [f32],
) {
    let task = ROWS_PER_TASK * c;
    y.par_chunks_mut(task)
        .zip(x.par_chunks(task))
        .zip(rstd.par_chunks_mut(ROWS_PER_TASK))
        .enumerate()
        .for_each(|(i, ((y, x), rstd))| {
            let r = r.map(|r| &r[i * task..][..x.len()]);
            forward_rows(x, r, c, eps, y, rstd);
        });
}

#[apply(simd)]
fn forward_rows<E: Float>(
    x: &[E],
    r: Option<&[E]>,
    c: usize,
    eps: f32,
    y: &mut [E],
    rstd: &mut [f32],
) {
    let rows = x.chunks_exact(c).zip(y.chunks_exact_mut(c)).zip(rstd);
    for (i, ((x, y), rstd)) in rows.enumerate() {
        match r {
            Some(r) => {
                for ((y, x), r) in y.iter_mut().zip(x).zip(&r[i * c..]) {
                    *y = E::from_f32(x.to_f32() + r.to_f32());
                }
            }
            None => y.copy_from_slice(x),
        }
        let mean_sq = simd::sum_sq(y) / c as f32;
        *rstd = 1.0 / (mean_sq + eps).sqrt();
        for y in y {
            *y = E::from_f32(y.to_f32() * *rstd);
        }
    }
}

/// dy becomes ds.
pub fn backward<E: Float>(dy: &mut [E], y: &[E], rstd: &[f32], c: usize) {
    let task = ROWS_PER_TASK * c;
    dy.par_chunks_mut(task)
        .zip(y.par_chunks(task))
        .zip(rstd.par_chunks(ROWS_PER_TASK))
        .for_each(|((dy, y), rstd)| backward_rows(dy, y, rstd, c));
}

#[apply(simd)]
fn backward_rows<E: Float>(dy: &mut [E], y: &[E], rstd: &[f32], c: usize) {
    for ((dy, y), rstd) in dy.chunks_exact_mut(c).zip(y.chunks_exact(c)).zip(rstd) {
        let mean = simd::dot(dy, y) / c as f32;
        for (dy, y) in dy.iter_mut().zip(y) {
            *dy = E::from_f32(rstd * (dy.to_f32() - y.to_f32() * mean));
        }
    }
}
