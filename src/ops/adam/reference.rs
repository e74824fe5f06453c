//! Plain loops; see the contract in `mod.rs`.

use super::{EPS, Hyper, Rule};
use crate::ops::real::Real;

/// `guard` is `global_norm`'s.
pub fn step<R: Real>(
    rule: Rule,
    p: &mut [R],
    g: &[R],
    [m, v]: [&mut [R]; 2],
    guard: [R; 3],
    h: Hyper,
) {
    if guard[2] == R::default() {
        return;
    }
    let (b1, b2, one, t) = (R::of(h.beta1), R::of(h.beta2), R::of(1.0), h.t as f64);
    for i in 0..p.len() {
        let g = guard[1] * g[i];
        m[i] = b1 * m[i] + (one - b1) * g;
        v[i] = b2 * v[i] + (one - b2) * g * g;
        let rms = v[i].sqrt() / R::of((1.0 - h.beta2.powf(t)).sqrt());
        let direction = match rule {
            Rule::AdamAtan2 => m[i].atan2(rms),
            Rule::AdamW => m[i] / (rms + R::of(EPS as f64)),
        };
        let decayed = p[i] * R::of(1.0 - h.lr * h.weight_decay);
        p[i] = decayed - R::of(h.lr / (1.0 - h.beta1.powf(t))) * direction;
    }
}
