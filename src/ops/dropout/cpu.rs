use rayon::prelude::*;

use crate::backend::cpu::dropout::{self, Mask, WORDS};
use crate::dtype::Float;
use crate::ops::ELEMS_PER_TASK;

/// x becomes y. Tasks begin with a Philox block.
pub fn apply<E: Float>(x: &mut [E], mask: Mask) {
    x.par_chunks_mut(ELEMS_PER_TASK).enumerate().for_each(|(task, x)| {
        dropout::apply(x, (task * ELEMS_PER_TASK / WORDS) as u32, mask);
    });
}
