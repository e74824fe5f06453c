use multiversion::multiversion;
use rayon::prelude::*;

use crate::ops::ELEMS_PER_TASK;

pub fn step(ema: &mut [f32], p: &[f32], decay: f32) {
    ema.par_chunks_mut(ELEMS_PER_TASK)
        .zip(p.par_chunks(ELEMS_PER_TASK))
        .for_each(|(ema, p)| chunk(ema, p, decay));
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512vl+avx512dq", "x86_64+avx2+fma"))]
fn chunk(ema: &mut [f32], p: &[f32], decay: f32) {
    for (ema, p) in ema.iter_mut().zip(p) {
        *ema = decay * *ema + (1.0 - decay) * p;
    }
}
