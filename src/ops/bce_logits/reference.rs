//! Plain loops; see the contract in `mod.rs`.

use crate::ops::real::Real;

pub fn forward<R: Real>(q: &[R], targets: &[R], rows: &mut [R]) {
    let zero = R::default();
    for ((row, &q), &t) in rows.iter_mut().zip(q).zip(targets) {
        let abs = q.max(-q);
        let loss = q.max(zero) - q * t + (R::of(1.0) + (-abs).exp()).ln();
        *row = if t < zero { zero } else { loss };
    }
}

/// dq, overwritten.
pub fn backward<R: Real>(q: &[R], targets: &[R], drows: &[R], dq: &mut [R]) {
    for (((dq, &q), &t), &d) in dq.iter_mut().zip(q).zip(targets).zip(drows) {
        let sigmoid = R::of(1.0) / (R::of(1.0) + (-q).exp());
        *dq = if t < R::default() { R::default() } else { ((sigmoid - t) * d).store() };
    }
}
