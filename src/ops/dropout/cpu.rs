use multiversion::multiversion;
use rayon::prelude::*;

use super::Site;
use crate::dtype::Float;
use crate::ops::ELEMS_PER_TASK;
use crate::ops::draw::Draw;
use crate::rng::{philox, unit_f32};

/// Elements of one Philox block. Tasks begin with one.
const WORDS: usize = 4;

/// x becomes y.
pub fn apply<E: Float>(x: &mut [E], site: Site, draw: Draw) {
    x.par_chunks_mut(ELEMS_PER_TASK).enumerate().for_each(|(task, x)| {
        chunk(x, (task * ELEMS_PER_TASK / WORDS) as u32, site, draw);
    });
}

#[multiversion(
    targets("x86_64+avx512f+avx512bw+avx512vl+avx512dq", "x86_64+avx2+fma"),
    dispatcher = "direct"
)]
fn chunk<E: Float>(x: &mut [E], first_block: u32, site: Site, draw: Draw) {
    let (scale, stream) = (site.scale(), site.stream());
    let number = [draw.number as u32, (draw.number >> 32) as u32];
    for (block, x) in (first_block..).zip(x.chunks_mut(WORDS)) {
        let words = philox(draw.seed, [block, stream, number[0], number[1]]);
        for (x, word) in x.iter_mut().zip(words) {
            let dropped = unit_f32(word) < site.prob;
            *x = E::from_f32(if dropped { 0.0 } else { x.to_f32() * scale });
        }
    }
}
