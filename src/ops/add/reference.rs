//! Plain loops; see the contract in `mod.rs`.

use crate::ops::real::Real;

pub fn forward<R: Real>(terms: &[&[R]], y: &mut [R]) {
    for (i, y) in y.iter_mut().enumerate() {
        *y = terms[1..].iter().fold(terms[0][i], |sum, x| (sum + x[i]).store());
    }
}

/// dx of any of the terms.
pub fn backward<R: Real>(dy: &[R], dx: &mut [R]) {
    dx.copy_from_slice(dy);
}
