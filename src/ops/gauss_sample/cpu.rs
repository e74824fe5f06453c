use macro_rules_attribute::apply;
use rayon::prelude::*;

use crate::backend::Mode;
use crate::backend::cpu::simd;
use crate::ops::ELEMS_PER_TASK;
use crate::ops::draw::Draw;
use crate::rng::philox;

/// Numbers of a Philox block. Tasks begin with a block.
const WORDS: usize = 4;

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
        let first = task * ELEMS_PER_TASK / WORDS;
        for (i, eps) in eps.chunks_mut(WORDS).enumerate() {
            let words = philox(draw.seed, [(first + i) as u32, stream, number[0], number[1]]);
            let ([a, b], [c, d]) = (pair(words[0], words[1]), pair(words[2], words[3]));
            eps.copy_from_slice(&[a, b, c, d][..eps.len()]);
        }
    });
}

/// Box and Muller's method, operation by operation as in `kernels/common/normal.cuh`.
fn pair(radius: u32, angle: u32) -> [f32; 2] {
    let u = ((radius >> 8) + 1) as f32 * (1.0 / 16_777_216.0);
    let r = (-2.0 * simd::ln(u)).sqrt();
    // The quadrant by two bits, the angle inside it by the 22 below, from its middle.
    let t = ((angle >> 8) & 0x3F_FFFF) as f32 * (1.0 / 4_194_304.0) - 0.5;
    let x = t * std::f32::consts::FRAC_PI_2;
    let z = x * x;
    // The single-precision sine and cosine of Cephes, on an eighth of a turn either way.
    let s = -1.951_529_6e-4 * z + 8.332_161e-3;
    let s = s * z - 1.666_665_5e-1;
    let s = s * z * x + x;
    let c = 2.443_315_7e-5 * z - 1.388_731_6e-3;
    let c = c * z + 4.166_664_6e-2;
    let c = c * z * z - 0.5 * z + 1.0;
    let (s, c) = (r * s, r * c);
    match angle >> 30 {
        0 => [c, s],
        1 => [-s, c],
        2 => [-c, -s],
        _ => [s, -c],
    }
}
