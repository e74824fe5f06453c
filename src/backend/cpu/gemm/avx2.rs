//! The tile for AVX2 and FMA: 6 rows times 16 columns are 12 accumulators of 8 lanes, two vectors
//! of B and one broadcast: 15 of the 16 registers, and 12 multiply-adds for 8 loads.

use std::arch::x86_64::*;
use std::ops::Range;

use super::Problem;
use super::blocked::{self, Columns, Strip, Tile, Work};
use crate::backend::Mode;
use crate::backend::cpu::prefetch;
use crate::dtype::{DType, Float};

pub(super) struct Avx2;

impl Tile for Avx2 {
    const ROWS: usize = 6;
    const COLUMNS: usize = 16;

    #[target_feature(enable = "avx2,fma")]
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
#[target_feature(enable = "avx2,fma")]
unsafe fn product<E: Float, C: Float, const R: usize>(
    p: &Problem<E, C>,
    strip: Strip,
    b: Columns,
    row: usize,
    columns: Range<usize>,
) {
    let mut sums = [[_mm256_setzero_ps(); 2]; R];
    // C is fetched while the sums are made.
    for r in 0..R {
        // SAFETY: inside C by this function's contract.
        let c = unsafe { p.c.at(row + r, columns.start) };
        prefetch::line(c);
        prefetch::line(c.wrapping_add(Avx2::COLUMNS - 1));
    }
    let (mut a, mut b_i) = (strip.start, b.start);
    for _ in 0..p.k {
        // SAFETY: element by element along k, inside A and B by this function's contract.
        unsafe {
            let b_v = [_mm256_loadu_ps(b_i), _mm256_loadu_ps(b_i.add(8))];
            for (r, sums) in sums.iter_mut().enumerate() {
                let a_r = _mm256_broadcast_ss(&*a.add(r * strip.row));
                sums[0] = _mm256_fmadd_ps(a_r, b_v[0], sums[0]);
                sums[1] = _mm256_fmadd_ps(a_r, b_v[1], sums[1]);
            }
            a = a.add(strip.step);
            b_i = b_i.add(b.step);
        }
    }
    if columns.len() < Avx2::COLUMNS {
        for (r, sums) in sums.into_iter().enumerate() {
            // SAFETY: both are 16 floats.
            let sums = unsafe { std::mem::transmute::<[__m256; 2], [f32; 16]>(sums) };
            // SAFETY: by this function's contract.
            unsafe { blocked::write(p, row + r, columns.clone(), sums) };
        }
        return;
    }
    let alpha = _mm256_set1_ps(p.alpha);
    let bias = p.bias.map(|bias| {
        let bias = &bias[columns.clone()];
        // SAFETY: sixteen elements.
        unsafe { [load(bias.as_ptr()), load(bias.as_ptr().add(8))] }
    });
    for (r, sums) in sums.into_iter().enumerate() {
        // SAFETY: sixteen columns of a row inside C, which are this task's alone.
        let c = unsafe { p.c.at(row + r, columns.start) };
        for (half, sum) in sums.into_iter().enumerate() {
            let mut out = _mm256_mul_ps(sum, alpha);
            if let Some(bias) = bias {
                out = _mm256_add_ps(out, bias[half]);
            }
            // SAFETY: as above.
            unsafe {
                let c = c.add(8 * half);
                if p.mode == Mode::Add {
                    out = _mm256_add_ps(out, load(c));
                }
                store(c, out);
            }
        }
    }
}

/// # Safety
/// Eight elements are readable.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn load<E: Float>(from: *const E) -> __m256 {
    // SAFETY: by contract.
    unsafe {
        match E::DTYPE {
            DType::Bf16 => {
                let halves = _mm256_cvtepu16_epi32(_mm_loadu_si128(from.cast()));
                _mm256_castsi256_ps(_mm256_slli_epi32::<16>(halves))
            }
            _ => _mm256_loadu_ps(from.cast()),
        }
    }
}

/// # Safety
/// Eight elements are writable.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn store<C: Float>(to: *mut C, x: __m256) {
    // SAFETY: by contract.
    unsafe {
        match C::DTYPE {
            DType::Bf16 => {
                let x = std::mem::transmute::<__m256, [f32; 8]>(x);
                to.cast::<[C; 8]>().write_unaligned(x.map(C::from_f32));
            }
            _ => _mm256_storeu_ps(to.cast(), x),
        }
    }
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn transpose_8x8(block: [[f32; 8]; 8]) -> [[f32; 8]; 8] {
    // SAFETY: each row is 8 floats.
    let rows: [__m256; 8] = block.map(|row| unsafe { _mm256_loadu_ps(row.as_ptr()) });
    // Pairs of rows, then quadruples, then the halves of 128 bits.
    let pairs: [__m256; 8] = std::array::from_fn(|i| {
        let (a, b) = (rows[i & !1], rows[i | 1]);
        if i % 2 == 0 { _mm256_unpacklo_ps(a, b) } else { _mm256_unpackhi_ps(a, b) }
    });
    // quads[4 q + j]: rows 4 q .. 4 q + 4 of columns j and j + 4.
    let quads: [__m256; 8] = std::array::from_fn(|i| {
        let (a, b) = (pairs[(i & !3) + (i & 3) / 2], pairs[(i & !3) + 2 + (i & 3) / 2]);
        if i % 2 == 0 { _mm256_shuffle_ps::<0x44>(a, b) } else { _mm256_shuffle_ps::<0xee>(a, b) }
    });
    let turned: [__m256; 8] = std::array::from_fn(|i| {
        let (a, b) = (quads[i % 4], quads[4 + i % 4]);
        match i < 4 {
            true => _mm256_permute2f128_ps::<0x20>(a, b),
            false => _mm256_permute2f128_ps::<0x31>(a, b),
        }
    });
    turned.map(|row| {
        let mut out = [0.0; 8];
        // SAFETY: `out` is 8 floats.
        unsafe { _mm256_storeu_ps(out.as_mut_ptr(), row) };
        out
    })
}
