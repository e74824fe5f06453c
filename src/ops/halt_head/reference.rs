//! Plain loops; see the contract in `mod.rs`.

use super::{Dims, ROW};
use crate::ops::real::Real;

/// (B, 2C)
fn pool<R: Real>(d: Dims, h: &[R], l: &[R]) -> Vec<R> {
    let Dims { b, t, c } = d;
    let mean = |x: &[R], b: usize, i: usize| -> R {
        (0..t).map(|t_| x[(b * t + t_) * c + i]).sum::<R>() / R::of(t as f64)
    };
    let of = |b: usize, i: usize| if i < c { mean(h, b, i) } else { mean(l, b, i - c) };
    (0..b).flat_map(|b| (0..2 * c).map(move |i| (b, i))).map(|(b, i)| of(b, i)).collect()
}

fn sigmoid<R: Real>(z: R) -> R {
    R::of(1.0) / (R::of(1.0) + (-z).exp())
}

pub fn forward<R: Real>(d: Dims, h: &[R], l: &[R], w: &[R], bias: R, rows: &mut [R]) {
    let pooled = pool(d, h, l);
    for (row, pooled) in rows.chunks_exact_mut(ROW).zip(pooled.chunks_exact(2 * d.c)) {
        let z = pooled.iter().zip(w).map(|(&p, &w)| p * w).sum::<R>() + bias;
        row.copy_from_slice(&[z, sigmoid(z)]);
    }
}

pub struct Gradients<R> {
    pub h: Vec<R>,
    pub l: Vec<R>,
    pub w: Vec<R>,
    pub bias: Vec<R>,
}

pub fn backward<R: Real>(d: Dims, h: &[R], l: &[R], w: &[R], bias: R, drows: &[R]) -> Gradients<R> {
    let Dims { b, t, c } = d;
    let mut rows = vec![R::default(); b * ROW];
    forward(d, h, l, w, bias, &mut rows);
    let pooled = pool(d, h, l);
    let dz: Vec<R> = (0..b)
        .map(|b| {
            let p = rows[b * ROW + 1];
            drows[b * ROW] + drows[b * ROW + 1] * p * (R::of(1.0) - p)
        })
        .collect();
    let of_state = |w: &[R]| -> Vec<R> {
        let each = |i: usize| (dz[i / (t * c)] * w[i % c] / R::of(t as f64)).store();
        (0..b * t * c).map(each).collect()
    };
    let of_w = |i: usize| (0..b).map(|b| dz[b] * pooled[b * 2 * c + i]).sum();
    Gradients {
        h: of_state(&w[..c]),
        l: of_state(&w[c..]),
        w: (0..2 * c).map(of_w).collect(),
        bias: vec![dz.iter().copied().sum()],
    }
}
