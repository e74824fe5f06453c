//! Plain loops; see the contract in `mod.rs`.

use crate::ops::real::Real;

fn sigmoid<R: Real>(x: R) -> R {
    R::of(1.0) / (R::of(1.0) + (-x).exp())
}

pub fn forward<R: Real>(gate_up: &[R], f: usize, y: &mut [R]) {
    for (i, y) in y.iter_mut().enumerate() {
        let g = i / f * 2 * f + i % f;
        let (g, u) = (gate_up[g], gate_up[g + f]);
        *y = (g * sigmoid(g) * u).store();
    }
}

/// d gate_up, overwritten.
pub fn backward<R: Real>(gate_up: &[R], f: usize, dy: &[R], dx: &mut [R]) {
    for (i, &dy) in dy.iter().enumerate() {
        let at = i / f * 2 * f + i % f;
        let (g, u) = (gate_up[at], gate_up[at + f]);
        let sig = sigmoid(g);
        dx[at] = (dy * u * sig * (R::of(1.0) + g * (R::of(1.0) - sig))).store();
        dx[at + f] = (dy * g * sig).store();
    }
}
