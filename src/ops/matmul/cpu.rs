use macro_rules_attribute::apply;
use rayon::prelude::*;

use super::Dims;
use crate::backend::Mode;
use crate::backend::cpu::gemm::{self, Mat, MatMut, gemm};
use crate::backend::cpu::simd;
use crate::dtype::Float;
use crate::ops::ROWS_PER_TASK;

pub fn forward<E: Float>(d: Dims, x: &[E], w: &[E], b: Option<&[E]>, y: &mut [E]) {
    let Dims { m, n, k } = d;
    gemm(1.0, Mat::new(x, m, k), Mat::new(w, n, k).t(), b, Mode::Set, MatMut::new(y, m, n));
}

/// d: m rows, n = 2F gate and up columns, k. x (m, k), w (n, k), y (m, F), gate_up (m, n).
pub fn gated<E: Float>(d: Dims, x: &[E], w: &[E], gate_up: Option<&mut [E]>, y: &mut [E]) {
    let Dims { m, n, k } = d;
    let gate_up = gate_up.map(|gate_up| MatMut::new(gate_up, m, n));
    gemm::gated(Mat::new(x, m, k), Mat::new(w, n, k), gate_up, MatMut::new(y, m, n / 2));
}

pub fn backward_x<E: Float>(d: Dims, dy: &[E], w: &[E], dx: &mut [E], mode: Mode) {
    let Dims { m, n, k } = d;
    gemm(1.0, Mat::new(dy, m, k), Mat::new(w, k, n), None, mode, MatMut::new(dx, m, n));
}

pub fn backward_w<E: Float>(d: Dims, dy: &[E], x: &[E], dw: &mut [f32], mode: Mode) {
    let Dims { m, n, k } = d;
    gemm(1.0, Mat::new(dy, k, m).t(), Mat::new(x, k, n), None, mode, MatMut::new(dw, m, n));
}

/// Tasks of whole rows, summed in order.
pub fn backward_b<E: Float>(dy: &[E], db: &mut [f32], mode: Mode) {
    let width = db.len();
    let parts: Vec<Vec<f32>> = dy
        .par_chunks(ROWS_PER_TASK * width)
        .map(|dy| {
            let mut sums = vec![0.0; width];
            add_rows(dy, &mut sums);
            sums
        })
        .collect();
    if mode == Mode::Set {
        db.fill(0.0);
    }
    for part in parts {
        db.iter_mut().zip(part).for_each(|(db, part)| *db += part);
    }
}

#[apply(simd)]
fn add_rows<E: Float>(dy: &[E], sums: &mut [f32]) {
    for dy in dy.chunks_exact(sums.len()) {
        sums.iter_mut().zip(dy).for_each(|(sum, dy)| *sum += dy.to_f32());
    }
}
