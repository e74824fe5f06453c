//! Plain loops over rows of one length at places 0, 1, ...; see the contract in `mod.rs`.

use super::POSITION_SCALE;
use crate::ops::real::Real;

/// Sizes of one call; the letters of the contract.
#[derive(Clone, Copy, Debug)]
pub struct Dims {
    pub b: usize,
    pub s: usize,
    pub p: usize,
    pub c: usize,
    pub v: usize,
    pub d: usize,
}

/// What y's sum is multiplied by.
fn factor<R: Real>(scale: f32, with_pos: bool) -> R {
    R::of(if with_pos { scale * POSITION_SCALE } else { scale } as f64)
}

/// `puzzle` is empty where D is 0.
pub fn forward<R: Real>(
    d: Dims,
    tokens: &[i32],
    table: &[R],
    puzzle: &[R],
    pos: Option<&[R]>,
    scale: f32,
    y: &mut [R],
) {
    let Dims { b, s, p, c, .. } = d;
    for b in 0..b {
        for t in 0..p + s {
            for i in 0..c {
                let e = match t.checked_sub(p) {
                    Some(cell) => table[tokens[b * s + cell] as usize * c + i],
                    None if t * c + i < d.d => puzzle[b * d.d + t * c + i].store(),
                    None => R::default(),
                };
                let sum = e + pos.map_or(R::default(), |pos| pos[t * c + i]);
                y[(b * (p + s) + t) * c + i] = (factor::<R>(scale, pos.is_some()) * sum).store();
            }
        }
    }
}

/// dtable, dpuzzle (empty where D is 0), dpos; overwritten, all f32.
pub fn backward<R: Real>(
    d: Dims,
    tokens: &[i32],
    scale: f32,
    dy: &[R],
    dtable: &mut [R],
    dpuzzle: &mut [R],
    dpos: Option<&mut [R]>,
) {
    let Dims { b, s, p, c, .. } = d;
    let factor = factor::<R>(scale, dpos.is_some());
    dtable.fill(R::default());
    for b in 0..b {
        for t in 0..p + s {
            for i in 0..c {
                let g = factor * dy[(b * (p + s) + t) * c + i];
                match t.checked_sub(p) {
                    Some(cell) => dtable[tokens[b * s + cell] as usize * c + i] += g,
                    None if t * c + i < d.d => dpuzzle[b * d.d + t * c + i] = g,
                    None => {}
                }
            }
        }
    }
    for (i, dpos) in dpos.into_iter().flatten().enumerate() {
        *dpos = (0..b).map(|b| factor * dy[b * (p + s) * c + i]).sum();
    }
}
