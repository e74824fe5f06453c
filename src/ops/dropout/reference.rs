//! Plain loops; see the contract in `mod.rs`.

use super::Site;
use crate::ops::draw::Draw;
use crate::ops::real::Real;
use crate::rng::{Stream, philox, unit_f32};

/// Whether element i of a tensor is.
pub fn is_kept(i: usize, site: Site, draw: Draw) -> bool {
    let number = [draw.number as u32, (draw.number >> 32) as u32];
    let stream = Stream::Dropout as u32 + 256 * site.number;
    let words = philox(draw.seed, [(i / 4) as u32, stream, number[0], number[1]]);
    unit_f32(words[i % 4]) >= site.prob
}

/// y from x, and dx from dy.
pub fn apply<R: Real>(x: &[R], site: Site, draw: Draw, y: &mut [R]) {
    let scale = R::of(1.0 / (1.0 - site.prob as f64));
    for (i, y) in y.iter_mut().enumerate() {
        *y = if is_kept(i, site, draw) { (x[i] * scale).store() } else { R::default() };
    }
}
