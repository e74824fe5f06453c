//! The tile for any CPU: plain Rust that the compiler turns into the vectors that the target has.

use std::ops::Range;

use super::Problem;
use super::blocked::{self, Columns, Strip, Tile, Work};
use crate::dtype::Float;

/// 4 rows times 8 columns: with vectors of four lanes, half of x86-64's registers.
const ROWS: usize = 4;
const COLUMNS: usize = 8;

pub(super) struct Portable;

impl Tile for Portable {
    const ROWS: usize = ROWS;
    const COLUMNS: usize = COLUMNS;

    unsafe fn compiled(work: impl Work) {
        // SAFETY: by the trait's contract.
        unsafe { work.run() }
    }

    #[inline(always)]
    unsafe fn transpose(block: [[f32; 8]; 8]) -> [[f32; 8]; 8] {
        std::array::from_fn(|c| std::array::from_fn(|r| block[r][c]))
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
            blocked::by_height!(strip: 1 2 3 4, R => product::<E, C, R>(p, strip, b, row, columns))
        }
    }
}

/// # Safety
/// The contract of [`Tile::product`], with `strip.rows` = `R`.
#[inline(never)]
unsafe fn product<E: Float, C: Float, const R: usize>(
    p: &Problem<E, C>,
    strip: Strip,
    b: Columns,
    row: usize,
    columns: Range<usize>,
) {
    let mut sums = [[0.0f32; COLUMNS]; R];
    for i in 0..p.k {
        // SAFETY: inside A and B by this function's contract.
        let b: [f32; COLUMNS] = unsafe { b.start.add(i * b.step).cast::<[f32; COLUMNS]>().read() };
        for (r, sums) in sums.iter_mut().enumerate() {
            // SAFETY: as above.
            let a = unsafe { *strip.start.add(r * strip.row + i * strip.step) };
            sums.iter_mut().zip(b).for_each(|(sum, b)| *sum = mul_add(a, b, *sum));
        }
    }
    for (r, sums) in sums.into_iter().enumerate() {
        // SAFETY: by this function's contract.
        unsafe { blocked::write(p, row + r, columns.clone(), sums) };
    }
}

/// Fused where every CPU of the target can, so that one binary has one result.
#[inline(always)]
fn mul_add(a: f32, b: f32, sum: f32) -> f32 {
    if cfg!(any(target_arch = "aarch64", target_feature = "fma")) {
        a.mul_add(b, sum)
    } else {
        a * b + sum
    }
}
