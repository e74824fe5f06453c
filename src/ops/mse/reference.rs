//! Plain loops; see the contract in `mod.rs`.

use crate::ops::real::Real;

pub fn forward<R: Real>(a: &[R], b: &[R]) -> R {
    let sum: R = a.iter().zip(b).map(|(&a, &b)| (a - b) * (a - b)).sum();
    sum / R::of(a.len() as f64)
}

/// da, overwritten; db is its negative.
pub fn backward<R: Real>(a: &[R], b: &[R], dy: R, da: &mut [R]) {
    let scale = R::of(2.0 / a.len() as f64) * dy;
    for ((da, &a), &b) in da.iter_mut().zip(a).zip(b) {
        *da = scale * (a - b);
    }
}
