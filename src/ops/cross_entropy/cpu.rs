use macro_rules_attribute::apply;
use rayon::prelude::*;

use super::{IGNORE, Kind, ROW};
use crate::backend::Mode;
use crate::backend::cpu::simd;
use crate::dtype::Float;
use crate::ops::layout::Layout;

/// Sizes that all rows of a call share.
#[derive(Clone, Copy)]
struct Dims {
    p: usize,
    v: usize,
}

impl Dims {
    fn of<E>(layout: &Layout, logits: &[E]) -> Self {
        let n = layout.positions().total();
        Self { p: layout.prefix(), v: logits.len() / n.max(1) }
    }
}

pub fn forward<E: Float>(
    layout: &Layout,
    kind: Kind,
    logits: &[E],
    labels: &[i32],
    rows: &mut [f32],
) {
    let d = Dims::of(layout, logits);
    rows.par_chunks_mut(ROW)
        .zip(layout.positions().pieces(logits, d.v))
        .zip(layout.cells().pieces(labels, 1))
        .for_each(|((row, logits), labels)| forward_sequence(d, kind, logits, labels, row));
}

#[apply(simd)]
fn forward_sequence<E: Float>(d: Dims, kind: Kind, logits: &[E], labels: &[i32], row: &mut [f32]) {
    let mut s = vec![0.0_f32; d.v];
    let (mut loss, mut valid, mut right) = (0.0_f64, 0u32, 0u32);
    for (x, &label) in logits[d.p * d.v..].chunks_exact(d.v).zip(labels) {
        if label == IGNORE {
            continue;
        }
        let sum = scores(kind, x, &mut s);
        valid += 1;
        right += (argmax(x) == label as usize) as u32;
        loss += match kind {
            // s is exp(x - max): its log is known exactly.
            Kind::Softmax => (sum as f64).ln() - (x[label as usize].to_f32() - max(x)) as f64,
            Kind::Stablemax => (sum as f64 / s[label as usize] as f64).ln(),
        };
    }
    row[0] = (loss / valid.max(1) as f64) as f32;
    row[1] = valid as f32;
    row[2] = right as f32;
    row[3] = (right == valid) as u32 as f32;
}

pub fn backward<E: Float>(
    layout: &Layout,
    kind: Kind,
    logits: &[E],
    labels: &[i32],
    drows: &[f32],
    dx: &mut [E],
    mode: Mode,
) {
    let d = Dims::of(layout, logits);
    let (positions, cells) = (layout.positions(), layout.cells());
    positions
        .pieces_mut(dx, d.v)
        .into_par_iter()
        .zip(positions.pieces(logits, d.v))
        .zip(cells.pieces(labels, 1))
        .zip(drows.par_chunks(ROW))
        .for_each(|(((dx, x), labels), drow)| {
            if mode == Mode::Set {
                dx.fill(E::from_f32(0.0));
            }
            backward_sequence(d, kind, x, labels, drow[0], dx);
        });
}

#[apply(simd)]
fn backward_sequence<E: Float>(
    d: Dims,
    kind: Kind,
    logits: &[E],
    labels: &[i32],
    dloss: f32,
    dx: &mut [E],
) {
    let mut s = vec![0.0_f32; d.v];
    let valid = labels.iter().filter(|&&l| l != IGNORE).count();
    let dtoken = dloss / valid.max(1) as f32;
    let cells = logits[d.p * d.v..].chunks_exact(d.v).zip(dx[d.p * d.v..].chunks_exact_mut(d.v));
    for ((x, dx), &label) in cells.zip(labels) {
        if label == IGNORE {
            continue;
        }
        let sum = scores(kind, x, &mut s);
        for (v, (dx, &s)) in dx.iter_mut().zip(&s).enumerate() {
            let is_label = (v == label as usize) as u32 as f32;
            let g = match kind {
                Kind::Softmax => s / sum - is_label,
                // d log s / dx = s'/s, where s' = 1 above zero and s^2 below.
                Kind::Stablemax => {
                    let slope = if s < 1.0 { s * s } else { 1.0 };
                    slope * (1.0 / sum - is_label / s)
                }
            };
            *dx = E::from_f32(dx.to_f32() + dtoken * g);
        }
    }
}

/// s(x) into `s`; returns the sum. Softmax is relative to the maximum.
#[inline(always)]
fn scores<E: Float>(kind: Kind, x: &[E], s: &mut [f32]) -> f32 {
    match kind {
        Kind::Softmax => {
            let max = max(x);
            s.iter_mut().zip(x).for_each(|(s, x)| *s = simd::exp(x.to_f32() - max));
        }
        Kind::Stablemax => s.iter_mut().zip(x).for_each(|(s, x)| {
            let x = x.to_f32();
            *s = if x < 0.0 { 1.0 / (1.0 - x) } else { x + 1.0 };
        }),
    }
    s.iter().sum()
}

#[inline(always)]
fn max<E: Float>(x: &[E]) -> f32 {
    x.iter().fold(f32::NEG_INFINITY, |m, x| m.max(x.to_f32()))
}

/// The first index of the largest logit.
#[inline(always)]
fn argmax<E: Float>(x: &[E]) -> usize {
    let mut best = 0;
    for (i, v) in x.iter().enumerate() {
        if v.to_f32() > x[best].to_f32() {
            best = i;
        }
    }
    best
}
