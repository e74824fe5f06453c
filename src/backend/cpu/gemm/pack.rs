//! Operands rearranged for the AVX-512 kernel: pieces of columns, walked unit by unit along k.
//!
//! A unit is four bytes along k: one f32, or two neighbouring bf16 (the second one zero at the end
//! of an odd sum). Within a piece, words lie `[unit][column]`, the columns padded with zeros.

use std::arch::x86_64::*;
use std::ops::Range;

use super::Mat;
use crate::backend::cpu::par;
use crate::dtype::{DType, Float};

/// 32-bit lanes of a vector.
pub(super) const LANES: usize = 16;

/// Units packed for all pieces of a chunk before the next ones, so that a cache line that two
/// pieces share is fetched once.
const UNITS: usize = 8;

/// Words that are packed in about the time that it takes to wake another thread.
const CHUNK_WORDS: usize = 32 << 10;

/// Elements in a unit.
pub(super) const fn per_unit<E: Float>() -> usize {
    4 / E::DTYPE.size_bytes()
}

pub(super) const fn is_bf16<E: Float>() -> bool {
    matches!(E::DTYPE, DType::Bf16)
}

/// The first `n` of 16 lanes, all of them from 16 on.
pub(super) fn lanes(n: usize) -> __mmask16 {
    if n >= LANES { !0 } else { (1 << n) - 1 }
}

/// Pack the rows of `x` (k columns) in pieces: piece i holds rows `split(i)..split(i + 1)`, at most
/// `longest`, as the columns of the packed form, padded to a multiple of `pad`; it starts at word
/// `i * longest * units`.
///
/// # Safety
/// The CPU has AVX-512 F, BW and VL.
pub(super) unsafe fn pieces<E: Float>(
    x: Mat<E>,
    k: usize,
    split: impl Fn(usize) -> usize + Sync,
    longest: usize,
    pad: usize,
    words: &mut [u32],
) {
    let units = k.div_ceil(per_unit::<E>());
    let piece_words = longest * units;
    if piece_words == 0 {
        return;
    }
    let n_pieces = words.len() / piece_words;
    let chunk = CHUNK_WORDS.div_ceil(piece_words);
    par::rows(n_pieces, chunk, par::by_row(words, piece_words), |pieces, words| {
        // A piece is packed in one go unless its neighbours share its cache lines.
        let block = if x.transposed { UNITS } else { units };
        for from in (0..units).step_by(block) {
            let block = from..units.min(from + block);
            for (piece, words) in pieces.clone().zip(words.chunks_exact_mut(piece_words)) {
                let columns = split(piece)..split(piece + 1);
                let width = columns.len().next_multiple_of(pad);
                // SAFETY: CPU features by this function's contract.
                unsafe {
                    if x.transposed {
                        interleave(x, columns, width, block.clone(), k, words);
                    } else {
                        for col in columns.clone().step_by(LANES) {
                            let words = &mut words[col - columns.start..];
                            transpose(x, col, columns.end, k, width, words);
                        }
                    }
                }
            }
        }
    });
}

/// Columns of a row-major matrix as `[unit][column]`, `width` words a unit.
///
/// # Safety
/// CPU features.
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
unsafe fn interleave<E: Float>(
    x: Mat<E>,
    columns: Range<usize>,
    width: usize,
    units: Range<usize>,
    k: usize,
    words: &mut [u32],
) {
    let per_unit = per_unit::<E>();
    let words = &mut words[units.start * width..units.end * width];
    for (unit, words) in units.zip(words.chunks_exact_mut(width)) {
        let k0 = unit * per_unit;
        for (column, words) in columns.clone().step_by(LANES).zip(words.chunks_mut(LANES)) {
            let mask = lanes(columns.end - column);
            // SAFETY: CPU features by contract; the mask of the store ends with the words.
            unsafe {
                let packed = unit_of(x, k0, column, mask, k);
                _mm512_mask_storeu_epi32(words.as_mut_ptr().cast(), lanes(words.len()), packed);
            }
        }
    }
}

/// The unit at row `k0` of `k`, of the columns that `mask` has from `column` on; zeros from row `k`
/// on.
///
/// # Safety
/// CPU features; the columns end with the matrix.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
pub(super) unsafe fn unit_of<E: Float>(
    x: Mat<E>,
    k0: usize,
    column: usize,
    mask: __mmask16,
    k: usize,
) -> __m512i {
    if k0 >= k {
        return _mm512_setzero_si512();
    }
    let row = &x.elems[k0 * x.stride + column..];
    // SAFETY: the mask ends with the row.
    unsafe {
        if !is_bf16::<E>() {
            return _mm512_maskz_loadu_epi32(mask, row.as_ptr().cast());
        }
        let even = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, row.as_ptr().cast()));
        if k0 + 1 == k {
            return even;
        }
        let next = row[x.stride..].as_ptr().cast();
        let odd = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, next));
        _mm512_or_si512(even, _mm512_slli_epi32::<16>(odd))
    }
}

