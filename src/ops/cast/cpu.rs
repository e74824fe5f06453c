use macro_rules_attribute::apply;
use rayon::prelude::*;

use crate::backend::cpu::simd;
use crate::dtype::Float;
use crate::ops::ELEMS_PER_TASK;

pub fn from_f32<E: Float>(x: &[f32], y: &mut [E]) {
    y.par_chunks_mut(ELEMS_PER_TASK)
        .zip(x.par_chunks(ELEMS_PER_TASK))
        .for_each(|(y, x)| chunk(x, y));
}

#[apply(simd)]
fn chunk<E: Float>(x: &[f32], y: &mut [E]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y = E::from_f32(*x);
    }
}
