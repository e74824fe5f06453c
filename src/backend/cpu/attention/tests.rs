//! Against plain f64 loops, finite differences, and itself on other numbers of threads.

use super::*;
use crate::dtype::bf16;

fn values<E: Float>(len: usize, seed: u32) -> Vec<E> {
    let mut state = seed.wrapping_mul(0x9E37_79B9) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as f32 / u32::MAX as f32 * 4.0 - 2.0
    };
    (0..len).map(|_| E::from_f32(next())).collect()
}

fn tables(d: Dims) -> (Vec<f32>, Vec<f32>) {
    let angle = |i: usize| {
        let (t, j) = (i / d.head_dim, i % d.head_dim % (d.head_dim / 2).max(1));
        t as f32 * 10_000f32.powf(-2.0 * j as f32 / d.head_dim as f32)
    };
    let angles: Vec<f32> = (0..d.t * d.head_dim).map(angle).collect();
    (angles.iter().map(|a| a.cos()).collect(), angles.iter().map(|a| a.sin()).collect())
}

/// (y, lse) in f64, from the definition.
fn plain(d: Dims, qkv: &[f64], rope: Option<Rope>) -> (Vec<f64>, Vec<f64>) {
    let (t, hd, c) = (d.t, d.head_dim, d.c());
    let (mut y, mut lse) = (vec![0.0; d.batch * t * c], vec![0.0; d.batch * d.heads * t]);
    for b in 0..d.batch {
        for h in 0..d.heads {
            let x =
                |part: usize, t_: usize, j: usize| qkv[((b * t + t_) * 3 + part) * c + h * hd + j];
            let turned = |part: usize, t_: usize, j: usize| match rope {
                None => x(part, t_, j),
                Some(rope) => {
                    let other =
                        if j < hd / 2 { -x(part, t_, j + hd / 2) } else { x(part, t_, j - hd / 2) };
                    let at = t_ * hd + j;
                    x(part, t_, j) * rope.cos[at] as f64 + other * rope.sin[at] as f64
                }
            };
            let rows = |part| -> Vec<Vec<f64>> {
                (0..t).map(|i| (0..hd).map(|j| turned(part, i, j)).collect()).collect()
            };
            let (q, k) = (rows(0), rows(1));
            for i in 0..t {
                let score = |k: &Vec<f64>| {
                    q[i].iter().zip(k).map(|(q, k)| q * k).sum::<f64>() / (hd as f64).sqrt()
                };
                let s: Vec<f64> = k.iter().map(score).collect();
                let max = s.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let l = max + s.iter().map(|s| (s - max).exp()).sum::<f64>().ln();
                lse[(b * d.heads + h) * t + i] = l;
                for (n, s) in s.iter().enumerate() {
                    for j in 0..hd {
                        y[(b * t + i) * c + h * hd + j] += (s - l).exp() * x(2, n, j);
                    }
                }
            }
        }
    }
    (y, lse)
}

fn expect_close<E: Float>(what: &str, got: &[E], want: &[f64], tolerance: f64) {
    assert_eq!(got.len(), want.len(), "{what}");
    let scale = want.iter().fold(1e-12, |a: f64, w| a.max(w.abs()));
    for (i, (g, w)) in got.iter().zip(want).enumerate() {
        let g = g.to_f32() as f64;
        assert!((g - w).abs() <= tolerance * scale, "{what}[{i}]: {g} {w} (scale {scale})");
    }
}

fn dims(batch: usize, t: usize, heads: usize, head_dim: usize) -> Dims {
    Dims { batch, t, heads, head_dim }
}

const CASES: &[(usize, usize, usize, usize)] = &[
    (1, 1, 1, 4),
    (2, 3, 1, 8),
    (1, 17, 3, 8),
    (2, 29, 2, 12),
    (1, 50, 2, 16),
    (2, 82, 4, 32),
    (1, 97, 2, 64),
    (1, 256, 1, 20),
    (1, 257, 1, 36),
    (1, 541, 2, 32),
];

