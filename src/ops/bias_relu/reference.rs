//! Plain loops; see the contract in `mod.rs`.

use crate::ops::real::Real;

pub fn forward<R: Real>(x: &[R], bias: &[R], y: &mut [R]) {
    for (i, y) in y.iter_mut().enumerate() {
        let sum = x[i] + bias[i % bias.len()];
        *y = (if sum < R::default() { R::default() } else { sum }).store();
    }
}

/// dx and dbias, overwritten.
pub fn backward<R: Real>(y: &[R], dy: &[R], dx: &mut [R], dbias: &mut [R]) {
    let c = dbias.len();
    dbias.fill(R::default());
    for i in 0..dy.len() {
        dx[i] = if y[i] > R::default() { dy[i] } else { R::default() };
        dbias[i % c] += dx[i];
    }
}
