//! Plain loops; see the contract in `mod.rs`.

use super::GUARD;
use crate::ops::real::Real;

pub fn guard<R: Real>(g: &[R], losses: &[R], max_norm: f32) -> [R; GUARD] {
    let norm = g.iter().map(|&g| g * g).sum::<R>().sqrt();
    let factor = match max_norm > 0.0 {
        true => (max_norm as f64 / (norm.to_f64() + 1e-6)).min(1.0),
        false => 1.0,
    };
    let finite = norm.to_f64().is_finite() && losses.iter().all(|l| l.to_f64().is_finite());
    [norm, R::of(factor), R::of(finite as u32 as f64)]
}
