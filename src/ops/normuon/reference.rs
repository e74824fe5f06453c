//! Plain loops; see the contract in `mod.rs`.

use super::{Hyper, NORM_EPS, ROW_EPS};
use crate::ops::real::Real;

/// One matrix of `k` columns; `guard` is `global_norm`'s. `store` rounds where bf16 would.
pub fn step<R: Real>(
    [p, m, v]: [&mut [R]; 3],
    g: &[R],
    k: usize,
    guard: [R; 3],
    hyper: Hyper,
    [lr, weight_decay]: [f64; 2],
) {
    if guard[2] == R::default() {
        return;
    }
    let (b, b2, one) = (R::of(hyper.momentum), R::of(hyper.beta2), R::of(1.0));
    let r = v.len();
    let mut u = vec![R::default(); r * k];
    for i in 0..r * k {
        let g = guard[1] * g[i];
        m[i] = b * m[i] + (one - b) * g;
        u[i] = b * m[i] + (one - b) * g;
    }
    let length = norm(&u) + R::of(NORM_EPS as f64);
    let mut x: Vec<R> = u.iter().map(|&u| (u.store() / length).store()).collect();
    if r > k {
        x = transposed(&orthogonal(&transposed(&x, k), r), r);
    } else {
        x = orthogonal(&x, k);
    }
    let mut y = x.clone();
    for ((x, y), v) in x.chunks(k).zip(y.chunks_mut(k)).zip(v) {
        let mean = x.iter().map(|&x| x * x).sum::<R>() / R::of(k as f64);
        *v = b2 * *v + (one - b2) * mean;
        for y in y {
            *y = *y / (v.sqrt() + R::of(ROW_EPS as f64));
        }
    }
    let kept = norm(&x) / (norm(&y) + R::of(ROW_EPS as f64));
    let factor = R::of(lr * (r as f64 / k as f64).max(1.0).sqrt());
    for (p, y) in p.iter_mut().zip(y) {
        *p = *p * R::of(1.0 - lr * weight_decay) - factor * kept * y;
    }
}

/// Five steps of Newton-Schulz on x of `n` columns, no fewer than its rows.
pub fn orthogonal<R: Real>(x: &[R], n: usize) -> Vec<R> {
    let k = x.len() / n;
    let [c0, c1, c2] = [3.4445, -4.7750, 2.0315].map(R::of);
    let mut x = x.to_vec();
    for _ in 0..5 {
        let a = product(&x, &transposed(&x, n), n);
        let mut polynomial = product(&a, &a, k);
        for i in 0..k * k {
            let diagonal = if i / k == i % k { c0 } else { R::default() };
            polynomial[i] = (diagonal + c1 * a[i] + c2 * polynomial[i]).store();
        }
        x = product(&polynomial, &x, k);
    }
    x
}

/// x y of `k` columns and as many rows.
fn product<R: Real>(x: &[R], y: &[R], k: usize) -> Vec<R> {
    let n = y.len() / k;
    let of =
        |row: usize, col: usize| -> R { (0..k).map(|i| x[row * k + i] * y[i * n + col]).sum() };
    (0..x.len() / k * n).map(|i| of(i / n, i % n).store()).collect()
}

/// x of `n` columns.
fn transposed<R: Real>(x: &[R], n: usize) -> Vec<R> {
    let rows = x.len() / n;
    (0..x.len()).map(|i| x[i % rows * n + i / rows]).collect()
}

fn norm<R: Real>(x: &[R]) -> R {
    x.iter().map(|&x| x * x).sum::<R>().sqrt()
}
