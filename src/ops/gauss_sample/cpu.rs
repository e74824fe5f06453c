use macro_rules_attribute::apply;
use rayon::prelude::*;

use crate::backend::Mode;
use crate::backend::cpu::simd;
use crate::ops::ELEMS_PER_TASK;
use crate::ops::draw::{Draw, NORMALS, normals};
use crate::rng::philox;

#[apply(simd)]
pub fn forward(mu: &[f32], log_var: &[f32], eps: &[f32], z: &mut [f32]) {
    for (((z, mu), v), eps) in z.iter_mut().zip(mu).zip(log_var).zip(eps) {
        *z = mu + eps * simd::exp(0.5 * v);
    }
}

#[apply(simd)]
pub fn backward(dz: &[f32], log_var: &[f32], eps: &[f32], dlog_var: &mut [f32], mode: Mode) {
    for (((dv, dz), v), eps) in dlog_var.iter_mut().zip(dz).zip(log_var).zip(eps) {
        let d = 0.5 * dz * eps * simd::exp(0.5 * v);
        *dv = if mode == Mode::Add { *dv + d } else { d };
    }
}

pub fn draw(eps: &mut [f32], stream: u32, draw: Draw) {
    let number = [draw.number as u32, (draw.number >> 32) as u32];
    eps.par_chunks_mut(ELEMS_PER_TASK).enumerate().for_each(|(task, eps)| {
        // Tasks begin with a block.
        let first = task * ELEMS_PER_TASK / NORMALS;
        for (i, eps) in eps.chunks_mut(NORMALS).enumerate() {
            let words = philox(draw.seed, [(first + i) as u32, stream, number[0], number[1]]);
            eps.copy_from_slice(&normals(words)[..eps.len()]);
        }
    });
}
