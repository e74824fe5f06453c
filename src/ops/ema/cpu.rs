use macro_rules_attribute::apply;
use rayon::prelude::*;

use crate::backend::cpu::simd;
use crate::ops::ELEMS_PER_TASK;

pub fn step(ema: &mut [f32], p: &[f32], decay: f32) {
    ema.par_chunks_mut(ELEMS_PER_TASK)
        .zip(p.par_chunks(ELEMS_PER_TASK))
        .for_each(|(ema, p)| chunk(ema, p, decay));
}

#[apply(simd)]
fn chunk(ema: &mut [f32], p: &[f32], decay: f32) {
    for (ema, p) in ema.iter_mut().zip(p) {
        *ema = decay * *ema + (1.0 - decay) * p;
    }
}
