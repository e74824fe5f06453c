use macro_rules_attribute::apply;
use rayon::prelude::*;

use crate::backend::cpu::simd;
use crate::dtype::Float;
use crate::ops::ELEMS_PER_TASK;

/// y += x, rounded to the dtype.
pub fn accumulate<E: Float>(y: &mut [E], x: &[E]) {
    y.par_chunks_mut(ELEMS_PER_TASK)
        .zip(x.par_chunks(ELEMS_PER_TASK))
        .for_each(|(y, x)| chunk(y, x));
}

#[apply(simd)]
fn chunk<E: Float>(y: &mut [E], x: &[E]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y = E::from_f32(y.to_f32() + x.to_f32());
    }
}
