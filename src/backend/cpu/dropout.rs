//! The mask of dropout, drawn where it is used: element i of a tensor takes word i % 4 of the
//! Philox block i / 4, so that any part of it can be drawn alone.

use std::ops::Range;

use macro_rules_attribute::apply;

use crate::backend::cpu::simd;
use crate::dtype::Float;
use crate::rng::{philox_lanes, unit_f32};

/// Words of a Philox block, an element each.
pub const WORDS: usize = 4;
/// Blocks drawn at once.
const LANES: usize = 16;

/// Key, the last three words of the counter, and what is done with the numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mask {
    pub seed: u64,
    pub stream: u32,
    pub number: u64,
    /// Probability of being dropped.
    pub prob: f32,
    /// What is kept is multiplied by this.
    pub scale: f32,
}

/// x, whose first element begins Philox block `first_block` of its tensor, becomes x or 0.
#[apply(simd)]
pub fn apply<E: Float>(x: &mut [E], first_block: u32, mask: Mask) {
    let number = [mask.number as u32, (mask.number >> 32) as u32];
    for (i, x) in x.chunks_mut(WORDS * LANES).enumerate() {
        let block = |lane| first_block + (i * LANES + lane) as u32;
        let stream = [mask.stream; LANES];
        let counters = [std::array::from_fn(block), stream, [number[0]; LANES], [number[1]; LANES]];
        let words = philox_lanes(mask.seed, counters);
        let mut of_element = [0; WORDS * LANES];
        for (lane, element) in of_element.chunks_exact_mut(WORDS).enumerate() {
            element.iter_mut().zip(&words).for_each(|(to, word)| *to = word[lane]);
        }
        for (x, word) in x.iter_mut().zip(of_element) {
            let kept = x.to_f32() * mask.scale;
            *x = E::from_f32(if unit_f32(word) < mask.prob { 0.0 } else { kept });
        }
    }
}

/// Factors of a table whose rows begin with the blocks `first`, `first + stride`, ..., transposed:
/// `out` has a row, `width` long, for each of the table's columns `columns`, and as many rows of
/// the table as fit one. `width` in whole lanes.
#[apply(simd)]
pub fn factors(
    mask: Mask,
    first: u32,
    stride: u32,
    columns: Range<usize>,
    out: &mut [f32],
    width: usize,
) {
    let number = [mask.number as u32, (mask.number >> 32) as u32];
    for block in columns.start / WORDS..columns.end.div_ceil(WORDS) {
        for from in (0..width).step_by(LANES) {
            // Rows beyond the last may be beyond the last number, too: nobody looks at them.
            let of_row = |lane: usize| {
                let row = ((from + lane) as u32).wrapping_mul(stride);
                first.wrapping_add(row).wrapping_add(block as u32)
            };
            let counters = [
                std::array::from_fn(of_row),
                [mask.stream; LANES],
                [number[0]; LANES],
                [number[1]; LANES],
            ];
            let words = philox_lanes(mask.seed, counters);
            for (column, words) in (block * WORDS..).zip(&words) {
                if columns.contains(&column) {
                    let out = &mut out[(column - columns.start) * width + from..][..LANES];
                    for (out, &word) in out.iter_mut().zip(words) {
                        *out = if unit_f32(word) < mask.prob { 0.0 } else { mask.scale };
                    }
                }
            }
        }
    }
}
