use rayon::prelude::*;

use super::{Halting, metric};
use crate::dtype::Float;
use crate::ops::bce_logits::NO_TARGET;
use crate::ops::cross_entropy::ROW;
use crate::ops::draw::Draw;
use crate::ops::layout::Bounds;
use crate::rng::{Stream, philox, unit_f32};

pub fn admit(halted: &[u8], bounds: &Bounds, src: &[u8], dst: &mut [u8]) {
    let elem_bytes = dst.len() / bounds.total().max(1);
    let rows = bounds.pieces_mut(dst, elem_bytes).into_iter().zip(bounds.pieces(src, elem_bytes));
    for ((dst, src), _) in rows.zip(halted).filter(|(_, halted)| **halted != 0) {
        dst.copy_from_slice(src);
    }
}

pub fn reset<E: Float>(halted: &[u8], init: &[E], positions: &Bounds, z: &mut [E]) {
    let slots = positions.pieces_mut(z, init.len()).into_par_iter();
    slots.zip(halted).filter(|(_, h)| **h != 0).for_each(|(z, _)| {
        z.chunks_exact_mut(init.len()).for_each(|z| z.copy_from_slice(init));
    });
}

pub fn decide<E: Float>(
    q: &[E],
    how: Halting,
    draw: Option<Draw>,
    steps: &mut [i32],
    halted: &mut [u8],
) {
    let slots = q.chunks_exact(2).zip(steps).zip(halted);
    for (row, ((q, steps), halted)) in slots.enumerate() {
        *steps = if *halted != 0 { 1 } else { *steps + 1 };
        let mut halt = *steps >= how.max_steps;
        if how.training && how.max_steps > 1 {
            let other = if how.q_continue { q[1].to_f32() } else { 0.0 };
            halt |= q[0].to_f32() > other;
            halt &= *steps >= draw.map_or(0, |draw| min_steps(how, draw, row));
        }
        *halted = halt as u8;
    }
}

fn min_steps(how: Halting, draw: Draw, row: usize) -> i32 {
    let counter =
        [row as u32, Stream::Halting as u32, draw.number as u32, (draw.number >> 32) as u32];
    let words = philox(draw.seed, counter);
    if unit_f32(words[0]) < how.exploration_prob {
        2 + (words[1] % (how.max_steps as u32 - 1)) as i32
    } else {
        0
    }
}

pub fn targets(
    rows: &[f32],
    next_q: Option<&[f32]>,
    steps: &[i32],
    max_steps: i32,
    targets: &mut [f32],
) {
    for (b, target) in targets.chunks_exact_mut(2).enumerate() {
        target[0] = rows[b * ROW + 3];
        target[1] = next_q.map_or(NO_TARGET, |q| {
            let (halt, go_on) = (q[2 * b], q[2 * b + 1]);
            let best = if steps[b] >= max_steps { halt } else { halt.max(go_on) };
            1.0 / (1.0 + (-best).exp())
        });
    }
}

pub fn metrics(
    rows: &[f32],
    q: &[f32],
    q_rows: &[f32],
    steps: &[i32],
    halted: &[u8],
    metrics: &mut [f32],
) {
    let mut sums = [0.0_f64; metric::LEN];
    for b in 0..halted.len() {
        let row = &rows[b * ROW..][..ROW];
        sums[metric::LM_LOSS] += row[0] as f64;
        sums[metric::Q_HALT_LOSS] += q_rows[2 * b] as f64;
        sums[metric::Q_CONTINUE_LOSS] += q_rows[2 * b + 1] as f64;
        if halted[b] == 0 || row[1] == 0.0 {
            continue;
        }
        let thinks_right = (q[2 * b] >= 0.0) as u32 as f32;
        sums[metric::COUNT] += 1.0;
        sums[metric::ACCURACY] += (row[2] / row[1]) as f64;
        sums[metric::EXACT_ACCURACY] += row[3] as f64;
        sums[metric::Q_HALT_ACCURACY] += (thinks_right == row[3]) as u32 as f64;
        sums[metric::STEPS] += steps[b] as f64;
    }
    metrics.iter_mut().zip(sums).for_each(|(m, s)| *m = s as f32);
}
