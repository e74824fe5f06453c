use macro_rules_attribute::apply;
use rayon::prelude::*;

use super::{NORM_EPS, ROW_EPS};
use crate::backend::cpu::simd;
use crate::dtype::{Float, bf16};
use crate::ops::{ELEMS_PER_TASK, ROWS_PER_TASK};

/// M and U; 1 / (|U| + eps).
pub fn momentum<E: Float>(
    g: &[f32],
    m: &mut [f32],
    u: &mut [E],
    [scale, ok]: [f32; 2],
    beta: f32,
) -> f32 {
    if ok == 0.0 {
        u.fill(E::from_f32(0.0));
        return 1.0 / NORM_EPS;
    }
    let sums: Vec<f64> = g
        .par_chunks(ELEMS_PER_TASK)
        .zip(m.par_chunks_mut(ELEMS_PER_TASK))
        .zip(u.par_chunks_mut(ELEMS_PER_TASK))
        .map(|((g, m), u)| momentum_chunk(g, m, u, scale, beta))
        .collect();
    1.0 / (sums.iter().sum::<f64>().sqrt() as f32 + NORM_EPS)
}

/// The sum of squares of what becomes u.
#[apply(simd)]
fn momentum_chunk<E: Float>(g: &[f32], m: &mut [f32], u: &mut [E], scale: f32, beta: f32) -> f64 {
    const LANES: usize = 16;
    let mut lanes = [0.0_f64; LANES];
    for ((g, m), u) in g.chunks(LANES).zip(m.chunks_mut(LANES)).zip(u.chunks_mut(LANES)) {
        for (((g, m), u), lane) in g.iter().zip(m).zip(u).zip(&mut lanes) {
            let g = scale * g;
            *m = beta * *m + (1.0 - beta) * g;
            let next = beta * *m + (1.0 - beta) * g;
            *lane += next as f64 * next as f64;
            *u = E::from_f32(next);
        }
    }
    lanes.iter().sum()
}

pub fn scale<E: Float>(x: &mut [E], factor: f32) {
    x.par_chunks_mut(ELEMS_PER_TASK).for_each(|x| scale_chunk(x, factor));
}

#[apply(simd)]
fn scale_chunk<E: Float>(x: &mut [E], factor: f32) {
    for x in x {
        *x = E::from_f32(factor * x.to_f32());
    }
}

/// squared = c0 I + c1 a + c2 squared, both (n, n).
pub fn combine<E: Float>(squared: &mut [E], a: &[E], n: usize, c: [f32; 3]) {
    squared
        .par_chunks_mut(ROWS_PER_TASK * n)
        .zip(a.par_chunks(ROWS_PER_TASK * n))
        .enumerate()
        .for_each(|(task, (squared, a))| combine_rows(squared, a, n, task * ROWS_PER_TASK, c));
}

#[apply(simd)]
fn combine_rows<E: Float>(squared: &mut [E], a: &[E], n: usize, first: usize, c: [f32; 3]) {
    let rows = squared.chunks_exact_mut(n).zip(a.chunks_exact(n));
    for (row, (squared, a)) in (first..).zip(rows) {
        let on_diagonal = c[0] + c[1] * a[row].to_f32() + c[2] * squared[row].to_f32();
        for (squared, a) in squared.iter_mut().zip(a) {
            *squared = E::from_f32(c[1] * a.to_f32() + c[2] * squared.to_f32());
        }
        squared[row] = E::from_f32(on_diagonal);
    }
}

/// v; sums of squares of rows and what they are multiplied by; |X| / (|Y| + eps).
pub fn weigh_rows<E: Float>(
    x: &[E],
    v: &mut [f32],
    rows: &mut [f32],
    beta2: f32,
    is_up: bool,
) -> f32 {
    let (k, (sums, scales)) = (x.len() / v.len(), rows.split_at_mut(v.len()));
    x.par_chunks(ROWS_PER_TASK * k)
        .zip(sums.par_chunks_mut(ROWS_PER_TASK))
        .for_each(|(x, sums)| row_sums(x, k, sums));
    let (mut before, mut after) = (0.0_f64, 0.0_f64);
    for ((v, sum), scale) in v.iter_mut().zip(sums).zip(scales) {
        if is_up {
            *v = beta2 * *v + (1.0 - beta2) * (*sum / k as f32);
        }
        *scale = 1.0 / (v.sqrt() + ROW_EPS);
        before += *sum as f64;
        after += *sum as f64 * *scale as f64 * *scale as f64;
    }
    (before.sqrt() / (after.sqrt() + ROW_EPS as f64)) as f32
}

#[apply(simd)]
fn row_sums<E: Float>(x: &[E], k: usize, sums: &mut [f32]) {
    for (sum, x) in sums.iter_mut().zip(x.chunks_exact(k)) {
        *sum = simd::sum_sq(x);
    }
}

/// p = decay p - length scale\[row\] x.
pub fn apply<E: Float>(
    p: &mut [f32],
    copy: Option<&mut [bf16]>,
    x: &[E],
    scales: &[f32],
    length: f32,
    decay: f32,
) {
    let task = ROWS_PER_TASK * (p.len() / scales.len());
    let copies: Vec<Option<&mut [bf16]>> = match copy {
        Some(copy) => copy.chunks_mut(task).map(Some).collect(),
        None => p.chunks(task).map(|_| None).collect(),
    };
    p.par_chunks_mut(task)
        .zip(copies)
        .zip(x.par_chunks(task))
        .zip(scales.par_chunks(ROWS_PER_TASK))
        .for_each(|(((p, copy), x), scales)| {
            apply_rows(p, x, scales, length, decay);
            if let Some(copy) = copy {
                simd::to_bf16(p, copy);
            }
        });
}

#[apply(simd)]
fn apply_rows<E: Float>(p: &mut [f32], x: &[E], scales: &[f32], length: f32, decay: f32) {
    let k = p.len() / scales.len();
    for ((p, x), scale) in p.chunks_exact_mut(k).zip(x.chunks_exact(k)).zip(scales) {
        for (p, x) in p.iter_mut().zip(x) {
            *p = decay * *p - length * scale * x.to_f32();
        }
    }
}