/// Sixteen columns from `col`, which are rows as stored, as `[unit][column]`, `width` words a unit.
///
/// # Safety
/// CPU features.
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn transpose<E: Float>(
    x: Mat<E>,
    col: usize,
    end: usize,
    k: usize,
    width: usize,
    words: &mut [u32],
) {
    let per_unit = per_unit::<E>();
    let units = k.div_ceil(per_unit);
    for unit in (0..units).step_by(LANES) {
        let k0 = unit * per_unit;
        // A unit is two halves of 16 bits; the mask ends with the stored row.
        let halves = ((k - k0).min(LANES * per_unit) * 2 / per_unit) as u32;
        let mask = (u32::MAX).checked_shr(32 - halves).unwrap_or(0);
        let rows = std::array::from_fn(|i| {
            if col + i < end {
                let stored = &x.elems[(col + i) * x.stride + k0..];
                // SAFETY: the masked halves are inside the stored row.
                unsafe { _mm512_maskz_loadu_epi16(mask, stored.as_ptr().cast()) }
            } else {
                _mm512_setzero_si512()
            }
        });
        let turned = transpose_16x16(rows);
        for (u, turned) in turned.into_iter().enumerate().take(units - unit) {
            let to = &mut words[(unit + u) * width..][..LANES];
            // SAFETY: `to` is 16 words long.
            unsafe { _mm512_storeu_si512(to.as_mut_ptr().cast(), turned) };
        }
    }
}

/// to[c * to_stride + r] = x[r * x_stride + c] for `rows` r and `cols` c, at most 16 of either.
///
/// # Safety
/// The CPU has AVX-512 F; both matrices hold these elements.
#[target_feature(enable = "avx512f")]
pub(in crate::backend::cpu) unsafe fn transpose_block(
    x: &[f32],
    x_stride: usize,
    rows: usize,
    cols: usize,
    to: &mut [f32],
    to_stride: usize,
) {
    let block = std::array::from_fn(|r| {
        if r < rows {
            // SAFETY: the masked lanes are inside the row.
            unsafe { _mm512_maskz_loadu_epi32(lanes(cols), x.as_ptr().add(r * x_stride).cast()) }
        } else {
            _mm512_setzero_si512()
        }
    });
    for (c, turned) in transpose_16x16(block).into_iter().enumerate().take(cols) {
        // SAFETY: the masked lanes are inside the column.
        unsafe {
            let to = to.as_mut_ptr().add(c * to_stride);
            _mm512_mask_storeu_epi32(to.cast(), lanes(rows), turned);
        }
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn transpose_16x16(rows: [__m512i; 16]) -> [__m512i; 16] {
    // Pairs of rows, then quadruples, then 128-bit blocks twice.
    let pairs: [__m512i; 16] = std::array::from_fn(|i| {
        let (a, b) = (rows[i & !1], rows[i | 1]);
        if i % 2 == 0 { _mm512_unpacklo_epi32(a, b) } else { _mm512_unpackhi_epi32(a, b) }
    });
    let quads: [__m512i; 16] = std::array::from_fn(|i| {
        let (a, b) = (pairs[(i & !3) + (i & 3) / 2], pairs[(i & !3) + 2 + (i & 3) / 2]);
        if i % 2 == 0 { _mm512_unpacklo_epi64(a, b) } else { _mm512_unpackhi_epi64(a, b) }
    });
    // quads[4 q + j]: rows 4 q .. 4 q + 4 of columns j, j + 4, j + 8, j + 12.
    let eights: [__m512i; 16] = std::array::from_fn(|i| {
        let (half, even, j) = (i / 8, i / 4 % 2 == 0, i % 4);
        let (a, b) = (quads[8 * half + j], quads[8 * half + 4 + j]);
        if even { _mm512_shuffle_i32x4::<0x88>(a, b) } else { _mm512_shuffle_i32x4::<0xdd>(a, b) }
    });
    // eights[8 h + j]: rows 8 h .. of columns j, j + 8; eights[8 h + 4 + j]: of j + 4, j + 12.
    std::array::from_fn(|i| {
        let j = i % 8;
        let (a, b) = (eights[j], eights[8 + j]);
        if i < 8 { _mm512_shuffle_i32x4::<0x88>(a, b) } else { _mm512_shuffle_i32x4::<0xdd>(a, b) }
    })
}
