//! The tile for NEON: 6 rows times 16 columns are 24 accumulators of 4 lanes, four vectors of B and
//! one element of A: 29 of the 32 registers, and 24 multiply-adds for 10 loads.

use std::arch::aarch64::*;
use std::ops::Range;

use super::Problem;
use super::blocked::{self, Columns, Strip, Tile, Work};
use crate::dtype::Float;

/// Lanes of a vector.
const LANES: usize = 4;

pub(super) struct Neon;

impl Tile for Neon {
    const ROWS: usize = 6;
    const COLUMNS: usize = 16;

    #[target_feature(enable = "neon")]
    unsafe fn compiled(work: impl Work) {
        // SAFETY: by the trait's contract.
        unsafe { work.run() }
    }

    #[inline(always)]
    unsafe fn transpose(block: [[f32; 8]; 8]) -> [[f32; 8]; 8] {
        // SAFETY: by the trait's contract.
        unsafe { transpose_8x8(block) }
    }

    #[inline(always)]
    unsafe fn product<E: Float, C: Float>(
        p: &Problem<E, C>,
        strip: Strip,
        b: Columns,
        row: usize,
        columns: Range<usize>,
    ) {
        // SAFETY: by the trait's contract.
        unsafe {
            blocked::by_height!(strip: 1 2 3 4 5 6, R => product::<E, C, R>(p, strip, b, row, columns))
        }
    }
}

/// # Safety
/// The contract of [`Tile::product`], with `strip.rows` = `R`.
#[target_feature(enable = "neon")]
unsafe fn product<E: Float, C: Float, const R: usize>(
    p: &Problem<E, C>,
    strip: Strip,
    b: Columns,
    row: usize,
    columns: Range<usize>,
) {
    let mut sums = [[vdupq_n_f32(0.0); 4]; R];
    let (mut a, mut b_i) = (strip.start, b.start);
    for _ in 0..p.k {
        // SAFETY: element by element along k, inside A and B by this function's contract.
        unsafe {
            let b_v: [float32x4_t; 4] = std::array::from_fn(|v| vld1q_f32(b_i.add(v * LANES)));
            for (r, sums) in sums.iter_mut().enumerate() {
                let a_r = *a.add(r * strip.row);
                for (sum, b) in sums.iter_mut().zip(b_v) {
                    *sum = vfmaq_n_f32(*sum, b, a_r);
                }
            }
            a = a.add(strip.step);
            b_i = b_i.add(b.step);
        }
    }
    for (r, sums) in sums.into_iter().enumerate() {
        // SAFETY: both are 16 floats.
        let sums = unsafe { std::mem::transmute::<[float32x4_t; 4], [f32; 16]>(sums) };
        // SAFETY: by this function's contract.
        unsafe { blocked::write(p, row + r, columns.clone(), sums) };
    }
}

/// Four blocks of 4 x 4, of which two change places.
#[inline]
#[target_feature(enable = "neon")]
fn transpose_8x8(block: [[f32; 8]; 8]) -> [[f32; 8]; 8] {
    let mut out = [[0.0; 8]; 8];
    for (r, c) in [(0, 0), (0, LANES), (LANES, 0), (LANES, LANES)] {
        // SAFETY: `c` is 0 or 4, and a row is 8 floats.
        let quarter = std::array::from_fn(|i| unsafe { vld1q_f32(block[r + i][c..].as_ptr()) });
        for (i, turned) in transpose_4x4(quarter).into_iter().enumerate() {
            // SAFETY: `r` is 0 or 4, and a row is 8 floats.
            unsafe { vst1q_f32(out[c + i][r..].as_mut_ptr(), turned) };
        }
    }
    out
}

/// Pairs of elements change places, then halves.
#[inline]
#[target_feature(enable = "neon")]
fn transpose_4x4([a, b, c, d]: [float32x4_t; 4]) -> [float32x4_t; 4] {
    let pairs = [vtrn1q_f32(a, b), vtrn2q_f32(a, b), vtrn1q_f32(c, d), vtrn2q_f32(c, d)];
    let [ab_even, ab_odd, cd_even, cd_odd] = pairs.map(|x| vreinterpretq_f64_f32(x));
    let halves = [
        vtrn1q_f64(ab_even, cd_even),
        vtrn1q_f64(ab_odd, cd_odd),
        vtrn2q_f64(ab_even, cd_even),
        vtrn2q_f64(ab_odd, cd_odd),
    ];
    halves.map(|x| vreinterpretq_f32_f64(x))
}
