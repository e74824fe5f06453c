//! The tile for AVX-512 without BF16: 8 rows times 32 columns, two panels of B side by side, are 16
//! accumulators of 16 lanes.
//!
//! A step of k is 2 loads of B and 8 broadcasts of A for 16 multiply-adds. These CPUs do up to two
//! of either in a cycle, so the multiply-adds are the limit, and 16 accumulators are twice what two
//! units with a latency of four cycles need. The taller strips of `avx512bf16.rs` (16 loads for 28
//! multiply-adds) meet the same limit, and its units of two bf16 suit its own instruction only;
//! here bf16 is widened while it is packed, as for every tile.

use std::arch::x86_64::*;
use std::ops::Range;

use super::blocked::{self, Columns, Strip, Tile, WIDTH, Work};
use super::{Problem, avx2};
use crate::dtype::Float;

pub(super) struct Avx512;

impl Tile for Avx512 {
    const ROWS: usize = 8;
    const COLUMNS: usize = 2 * WIDTH;

    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
    unsafe fn compiled(work: impl Work) {
        // SAFETY: by the trait's contract.
        unsafe { work.run() }
    }

    #[inline(always)]
    unsafe fn transpose(block: [[f32; 8]; 8]) -> [[f32; 8]; 8] {
        // SAFETY: by the trait's contract; AVX-512 F includes AVX2.
        unsafe { avx2::transpose_8x8(block) }
    }

    #[inline(always)]
    unsafe fn product<E: Float, C: Float>(
        p: &Problem<E, C>,
        strip: Strip,
        b: Columns,
        row: usize,
        columns: Range<usize>,
    ) {
        // SAFETY: by the trait's contract; B has a second panel where there are more columns.
        unsafe {
            match columns.len() > WIDTH {
                true => by_height::<E, C, 2>(p, strip, b, row, columns),
                false => by_height::<E, C, 1>(p, strip, b, row, columns),
            }
        }
    }
}

/// # Safety
/// The contract of [`Tile::product`], with at most `V` * [`WIDTH`] columns.
#[inline(always)]
unsafe fn by_height<E: Float, C: Float, const V: usize>(
    p: &Problem<E, C>,
    strip: Strip,
    b: Columns,
    row: usize,
    columns: Range<usize>,
) {
    // SAFETY: by this function's contract.
    unsafe {
        blocked::by_height!(strip: 1 2 3 4 5 6 7 8,
            R => product::<E, C, R, V>(p, strip, b, row, columns))
    }
}

/// # Safety
/// The contract of [`by_height`], with `strip.rows` = `R`.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
unsafe fn product<E: Float, C: Float, const R: usize, const V: usize>(
    p: &Problem<E, C>,
    strip: Strip,
    b: Columns,
    row: usize,
    columns: Range<usize>,
) {
    let mut sums = [[_mm512_setzero_ps(); V]; R];
    let (mut a, mut b_i) = (strip.start, b.start);
    for _ in 0..p.k {
        // SAFETY: element by element along k, inside A and B by this function's contract.
        unsafe {
            let b_v: [__m512; V] = std::array::from_fn(|v| _mm512_loadu_ps(b_i.add(v * b.next)));
            for (r, sums) in sums.iter_mut().enumerate() {
                let a_r = _mm512_set1_ps(*a.add(r * strip.row));
                for (sum, b) in sums.iter_mut().zip(b_v) {
                    *sum = _mm512_fmadd_ps(a_r, b, *sum);
                }
            }
            a = a.add(strip.step);
            b_i = b_i.add(b.step);
        }
    }
    for (r, sums) in sums.into_iter().enumerate() {
        for (v, sums) in sums.into_iter().enumerate() {
            let from = columns.start + v * WIDTH;
            let columns = from..columns.end.min(from + WIDTH);
            // SAFETY: both are 16 floats.
            let sums = unsafe { std::mem::transmute::<__m512, [f32; WIDTH]>(sums) };
            // SAFETY: by this function's contract.
            unsafe { blocked::write(p, row + r, columns, sums) };
        }
    }
}
