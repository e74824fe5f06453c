//! Plain loops; see the contract in `mod.rs`.

use crate::ops::real::Real;

pub fn forward<R: Real>(x: &[R], y: &mut [R]) {
    for (y, &x) in y.iter_mut().zip(x) {
        *y = R::of(1.0) / (R::of(1.0) + (-x).exp());
    }
}

/// dx, overwritten.
pub fn backward<R: Real>(y: &[R], dy: &[R], dx: &mut [R]) {
    for ((dx, &y), &dy) in dx.iter_mut().zip(y).zip(dy) {
        *dx = dy * y * (R::of(1.0) - y);
    }
}
