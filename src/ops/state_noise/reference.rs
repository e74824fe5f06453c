//! Plain loops in f64; see the contract in `mod.rs`.

use crate::ops::draw::Draw;
use crate::ops::gauss_sample::reference::draw;

/// z of slots that begin at the positions `starts`, the end of the last included.
pub fn add(z: &mut [f64], draws: &[Draw], sigma: &[f64], starts: &[usize], c: usize) {
    for slot in 0..sigma.len() {
        let (first, end) = (starts[slot] * c, starts[slot + 1] * c);
        let normal = draw(end - first, 0, draws[slot]);
        for i in first..end {
            z[i] += sigma[slot] * normal[i - first];
        }
    }
}
