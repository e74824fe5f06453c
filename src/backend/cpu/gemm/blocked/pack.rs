//! Operands rearranged for the blocked product: widened to f32, in the order of its loops.

use std::marker::PhantomData;
use std::ops::Range;

use super::{BLOCK, Tile, WIDTH, Work, strip_words};
use crate::backend::cpu::gemm::Mat;
use crate::backend::cpu::gemm::plan::Plan;
use crate::backend::cpu::prefetch::prefetch;
use crate::dtype::Float;

/// Panels of B, end to end. The CPU has the features of `T`.
pub(super) struct Panels<'a, T, E> {
    pub tile: PhantomData<T>,
    pub b: Mat<'a, E>,
    pub panels: Range<usize>,
    pub packed: &'a mut [f32],
}

impl<T: Tile, E: Float> Work for Panels<'_, T, E> {
    #[inline(always)]
    unsafe fn run(self) {
        let Self { b, panels, packed, .. } = self;
        let (k, n) = b.dims();
        for (panel, packed) in panels.zip(packed.chunks_exact_mut(WIDTH * k)) {
            let columns = panel * WIDTH..n.min((panel + 1) * WIDTH);
            if b.transposed {
                // SAFETY: CPU features by this function's contract.
                unsafe { stored_columns::<T, E>(b, columns, packed) };
                continue;
            }
            for (i, packed) in packed.chunks_exact_mut(WIDTH).enumerate() {
                let stored = &b.elems[i * b.stride + columns.start..][..columns.len()];
                match <&[E; WIDTH]>::try_from(stored) {
                    Ok(stored) => packed.copy_from_slice(&stored.map(E::to_f32)),
                    Err(_) => {
                        let (head, tail) = packed.split_at_mut(stored.len());
                        head.iter_mut().zip(stored).for_each(|(p, x)| *p = x.to_f32());
                        tail.fill(0.0);
                    }
                }
            }
        }
    }
}

/// Eight elements from up to eight stored rows, from element `i`; zeros where there are none.
#[inline(always)]
fn block<E: Float>(rows: &[&[E]; BLOCK], i: usize) -> [[f32; BLOCK]; BLOCK] {
    let mut out = [[0.0; BLOCK]; BLOCK];
    for (out, row) in out.iter_mut().zip(rows) {
        let rest = row.get(i..).unwrap_or_default();
        match rest.first_chunk::<BLOCK>() {
            Some(whole) => widen(whole, out),
            None => widen(rest, out),
        }
    }
    out
}

/// A panel of columns that are stored as rows.
///
/// # Safety
/// The CPU has the features of `T`.
#[inline(always)]
unsafe fn stored_columns<T: Tile, E: Float>(b: Mat<E>, columns: Range<usize>, packed: &mut [f32]) {
    let k = b.cols;
    for from in (0..WIDTH).step_by(BLOCK) {
        let rows: [&[E]; BLOCK] = std::array::from_fn(|c| match columns.start + from + c {
            column if column < columns.end => &b.elems[column * b.stride..][..k],
            _ => &[],
        });
        for i in (0..k).step_by(BLOCK) {
            // SAFETY: CPU features by this function's contract.
            let turned = unsafe { T::transpose(block(&rows, i)) };
            let packed = packed[i * WIDTH..].chunks_exact_mut(WIDTH);
            for (packed, turned) in packed.zip(&turned) {
                packed[from..from + BLOCK].copy_from_slice(turned);
            }
        }
    }
}

/// Strips of A as `[k][row]`, each at a multiple of [`strip_words`].
///
/// # Safety
/// The CPU has the features of `T`.
#[inline(always)]
pub(super) unsafe fn strips<T: Tile, E: Float>(
    a: Mat<E>,
    plan: &Plan,
    strips: Range<usize>,
    k: usize,
    packed: &mut [f32],
) {
    let words = strip_words::<T>(k);
    if a.transposed {
        // A block of k for all strips, then the next: strips share cache lines.
        let columns = plan.row(strips.start)..plan.row(strips.end);
        for from in (0..k).step_by(BLOCK) {
            for i in from + BLOCK..k.min(from + 2 * BLOCK) {
                prefetch(&a.elems[i * a.stride..][columns.clone()]);
            }
            for (packed, strip) in packed.chunks_exact_mut(words).zip(strips.clone()) {
                let (row, end) = (plan.row(strip), plan.row(strip + 1));
                let n = end - row;
                for i in from..k.min(from + BLOCK) {
                    let stored = &a.elems[i * a.stride + row..];
                    let mut words = [0.0; BLOCK];
                    match stored.first_chunk::<BLOCK>() {
                        Some(stored) => widen(stored, &mut words),
                        None => widen(stored, &mut words),
                    }
                    packed[i * n..][..BLOCK].copy_from_slice(&words);
                }
            }
        }
        return;
    }
    for (packed, strip) in packed.chunks_exact_mut(words).zip(strips) {
        let (row, end) = (plan.row(strip), plan.row(strip + 1));
        let stored: [&[E]; BLOCK] = std::array::from_fn(|r| match row + r {
            row if row < end => &a.elems[row * a.stride..][..k],
            _ => &[],
        });
        for i in (0..k).step_by(BLOCK) {
            // SAFETY: CPU features by this function's contract.
            let turned = unsafe { T::transpose(block(&stored, i)) };
            // Words behind the strip's rows belong to the next i, or to the slack.
            for (j, turned) in turned.iter().enumerate().take(k - i) {
                packed[(i + j) * (end - row)..][..BLOCK].copy_from_slice(turned);
            }
        }
    }
}

/// `from`, as far as `to` reaches.
#[inline(always)]
fn widen<E: Float>(from: &[E], to: &mut [f32; BLOCK]) {
    to.iter_mut().zip(from).for_each(|(to, x)| *to = x.to_f32());
}
