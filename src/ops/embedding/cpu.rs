use rayon::prelude::*;

use super::Dims;
use crate::backend::Mode;
use crate::dtype::Float;

/// Sequences whose table gradients are summed by one task, before the tasks are summed in order.
const SEQUENCES_PER_TASK: usize = 4;

pub fn forward<E: Float>(
    d: Dims,
    tokens: &[i32],
    table: &[E],
    puzzle: &[f32],
    pos: Option<&[E]>,
    scale: f32,
    y: &mut [E],
) {
    let Dims { s, p, c, .. } = d;
    y.par_chunks_mut((p + s) * c).enumerate().for_each(|(b, y)| {
        let (prefix, cells) = y.split_at_mut(p * c);
        let rows = if d.d == 0 { &[][..] } else { &puzzle[b * d.d..(b + 1) * d.d] };
        for (i, y) in prefix.iter_mut().enumerate() {
            let e = E::from_f32(rows.get(i).copied().unwrap_or(0.0)).to_f32();
            *y = E::from_f32(scale * (e + pos.map_or(0.0, |pos| pos[i].to_f32())));
        }
        for (t, y) in cells.chunks_exact_mut(c).enumerate() {
            let id = tokens[b * s + t] as usize;
            let e = &table[id * c..(id + 1) * c];
            match pos {
                None => y.iter_mut().zip(e).for_each(|(y, e)| *y = E::from_f32(scale * e.to_f32())),
                Some(pos) => {
                    let pos = &pos[(p + t) * c..(p + t + 1) * c];
                    for ((y, e), pos) in y.iter_mut().zip(e).zip(pos) {
                        *y = E::from_f32(scale * (e.to_f32() + pos.to_f32()));
                    }
                }
            }
        }
    });
}

pub fn backward_table<E: Float>(
    d: Dims,
    tokens: &[i32],
    dy: &[E],
    scale: f32,
    dtable: &mut [f32],
    mode: Mode,
) {
    let Dims { s, p, c, v, .. } = d;
    let partials: Vec<Vec<f32>> = dy
        .par_chunks(SEQUENCES_PER_TASK * (p + s) * c)
        .zip(tokens.par_chunks(SEQUENCES_PER_TASK * s))
        .map(|(dy, tokens)| {
            let mut sums = vec![0.0; v * c];
            for (dy, tokens) in dy.chunks_exact((p + s) * c).zip(tokens.chunks_exact(s)) {
                for (dy, &id) in dy[p * c..].chunks_exact(c).zip(tokens) {
                    let sum = &mut sums[id as usize * c..][..c];
                    sum.iter_mut().zip(dy).for_each(|(sum, dy)| *sum += dy.to_f32());
                }
            }
            sums
        })
        .collect();
    start(dtable, mode);
    for sums in partials {
        dtable.iter_mut().zip(sums).for_each(|(g, sum)| *g += scale * sum);
    }
}

pub fn backward_puzzle<E: Float>(d: Dims, dy: &[E], scale: f32, dpuzzle: &mut [f32], mode: Mode) {
    start(dpuzzle, mode);
    for (g, dy) in dpuzzle.chunks_exact_mut(d.d).zip(dy.chunks_exact((d.p + d.s) * d.c)) {
        g.iter_mut().zip(dy).for_each(|(g, dy)| *g += scale * dy.to_f32());
    }
}

pub fn backward_pos<E: Float>(d: Dims, dy: &[E], scale: f32, dpos: &mut [f32], mode: Mode) {
    start(dpos, mode);
    let width = d.c;
    dpos.par_chunks_mut(width).enumerate().for_each(|(t, g)| {
        for dy in dy.chunks_exact((d.p + d.s) * d.c) {
            let dy = &dy[t * width..(t + 1) * width];
            g.iter_mut().zip(dy).for_each(|(g, dy)| *g += scale * dy.to_f32());
        }
    });
}

fn start(gradient: &mut [f32], mode: Mode) {
    if mode == Mode::Set {
        gradient.fill(0.0);
    }
}
