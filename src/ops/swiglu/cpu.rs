use macro_rules_attribute::apply;
use rayon::prelude::*;

use crate::backend::Mode;
use crate::backend::cpu::simd;
use crate::dtype::Float;
use crate::ops::ROWS_PER_TASK;

pub fn forward<E: Float>(gate_up: &[E], f: usize, y: &mut [E]) {
    y.par_chunks_mut(ROWS_PER_TASK * f)
        .zip(gate_up.par_chunks(ROWS_PER_TASK * 2 * f))
        .for_each(|(y, x)| forward_rows(x, f, y));
}

#[apply(simd)]
fn forward_rows<E: Float>(gate_up: &[E], f: usize, y: &mut [E]) {
    for (x, y) in gate_up.chunks_exact(2 * f).zip(y.chunks_exact_mut(f)) {
        let (gate, up) = x.split_at(f);
        simd::swiglu(gate, up, y);
    }
}

pub fn backward<E: Float>(gate_up: &[E], dy: &[E], f: usize, dx: &mut [E], mode: Mode) {
    dx.par_chunks_mut(ROWS_PER_TASK * 2 * f)
        .zip(gate_up.par_chunks(ROWS_PER_TASK * 2 * f))
        .zip(dy.par_chunks(ROWS_PER_TASK * f))
        .for_each(|((dx, x), dy)| backward_rows(x, dy, f, dx, mode));
}

#[apply(simd)]
fn backward_rows<E: Float>(gate_up: &[E], dy: &[E], f: usize, dx: &mut [E], mode: Mode) {
    let rows = gate_up.chunks_exact(2 * f).zip(dy.chunks_exact(f)).zip(dx.chunks_exact_mut(2 * f));
    for ((x, dy), dx) in rows {
        if mode == Mode::Set {
            dx.fill(E::from_f32(0.0));
        }
        let (gate, up) = x.split_at(f);
        let (dgate, dup) = dx.split_at_mut(f);
        for i in 0..f {
            let (g, u, d) = (gate[i].to_f32(), up[i].to_f32(), dy[i].to_f32());
            let sig = simd::sigmoid(g);
            let dg = d * u * sig * (1.0 + g * (1.0 - sig));
            dgate[i] = E::from_f32(dgate[i].to_f32() + dg);
            dup[i] = E::from_f32(dup[i].to_f32() + d * g * sig);
        }
    }
}
