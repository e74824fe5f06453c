use rayon::prelude::*;

use super::Call;
use crate::Result;
use crate::backend::Mode;
use crate::dtype::Float;
use crate::tensor::Read;

/// Sequences whose table gradients are summed by one task, before the tasks are summed in order.
const SEQUENCES_PER_TASK: usize = 4;

pub fn forward<E: Float>(
    call: &Call,
    tokens: &[i32],
    table: &[E],
    puzzle: &[f32],
    pos: Option<&[E]>,
    y: &mut [E],
) -> Result<()> {
    let &Call { ref layout, c, d, scale, .. } = call;
    let places = call.places()?;
    let slots = layout.positions().pieces_mut(y, c).into_par_iter();
    let slots = slots.zip(layout.cells().pieces(tokens, 1));
    slots.zip(layout.positions().pieces(&places, 1)).enumerate().for_each(
        |(b, ((y, tokens), places))| {
            let (prefix, cells) = y.split_at_mut(layout.prefix() * c);
            let row = if d == 0 { &[][..] } else { &puzzle[b * d..(b + 1) * d] };
            for (i, y) in prefix.iter_mut().enumerate() {
                let e = E::from_f32(row.get(i).copied().unwrap_or(0.0)).to_f32();
                *y = E::from_f32(scale * (e + pos.map_or(0.0, |pos| pos[i].to_f32())));
            }
            let places = &places[layout.prefix()..];
            for ((y, &id), &place) in cells.chunks_exact_mut(c).zip(tokens).zip(places) {
                let e = &table[id as usize * c..][..c];
                match pos {
                    None => {
                        y.iter_mut().zip(e).for_each(|(y, e)| *y = E::from_f32(scale * e.to_f32()));
                    }
                    Some(pos) => {
                        let pos = &pos[place as usize * c..][..c];
                        for ((y, e), pos) in y.iter_mut().zip(e).zip(pos) {
                            *y = E::from_f32(scale * (e.to_f32() + pos.to_f32()));
                        }
                    }
                }
            }
        },
    );
    Ok(())
}

pub fn backward_table<E: Float>(
    call: &Call,
    tokens: &[i32],
    dy: &[E],
    dtable: &mut [f32],
    mode: Mode,
) {
    let &Call { ref layout, c, v, scale, .. } = call;
    let dy = layout.positions().pieces(dy, c);
    let tokens = layout.cells().pieces(tokens, 1);
    let partials: Vec<Vec<f32>> = dy
        .par_chunks(SEQUENCES_PER_TASK)
        .zip(tokens.par_chunks(SEQUENCES_PER_TASK))
        .map(|(dy, tokens)| {
            let mut sums = vec![0.0; v * c];
            for (dy, tokens) in dy.iter().zip(tokens) {
                for (dy, &id) in dy[layout.prefix() * c..].chunks_exact(c).zip(*tokens) {
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

pub fn backward_puzzle<E: Float>(call: &Call, dy: &[E], dpuzzle: &mut [f32], mode: Mode) {
    start(dpuzzle, mode);
    let slots = call.layout.positions().pieces(dy, call.c);
    for (g, dy) in dpuzzle.chunks_exact_mut(call.d).zip(slots) {
        g.iter_mut().zip(dy).for_each(|(g, dy)| *g += call.scale * dy.to_f32());
    }
}

/// Sums go over the rows in order.
pub fn backward_pos<E: Float>(call: &Call, dy: &[E], dpos: &mut [f32], mode: Mode) -> Result<()> {
    start(dpos, mode);
    let &Call { c, scale, .. } = call;
    let places = call.places()?;
    let mut of_place = vec![vec![]; call.places];
    for (n, &place) in places.iter().enumerate() {
        of_place[place as usize].push(n);
    }
    dpos.par_chunks_mut(c).zip(of_place).for_each(|(g, positions)| {
        for n in positions {
            g.iter_mut().zip(&dy[n * c..][..c]).for_each(|(g, dy)| *g += scale * dy.to_f32());
        }
    });
    Ok(())
}

impl Call {
    /// The place of each position, in the table of them where there is one.
    fn places(&self) -> Result<Read<'_, i32>> {
        match self.places {
            0 => self.layout.places.read(),
            known => self.layout.places_below(known, "embedding"),
        }
    }
}

fn start(gradient: &mut [f32], mode: Mode) {
    if mode == Mode::Set {
        gradient.fill(0.0);
    }
}
