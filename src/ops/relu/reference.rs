//! Plain loops; see the contract in `mod.rs`.

use crate::ops::real::Real;

pub fn forward<R: Real>(x: &[R], y: &mut [R]) {
    for (y, &x) in y.iter_mut().zip(x) {
        *y = if x < R::default() { R::default() } else { x };
    }
}

/// dx, overwritten.
pub fn backward<R: Real>(y: &[R], dy: &[R], dx: &mut [R]) {
    for ((dx, &y), &dy) in dx.iter_mut().zip(y).zip(dy) {
        *dx = if y > R::default() { dy } else { R::default() };
    }
}
