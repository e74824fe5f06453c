use std::f32::consts::{FRAC_PI_2, FRAC_PI_4};

use macro_rules_attribute::apply;
use rayon::prelude::*;

use super::{EPS, Factors, Rule};
use crate::backend::cpu::simd;
use crate::dtype::bf16;
use crate::ops::ELEMS_PER_TASK;

pub fn step(
    rule: Rule,
    p: &mut [f32],
    copy: Option<&mut [bf16]>,
    g: &[f32],
    [m, v]: [&mut [f32]; 2],
    scale: f32,
    f: Factors,
) {
    let chunk = match rule {
        Rule::AdamAtan2 => atan2_chunk,
        Rule::AdamW => adamw_chunk,
    };
    let copies: Vec<Option<&mut [bf16]>> = match copy {
        Some(copy) => copy.chunks_mut(ELEMS_PER_TASK).map(Some).collect(),
        None => p.chunks(ELEMS_PER_TASK).map(|_| None).collect(),
    };
    p.par_chunks_mut(ELEMS_PER_TASK)
        .zip(copies)
        .zip(g.par_chunks(ELEMS_PER_TASK))
        .zip(m.par_chunks_mut(ELEMS_PER_TASK))
        .zip(v.par_chunks_mut(ELEMS_PER_TASK))
        .for_each(|((((p, copy), g), m), v)| {
            chunk(p, g, m, v, scale, f);
            if let Some(copy) = copy {
                simd::to_bf16(p, copy);
            }
        });
}

#[apply(simd)]
fn atan2_chunk(p: &mut [f32], g: &[f32], m: &mut [f32], v: &mut [f32], scale: f32, f: Factors) {
    update(p, g, m, v, scale, f, |m, rms| f.step * atan2(m, rms));
}

#[apply(simd)]
fn adamw_chunk(p: &mut [f32], g: &[f32], m: &mut [f32], v: &mut [f32], scale: f32, f: Factors) {
    update(p, g, m, v, scale, f, |m, rms| f.step * m / (rms + EPS));
}

#[inline(always)]
fn update(
    p: &mut [f32],
    g: &[f32],
    m: &mut [f32],
    v: &mut [f32],
    scale: f32,
    f: Factors,
    change: impl Fn(f32, f32) -> f32,
) {
    for (((p, g), m), v) in p.iter_mut().zip(g).zip(m).zip(v) {
        let g = scale * g;
        *m = f.beta1 * *m + (1.0 - f.beta1) * g;
        *v = f.beta2 * *v + (1.0 - f.beta2) * g * g;
        *p = f.decay * *p - change(*m, v.sqrt() * f.v_scale);
    }
}

/// atan2 for x >= 0, without a branch: about 2 ulp (the single-precision scheme of Cephes).
#[inline(always)]
fn atan2(y: f32, x: f32) -> f32 {
    let a = y.abs();
    let (small, large) = (a.min(x), a.max(x));
    let t = if large > 0.0 { small / large } else { 0.0 };
    let upper = t > 0.414_213_57;
    let t = if upper { (t - 1.0) / (t + 1.0) } else { t };
    let z = t * t;
    let poly = ((8.053_744_6e-2 * z - 1.387_768_6e-1) * z + 1.997_771e-1) * z - 3.333_295e-1;
    let angle = poly * z * t + t + if upper { FRAC_PI_4 } else { 0.0 };
    let angle = if a > x { FRAC_PI_2 - angle } else { angle };
    angle.copysign(y)
}

#[cfg(test)]
mod tests {
    #[test]
    fn atan2_agrees_with_std_in_the_right_half_plane() {
        let values = [0.0, 1e-30, 1e-10, 0.1, 0.4, 0.414, 0.415, 0.5, 1.0, 3.0, 1e4, 1e20_f32];
        for y in values.iter().flat_map(|y| [*y, -*y]) {
            for x in values {
                let (got, want) = (super::atan2(y, x), y.atan2(x));
                assert!(
                    (got - want).abs() <= 3e-7 * want.abs().max(1e-30),
                    "{y} {x}: {got} {want}"
                );
            }
        }
    }
}
