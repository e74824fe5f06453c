use crate::backend::Mode;
use crate::dtype::Float;
use crate::ops::layout::Bounds;

pub fn forward<E: Float>(x: &[E], positions: &Bounds, c: usize, y: &mut [E]) {
    for (y, &start) in y.chunks_exact_mut(c).zip(&*positions.host) {
        y.copy_from_slice(&x[start * c..][..c]);
    }
}

pub fn backward<E: Float>(dy: &[E], positions: &Bounds, c: usize, dx: &mut [E], mode: Mode) {
    if mode == Mode::Set {
        dx.fill(E::from_f32(0.0));
    }
    for (dy, &start) in dy.chunks_exact(c).zip(&*positions.host) {
        for (dy, dx) in dy.iter().zip(&mut dx[start * c..][..c]) {
            *dx = E::from_f32(dx.to_f32() + dy.to_f32());
        }
    }
}
