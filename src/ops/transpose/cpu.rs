use rayon::prelude::*;

use super::Dims;
use crate::backend::Mode;
use crate::dtype::Float;

/// Side of the squares that are moved at once: a cache line of x serves a whole one.
const TILE: usize = 32;

pub fn run<E: Float>(d: Dims, x: &[E], y: &mut [E], mode: Mode) {
    let Dims { rows, cols, .. } = d;
    y.par_chunks_mut(rows * cols).zip(x.par_chunks(rows * cols)).for_each(|(y, x)| {
        y.par_chunks_mut(TILE * rows).enumerate().for_each(|(i, y)| {
            for first in (0..rows).step_by(TILE) {
                let last = rows.min(first + TILE);
                for (col, y) in y.chunks_exact_mut(rows).enumerate() {
                    let x = x[i * TILE + col..].iter().step_by(cols).skip(first);
                    let pairs = y[first..last].iter_mut().zip(x);
                    match mode {
                        Mode::Set => pairs.for_each(|(y, x)| *y = *x),
                        Mode::Add => {
                            pairs.for_each(|(y, x)| *y = E::from_f32(y.to_f32() + x.to_f32()));
                        }
                    }
                }
            }
        });
    });
}
