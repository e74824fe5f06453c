//! Plain loops over rows of one length; see the contract in `mod.rs`.

use super::{IGNORE, Kind, ROW};
use crate::ops::real::Real;

/// Sizes of one call; the letters of the contract.
#[derive(Clone, Copy, Debug)]
pub struct Dims {
    pub p: usize,
    pub s: usize,
    pub v: usize,
}

/// s(x), softmax's relative to the largest logit.
fn scores<R: Real>(kind: Kind, x: &[R]) -> Vec<R> {
    let one = R::of(1.0);
    let max = x.iter().fold(x[0], |m, &x| m.max(x));
    x.iter()
        .map(|&x| match kind {
            Kind::Softmax => (x - max).exp(),
            Kind::Stablemax if x < R::default() => one / (one - x),
            Kind::Stablemax => x + one,
        })
        .collect()
}

/// ln s(x[v]): softmax's from the logit, since its s may be too small to have a logarithm.
fn log_score<R: Real>(kind: Kind, x: &[R], s: &[R], v: usize) -> R {
    match kind {
        Kind::Softmax => x[v] - x.iter().fold(x[0], |m, &x| m.max(x)),
        Kind::Stablemax => s[v].ln(),
    }
}

/// ds/dx
fn slope<R: Real>(kind: Kind, x: R, s: R) -> R {
    match kind {
        Kind::Softmax => s,
        Kind::Stablemax if x < R::default() => s * s,
        Kind::Stablemax => R::of(1.0),
    }
}

fn is_valid(labels: &[i32]) -> impl Iterator<Item = (usize, usize)> {
    labels.iter().enumerate().filter(|(_, l)| **l != IGNORE).map(|(t, l)| (t, *l as usize))
}

/// rows (B, 4).
pub fn forward<R: Real>(d: Dims, kind: Kind, logits: &[R], labels: &[i32], rows: &mut [R]) {
    for (b, row) in rows.chunks_exact_mut(ROW).enumerate() {
        let (mut loss, mut valid, mut right) = (R::default(), 0.0, 0.0);
        for (t, label) in is_valid(&labels[b * d.s..][..d.s]) {
            let x = &logits[(b * (d.p + d.s) + d.p + t) * d.v..][..d.v];
            let s = scores(kind, x);
            loss += s.iter().copied().sum::<R>().ln() - log_score(kind, x, &s, label);
            let best = (0..d.v).fold(0, |best, v| if x[v] > x[best] { v } else { best });
            valid += 1.0;
            right += (best == label) as u32 as f64;
        }
        let all_right = (right == valid) as u32 as f64;
        row[0] = loss / R::of(f64::max(valid, 1.0));
        row[1..].copy_from_slice(&[valid, right, all_right].map(R::of));
    }
}

/// d logits, overwritten.
pub fn backward<R: Real>(
    d: Dims,
    kind: Kind,
    logits: &[R],
    labels: &[i32],
    drows: &[R],
    dx: &mut [R],
) {
    dx.fill(R::default());
    for (b, drow) in drows.chunks_exact(ROW).enumerate() {
        let labels = &labels[b * d.s..][..d.s];
        let dtoken = drow[0] / R::of(is_valid(labels).count().max(1) as f64);
        for (t, label) in is_valid(labels) {
            let start = (b * (d.p + d.s) + d.p + t) * d.v;
            let s = scores(kind, &logits[start..][..d.v]);
            let sum: R = s.iter().copied().sum();
            for v in 0..d.v {
                let of_label = if v == label { R::of(1.0) / s[v] } else { R::default() };
                let ds = R::of(1.0) / sum - of_label;
                dx[start + v] = (dtoken * ds * slope(kind, logits[start + v], s[v])).store();
            }
        }
    }
}
