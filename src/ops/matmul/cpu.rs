use super::Dims;
use crate::backend::Mode;
use crate::backend::cpu::gemm::{Mat, MatMut, gemm};
use crate::dtype::Float;

pub fn forward<E: Float>(d: Dims, x: &[E], w: &[E], b: Option<&[E]>, y: &mut [E]) {
    let Dims { m, n, k } = d;
    gemm(1.0, Mat::new(x, m, k), Mat::new(w, n, k).t(), b, Mode::Set, MatMut::new(y, m, n));
}

pub fn backward_x<E: Float>(d: Dims, dy: &[E], w: &[E], dx: &mut [E], mode: Mode) {
    let Dims { m, n, k } = d;
    gemm(1.0, Mat::new(dy, m, k), Mat::new(w, k, n), None, mode, MatMut::new(dx, m, n));
}

pub fn backward_w<E: Float>(d: Dims, dy: &[E], x: &[E], dw: &mut [f32], mode: Mode) {
    let Dims { m, n, k } = d;
    gemm(1.0, Mat::new(dy, k, m).t(), Mat::new(x, k, n), None, mode, MatMut::new(dw, m, n));
}

pub fn backward_b<E: Float>(dy: &[E], db: &mut [f32], mode: Mode) {
    if mode == Mode::Set {
        db.fill(0.0);
    }
    for dy in dy.chunks_exact(db.len()) {
        db.iter_mut().zip(dy).for_each(|(db, dy)| *db += dy.to_f32());
    }
}