fn check_forward<E: Float>(tolerance: f64, lse_tolerance: f64) {
    for &(b, t, nh, hd) in CASES {
        let d = dims(b, t, nh, hd);
        let qkv = values::<E>(b * t * 3 * d.c(), 1);
        let wide: Vec<f64> = qkv.iter().map(|x| x.to_f32() as f64).collect();
        let (cos, sin) = tables(d);
        for rope in [None, Some(Rope { cos: &cos, sin: &sin })] {
            let (want_y, want_lse) = plain(d, &wide, rope);
            let mut y = vec![E::from_f32(f32::NAN); want_y.len()];
            let mut lse = vec![f32::NAN; want_lse.len()];
            forward(d, &qkv, rope, &mut y, &mut lse);
            expect_close(&format!("{d:?} y"), &y, &want_y, tolerance);
            expect_close(&format!("{d:?} lse"), &lse, &want_lse, lse_tolerance);
        }
    }
}

#[test]
fn forward_agrees_with_plain_loops_f32() {
    check_forward::<f32>(3e-6, 1e-6);
}

#[test]
fn forward_agrees_with_plain_loops_bf16() {
    check_forward::<bf16>(0.015, 0.003);
}

/// dqkv in f64 by the formulas of the contract, through central differences of `plain`.
fn differences(d: Dims, qkv: &[f64], rope: Option<Rope>, dy: &[f64]) -> Vec<f64> {
    let loss =
        |qkv: &[f64]| -> f64 { plain(d, qkv, rope).0.iter().zip(dy).map(|(y, dy)| y * dy).sum() };
    let (mut x, step) = (qkv.to_vec(), 1e-4);
    (0..x.len())
        .map(|i| {
            x[i] = qkv[i] + step;
            let above = loss(&x);
            x[i] = qkv[i] - step;
            let below = loss(&x);
            x[i] = qkv[i];
            (above - below) / (2.0 * step)
        })
        .collect()
}

fn gradient<E: Float>(d: Dims, qkv: &[E], rope: Option<Rope>, dy: &[E], mode: Mode) -> Vec<E> {
    let (mut y, mut lse) = (dy.to_vec(), vec![0.0; d.batch * d.heads * d.t]);
    forward(d, qkv, rope, &mut y, &mut lse);
    let before = if mode == Mode::Add { 1.0 } else { f32::NAN };
    let mut dqkv = vec![E::from_f32(before); qkv.len()];
    backward(d, qkv, rope, &y, &lse, dy, mode, &mut dqkv);
    dqkv
}

#[test]
fn backward_agrees_with_differences() {
    for (b, t, nh, hd) in [(1, 1, 1, 4), (2, 5, 2, 4), (1, 17, 1, 8), (1, 30, 1, 6)] {
        let d = dims(b, t, nh, hd);
        let (qkv, dy) = (values::<f32>(b * t * 3 * d.c(), 1), values::<f32>(b * t * d.c(), 2));
        let wide = |x: &[f32]| -> Vec<f64> { x.iter().map(|&x| x as f64).collect() };
        let (cos, sin) = tables(d);
        for rope in [None, Some(Rope { cos: &cos, sin: &sin })] {
            let want = differences(d, &wide(&qkv), rope, &wide(&dy));
            expect_close("set", &gradient(d, &qkv, rope, &dy, Mode::Set), &want, 2e-6);
            let want: Vec<f64> = want.iter().map(|w| w + 1.0).collect();
            expect_close("add", &gradient(d, &qkv, rope, &dy, Mode::Add), &want, 2e-6);
        }
    }
}

