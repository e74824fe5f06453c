//! Plain loops; see the contract in `mod.rs`.

use crate::ops::real::Real;

pub fn forward<R: Real>(mu: &[R], log_var: &[R]) -> R {
    let one = R::of(1.0);
    let sum: R = mu.iter().zip(log_var).map(|(&m, &v)| one + v - m * m - v.exp()).sum();
    R::of(-0.5) * sum / R::of(mu.len() as f64)
}

/// dmu and dlog_var, overwritten.
pub fn backward<R: Real>(mu: &[R], log_var: &[R], dy: R, dmu: &mut [R], dlog_var: &mut [R]) {
    let scale = dy / R::of(mu.len() as f64);
    for i in 0..mu.len() {
        dmu[i] = scale * mu[i];
        dlog_var[i] = scale * R::of(0.5) * (log_var[i].exp() - R::of(1.0));
    }
}
