use crate::backend::Mode;
use crate::dtype::Float;

pub fn forward<E: Float>(x: &[E], t: usize, c: usize, y: &mut [E]) {
    for (y, x) in y.chunks_exact_mut(c).zip(x.chunks_exact(t * c)) {
        y.copy_from_slice(&x[..c]);
    }
}

pub fn backward<E: Float>(dy: &[E], t: usize, c: usize, dx: &mut [E], mode: Mode) {
    if mode == Mode::Set {
        dx.fill(E::from_f32(0.0));
    }
    for (dy, dx) in dy.chunks_exact(c).zip(dx.chunks_exact_mut(t * c)) {
        for (dy, dx) in dy.iter().zip(dx) {
            *dx = E::from_f32(dx.to_f32() + dy.to_f32());
        }
    }
}
