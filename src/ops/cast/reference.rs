//! Plain loops; see the contract in `mod.rs`.

use crate::ops::real::Real;

/// R is the dtype of y.
pub fn from_f32<R: Real>(x: &[f32], y: &mut [R]) {
    for (y, &x) in y.iter_mut().zip(x) {
        *y = R::of(x as f64).store();
    }
}
