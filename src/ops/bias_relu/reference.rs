//! Plain loops; see the contract in `mod.rs`.

use crate::ops::real::Real;

/// `kept`: by what each element is multiplied, 0 or the mask's scale; 1 without dropout.
pub fn forward<R: Real>(x: &[R], bias: &[R], kept: &[R], y: &mut [R]) {
    for (i, y) in y.iter_mut().enumerate() {
        let sum = x[i] + bias[i % bias.len()];
        *y = (if sum < R::default() { R::default() } else { kept[i] * sum }).store();
    }
}

/// dx and dbias, overwritten.
pub fn backward<R: Real>(y: &[R], dy: &[R], scale: R, dx: &mut [R], dbias: &mut [R]) {
    let c = dbias.len();
    dbias.fill(R::default());
    for i in 0..dy.len() {
        dx[i] = if y[i] > R::default() { (scale * dy[i]).store() } else { R::default() };
        dbias[i % c] += dx[i];
    }
}
