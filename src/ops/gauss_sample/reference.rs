//! Plain loops; see the contract in `mod.rs`.

use crate::ops::draw::Draw;
use crate::ops::real::Real;
use crate::rng::{Stream, philox};

pub fn forward<R: Real>(mu: &[R], log_var: &[R], eps: &[R], z: &mut [R]) {
    for i in 0..z.len() {
        z[i] = mu[i] + eps[i] * (R::of(0.5) * log_var[i]).exp();
    }
}

/// dmu and dlog_var, overwritten.
pub fn backward<R: Real>(log_var: &[R], eps: &[R], dz: &[R], dmu: &mut [R], dlog_var: &mut [R]) {
    for i in 0..dz.len() {
        dmu[i] = dz[i];
        dlog_var[i] = R::of(0.5) * dz[i] * eps[i] * (R::of(0.5) * log_var[i]).exp();
    }
}

/// What [`draw`](super::draw) rounds, in f64.
pub fn draw(n: usize, site: u32, draw: Draw) -> Vec<f64> {
    let number = [draw.number as u32, (draw.number >> 32) as u32];
    let stream = Stream::Noise as u32 + 256 * site;
    let one = |i: usize| {
        let words = philox(draw.seed, [(i / 4) as u32, stream, number[0], number[1]]);
        let (radius, angle) = (words[i % 4 / 2 * 2], words[i % 4 / 2 * 2 + 1]);
        let u = ((radius >> 8) as f64 + 1.0) / (1u64 << 24) as f64;
        // The angle counts from the middle of the first quadrant.
        let turn = (angle >> 8) as f64 / (1u64 << 24) as f64 - 0.125;
        let angle = std::f64::consts::TAU * turn;
        (-2.0 * u.ln()).sqrt() * if i.is_multiple_of(2) { angle.cos() } else { angle.sin() }
    };
    (0..n).map(one).collect()
}
