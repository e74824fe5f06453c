//! Leading eigenvectors of a large symmetric matrix: subspace iteration with a Rayleigh-Ritz step,
//! the small problem by Jacobi rotations. The same bits for any number of threads.

use crate::backend::Mode;
use crate::backend::cpu::gemm::{Mat, MatMut, gemm};
use crate::rng::{Rng, Stream};

/// Vectors that are iterated beyond those asked for: they make the wanted ones settle faster.
const SPARE: usize = 32;
const MAX_ROUNDS: usize = 300;
/// Settled: the wanted eigenvalues' sum grows by less than this share in a round.
const SETTLED: f64 = 1e-9;

/// Eigenvalues in descending order and their vectors, (k, n) row by row, of a positive
/// semi-definite (n, n) matrix. Directions in which the matrix is zero come as zero vectors.
pub fn leading(matrix: &[f32], n: usize, k: usize) -> (Vec<f64>, Vec<f64>) {
    let m = (k + SPARE).min(n);
    let mut rng = Rng::new(0, Stream::Init, 0);
    let mut vectors: Vec<f64> =
        (0..m * n).map(|_| f64::from(rng.below(1 << 24)) / f64::from(1 << 23) - 1.0).collect();
    orthonormalise(&mut vectors, n);
    let mut values = vec![0.0; m];
    for _ in 0..MAX_ROUNDS {
        // (m, n) = V C, and V C V^T (m, m).
        let single: Vec<f32> = vectors.iter().map(|v| *v as f32).collect();
        let mut product = vec![0.0_f32; m * n];
        let (v, c) = (Mat::new(&single, m, n), Mat::new(matrix, n, n));
        gemm(1.0, v, c, None, Mode::Set, MatMut::new(&mut product, m, n));
        let product: Vec<f64> = product.into_iter().map(f64::from).collect();
        let mut small = vec![0.0; m * m];
        for (row, out) in vectors.chunks_exact(n).zip(small.chunks_exact_mut(m)) {
            for (other, out) in product.chunks_exact(n).zip(out) {
                *out = dot(row, other);
            }
        }
        let (ritz, turns) = jacobi(small, m);
        vectors = turned(&turns, &product, m, n);
        orthonormalise(&mut vectors, n);
        let [before, after] = [&values, &ritz].map(|v| v[..k.min(m)].iter().sum::<f64>());
        values = ritz;
        if after - before <= SETTLED * after {
            break;
        }
    }
    vectors.truncate(k.min(m) * n);
    values.truncate(k.min(m));
    (values, vectors)
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    // Eight sums side by side, in a fixed order.
    let mut sums = [0.0; 8];
    let (a8, b8) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest: f64 = a8.remainder().iter().zip(b8.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in a8.zip(b8) {
        (0..8).for_each(|i| sums[i] += a[i] * b[i]);
    }
    sums.iter().sum::<f64>() + rest
}

/// Row i of the result is sum over j of turns[j, i] * rows[j].
fn turned(turns: &[f64], rows: &[f64], m: usize, n: usize) -> Vec<f64> {
    let mut out = vec![0.0; m * n];
    for (i, out) in out.chunks_exact_mut(n).enumerate() {
        for (j, row) in rows.chunks_exact(n).enumerate() {
            let turn = turns[j * m + i];
            out.iter_mut().zip(row).for_each(|(out, v)| *out += turn * v);
        }
    }
    out
}

/// Gram-Schmidt, twice per row; a row that the ones before it span becomes zero.
fn orthonormalise(vectors: &mut [f64], n: usize) {
    for i in 0..vectors.len() / n {
        let (before, row) = vectors[..(i + 1) * n].split_at_mut(i * n);
        let whole = dot(row, row).sqrt();
        for _ in 0..2 {
            for other in before.chunks_exact(n) {
                let share = dot(row, other);
                row.iter_mut().zip(other).for_each(|(v, o)| *v -= share * o);
            }
        }
        let left = dot(row, row).sqrt();
        let scale = if left > 1e-7 * whole { 1.0 / left } else { 0.0 };
        row.iter_mut().for_each(|v| *v *= scale);
    }
}

/// All eigenvalues of a symmetric (m, m) matrix, descending, and its eigenvectors as columns.
fn jacobi(mut a: Vec<f64>, m: usize) -> (Vec<f64>, Vec<f64>) {
    for i in 0..m {
        for j in 0..i {
            let mean = 0.5 * (a[i * m + j] + a[j * m + i]);
            (a[i * m + j], a[j * m + i]) = (mean, mean);
        }
    }
    let mut v = vec![0.0; m * m];
    (0..m).for_each(|i| v[i * m + i] = 1.0);
    let scale: f64 = a.iter().map(|x| x * x).sum::<f64>().sqrt();
    for _sweep in 0..60 {
        let off: f64 = (0..m * m).filter(|i| i / m != i % m).map(|i| a[i] * a[i]).sum();
        if off.sqrt() <= 1e-14 * scale {
            break;
        }
        for p in 0..m {
            for q in p + 1..m {
                let apq = a[p * m + q];
                if apq == 0.0 {
                    continue;
                }
                // The rotation that makes a[p, q] zero.
                let theta = (a[q * m + q] - a[p * m + p]) / (2.0 * apq);
                let t = theta.signum() / (theta.abs() + (theta * theta + 1.0).sqrt());
                let c = 1.0 / (t * t + 1.0).sqrt();
                rotate(&mut a, m, p, q, c, t * c);
                columns(&mut v, m, p, q, c, t * c);
            }
        }
    }
    let mut order: Vec<usize> = (0..m).collect();
    order.sort_by(|i, j| a[j * m + j].total_cmp(&a[i * m + i]));
    let values = order.iter().map(|i| a[i * m + i]).collect();
    let vectors = (0..m * m).map(|at| v[at / m * m + order[at % m]]).collect();
    (values, vectors)
}

fn rotate(a: &mut [f64], m: usize, p: usize, q: usize, c: f64, s: f64) {
    columns(a, m, p, q, c, s);
    for k in 0..m {
        let (x, y) = (a[p * m + k], a[q * m + k]);
        (a[p * m + k], a[q * m + k]) = (c * x - s * y, s * x + c * y);
    }
}

fn columns(a: &mut [f64], m: usize, p: usize, q: usize, c: f64, s: f64) {
    for row in a.chunks_exact_mut(m) {
        let (x, y) = (row[p], row[q]);
        (row[p], row[q]) = (c * x - s * y, s * x + c * y);
    }
}
