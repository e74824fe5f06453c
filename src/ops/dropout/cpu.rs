use multiversion::multiversion;
use rayon::prelude::*;

use super::Site;
use crate::dtype::Float;
use crate::ops::ELEMS_PER_TASK;
use crate::ops::draw::Draw;
use crate::rng::{philox_lanes, unit_f32};

/// Words of a Philox block, an element each, and blocks drawn at once. Tasks begin with a block.
const WORDS: usize = 4;
const LANES: usize = 16;

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
    for (i, x) in x.chunks_mut(WORDS * LANES).enumerate() {
        let block = |lane| first_block + (i * LANES + lane) as u32;
        let counters =
            [std::array::from_fn(block), [stream; LANES], [number[0]; LANES], [number[1]; LANES]];
        let words = philox_lanes(draw.seed, counters);
        let mut of_element = [0; WORDS * LANES];
        for (lane, element) in of_element.chunks_exact_mut(WORDS).enumerate() {
            element.iter_mut().zip(&words).for_each(|(to, word)| *to = word[lane]);
        }
        for (x, word) in x.iter_mut().zip(of_element) {
            let kept = x.to_f32() * scale;
            *x = E::from_f32(if unit_f32(word) < site.prob { 0.0 } else { kept });
        }
    }
}
