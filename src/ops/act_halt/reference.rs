//! Plain loops; see the contract in `mod.rs`. One slot at a time.

use super::{Halting, metric};
use crate::ops::bce_logits::NO_TARGET;
use crate::ops::cross_entropy::ROW;
use crate::ops::draw::Draw;
use crate::ops::real::Real;
use crate::rng::{Stream, philox, unit_f32};

/// `row`: elements of dst per slot.
pub fn admit<T: Copy>(halted: &[u8], row: usize, src: &[T], dst: &mut [T]) {
    for i in 0..dst.len() {
        if halted[i / row] != 0 {
            dst[i] = src[i];
        }
    }
}

pub fn reset<T: Copy>(halted: &[u8], init: &[T], t: usize, z: &mut [T]) {
    for i in 0..z.len() {
        if halted[i / (t * init.len())] != 0 {
            z[i] = init[i % init.len()];
        }
    }
}

pub fn decide<R: Real>(q: &[R], how: Halting, draw: Draw, steps: &mut [i32], halted: &mut [u8]) {
    for b in 0..steps.len() {
        steps[b] = if halted[b] != 0 { 0 } else { steps[b] } + 1;
        let last = steps[b] >= how.max_steps;
        let against = if how.q_continue { q[2 * b + 1] } else { R::default() };
        halted[b] = match how.training && how.max_steps > 1 {
            false => last,
            true => (last || q[2 * b] > against) && steps[b] >= min_steps(how, draw, b),
        } as u8;
    }
}

fn min_steps(how: Halting, draw: Draw, b: usize) -> i32 {
    let number = [draw.number as u32, (draw.number >> 32) as u32];
    let words = philox(draw.seed, [b as u32, Stream::Halting as u32, number[0], number[1]]);
    let explores = unit_f32(words[0]) < how.exploration_prob;
    if explores { 2 + (words[1] % (how.max_steps - 1) as u32) as i32 } else { 0 }
}

pub fn targets<R: Real>(
    rows: &[R],
    next_q: Option<&[R]>,
    steps: &[i32],
    max_steps: i32,
    targets: &mut [R],
) {
    for b in 0..steps.len() {
        targets[2 * b] = rows[b * ROW + 3];
        targets[2 * b + 1] = match next_q {
            None => R::of(NO_TARGET as f64),
            Some(q) => {
                let last = steps[b] >= max_steps;
                let value = if last { q[2 * b] } else { q[2 * b].max(q[2 * b + 1]) };
                R::of(1.0) / (R::of(1.0) + (-value).exp())
            }
        };
    }
}

pub fn metrics<R: Real>(
    rows: &[R],
    q: &[R],
    q_rows: &[R],
    steps: &[i32],
    halted: &[u8],
    metrics: &mut [R],
) {
    metrics.fill(R::default());
    for b in 0..halted.len() {
        let &[loss, valid, right, all_right] = &rows[b * ROW..][..ROW] else { unreachable!() };
        metrics[metric::LM_LOSS] += loss;
        metrics[metric::Q_HALT_LOSS] += q_rows[2 * b];
        metrics[metric::Q_CONTINUE_LOSS] += q_rows[2 * b + 1];
        if halted[b] != 0 && valid > R::default() {
            let says_right = R::of((q[2 * b] >= R::default()) as u32 as f64);
            metrics[metric::COUNT] += R::of(1.0);
            metrics[metric::ACCURACY] += right / valid;
            metrics[metric::EXACT_ACCURACY] += all_right;
            metrics[metric::Q_HALT_ACCURACY] += R::of((says_right == all_right) as u32 as f64);
            metrics[metric::STEPS] += R::of(steps[b] as f64);
        }
    }
}
