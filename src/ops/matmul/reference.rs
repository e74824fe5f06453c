//! Plain loops; see the contract in `mod.rs`.

use super::Dims;
use crate::ops::real::Real;

/// d: m = N, n = O, k = K.
pub fn forward<R: Real>(d: Dims, x: &[R], w: &[R], b: Option<&[R]>, y: &mut [R]) {
    for n in 0..d.m {
        for o in 0..d.n {
            let sum: R = (0..d.k).map(|k| x[n * d.k + k] * w[o * d.k + k]).sum();
            y[n * d.n + o] = (sum + b.map_or(R::default(), |b| b[o])).store();
        }
    }
}

/// dx, dw, db, all overwritten; dw and db stay f32.
pub fn backward<R: Real>(d: Dims, x: &[R], w: &[R], dy: &[R], [dx, dw, db]: [&mut [R]; 3]) {
    for n in 0..d.m {
        for k in 0..d.k {
            let sum: R = (0..d.n).map(|o| dy[n * d.n + o] * w[o * d.k + k]).sum();
            dx[n * d.k + k] = sum.store();
        }
    }
    for o in 0..d.n {
        for k in 0..d.k {
            dw[o * d.k + k] = (0..d.m).map(|n| dy[n * d.n + o] * x[n * d.k + k]).sum();
        }
        db[o] = (0..d.m).map(|n| dy[n * d.n + o]).sum();
    }
}
