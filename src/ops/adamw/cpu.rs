use multiversion::multiversion;
use rayon::prelude::*;

use super::EPS;
use crate::ops::ELEMS_PER_TASK;
use crate::ops::adam_atan2::Factors;

pub fn step(p: &mut [f32], g: &[f32], m: &mut [f32], v: &mut [f32], scale: f32, f: Factors) {
    p.par_chunks_mut(ELEMS_PER_TASK)
        .zip(g.par_chunks(ELEMS_PER_TASK))
        .zip(m.par_chunks_mut(ELEMS_PER_TASK))
        .zip(v.par_chunks_mut(ELEMS_PER_TASK))
        .for_each(|(((p, g), m), v)| chunk(p, g, m, v, scale, f));
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512vl+avx512dq", "x86_64+avx2+fma"))]
fn chunk(p: &mut [f32], g: &[f32], m: &mut [f32], v: &mut [f32], scale: f32, f: Factors) {
    for (((p, g), m), v) in p.iter_mut().zip(g).zip(m).zip(v) {
        let g = scale * g;
        *m = f.beta1 * *m + (1.0 - f.beta1) * g;
        *v = f.beta2 * *v + (1.0 - f.beta2) * g * g;
        *p = f.decay * *p - f.step * *m / (v.sqrt() * f.v_scale + EPS);
    }
}