/// Gradient of the definition, written out in f64 without rope.
fn plain_backward(d: Dims, qkv: &[f64], dy: &[f64]) -> Vec<f64> {
    let (t, hd, c) = (d.t, d.head_dim, d.c());
    let (y, lse) = plain(d, qkv, None);
    let mut dqkv = vec![0.0; qkv.len()];
    for b in 0..d.batch {
        for h in 0..d.heads {
            let at = |part: usize, i: usize| ((b * t + i) * 3 + part) * c + h * hd;
            let out = |i: usize| (b * t + i) * c + h * hd;
            let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
            for i in 0..t {
                let q = &qkv[at(0, i)..][..hd];
                let dy = &dy[out(i)..][..hd];
                let delta = dot(dy, &y[out(i)..][..hd]);
                for j in 0..t {
                    let (k, v) = (&qkv[at(1, j)..][..hd], &qkv[at(2, j)..][..hd]);
                    let scale = 1.0 / (hd as f64).sqrt();
                    let p = (dot(q, k) * scale - lse[(b * d.heads + h) * t + i]).exp();
                    let ds = p * (dot(dy, v) - delta) * scale;
                    for n in 0..hd {
                        dqkv[at(0, i) + n] += ds * k[n];
                        dqkv[at(1, j) + n] += ds * q[n];
                        dqkv[at(2, j) + n] += p * dy[n];
                    }
                }
            }
        }
    }
    dqkv
}

fn check_backward<E: Float>(tolerance: f64) {
    for &(b, t, nh, hd) in CASES {
        let d = dims(b, t, nh, hd);
        let (qkv, dy) = (values::<E>(b * t * 3 * d.c(), 1), values::<E>(b * t * d.c(), 2));
        let wide = |x: &[E]| -> Vec<f64> { x.iter().map(|x| x.to_f32() as f64).collect() };
        let want = plain_backward(d, &wide(&qkv), &wide(&dy));
        expect_close(&format!("{d:?}"), &gradient(d, &qkv, None, &dy, Mode::Set), &want, tolerance);
    }
}

#[test]
fn backward_agrees_with_plain_loops_f32() {
    check_backward::<f32>(5e-6);
}

#[test]
fn backward_agrees_with_plain_loops_bf16() {
    check_backward::<bf16>(0.02);
}

#[test]
fn thread_count_does_not_change_bits() {
    let d = dims(1, 541, 3, 16);
    let (qkv, dy) = (values::<bf16>(d.t * 3 * d.c(), 5), values::<bf16>(d.t * d.c(), 6));
    let (cos, sin) = tables(d);
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let rope = Some(Rope { cos: &cos, sin: &sin });
        pool.install(|| {
            let (mut y, mut lse) = (dy.clone(), vec![0.0; d.heads * d.t]);
            forward(d, &qkv, rope, &mut y, &mut lse);
            (y, lse, gradient(d, &qkv, rope, &dy, Mode::Set))
        })
    };
    assert!(run(1) == run(2));
    assert!(run(3) == run(2));
}

#[test]
fn large_scores_do_not_overflow_and_nan_is_not_hidden() {
    let d = dims(1, 40, 1, 4);
    let mut qkv = values::<f32>(d.t * 12, 3);
    qkv.iter_mut().for_each(|x| *x *= 300.0);
    let (mut y, mut lse) = (vec![0.0; d.t * 4], vec![0.0; d.t]);
    forward(d, &qkv, None, &mut y, &mut lse);
    let wide: Vec<f64> = qkv.iter().map(|&x| x as f64).collect();
    expect_close("lse", &lse, &plain(d, &wide, None).1, 1e-6);
    qkv[12 + 4] = f32::NAN;
    forward(d, &qkv, None, &mut y, &mut lse);
    assert!(y.iter().all(|y| y.is_nan()) && lse.iter().all(|l| l.is_nan()));
}

#[test]
#[should_panic(expected = "attention lse")]
fn wrong_lengths_are_refused() {
    let d = dims(1, 2, 1, 4);
    forward(d, &[0f32; 24], None, &mut [0.0; 8], &mut [0.0; 3]);
}
