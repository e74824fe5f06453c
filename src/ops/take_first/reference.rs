//! Plain loops; see the contract in `mod.rs`.

use crate::ops::real::Real;

pub fn forward<R: Real>(x: &[R], t: usize, c: usize, y: &mut [R]) {
    for (i, y) in y.iter_mut().enumerate() {
        *y = x[i / c * t * c + i % c];
    }
}

/// dx, overwritten.
pub fn backward<R: Real>(dy: &[R], t: usize, c: usize, dx: &mut [R]) {
    for (i, dx) in dx.iter_mut().enumerate() {
        let first = i % (t * c) < c;
        *dx = if first { dy[i / (t * c) * c + i % c] } else { R::default() };
    }
}
