//! The product in f32 for instruction sets whose kernel is a [`Tile`]: packing, blocking and the
//! store.
//!
//! B is packed into panels of 16 columns, `[k][column]`, widened to f32 on the way, the last one
//! padded with zeros. A strip of a few rows times 8 or 16 columns is summed in registers, over all
//! of k: each sum in the order of k, whatever the operands' layout, place in memory or neighbours.
//! A is read where it lies if it is f32 and not transposed; otherwise each task packs its strips,
//! `[k][row]`.
//!
//! Everything is `#[inline(always)]`: an instruction set compiles it by calling it from a function
//! that enables its features.

use std::ops::Range;

use super::plan::Plan;
use super::{Mat, PANEL, Problem};
use crate::backend::Mode;
use crate::backend::cpu::prefetch::prefetch;
use crate::backend::cpu::{par, scratch};
use crate::dtype::{DType, Float};

/// Columns of a packed panel: a cache line of f32.
pub(super) const WIDTH: usize = 16;

/// Side of the blocks in which a transposed B is packed.
const BLOCK: usize = 8;

/// Elements that are packed in about the time that it takes to wake another thread.
const CHUNK_ELEMS: usize = 32 << 10;

/// Words that packing a strip may write past its end.
const SLACK: usize = BLOCK;

/// What an instruction set brings.
pub(super) trait Tile {
    /// Rows of a strip, at most [`BLOCK`].
    const ROWS: usize;
    /// Columns that are summed in one go; divides [`WIDTH`].
    const COLUMNS: usize;

    /// [`task`] compiled for the instruction set.
    ///
    /// # Safety
    /// The CPU has its features; otherwise as [`task`].
    unsafe fn task<E: Float, C: Float>(p: &Problem<E, C>, plan: &Plan, task: usize, b: Panels);

    /// [`pack_panels`] compiled for the instruction set.
    ///
    /// # Safety
    /// The CPU has its features.
    unsafe fn pack_panels<E: Float>(b: Mat<E>, panels: Range<usize>, packed: &mut [f32]);

    /// [`pack_strips`] compiled for the instruction set.
    ///
    /// # Safety
    /// The CPU has its features.
    unsafe fn pack_strips<E: Float>(
        a: Mat<E>,
        plan: &Plan,
        strips: Range<usize>,
        k: usize,
        packed: &mut [f32],
    );

    /// An 8 x 8 block turned round.
    ///
    /// # Safety
    /// The CPU has the features of the instruction set.
    unsafe fn transpose(block: [[f32; BLOCK]; BLOCK]) -> [[f32; BLOCK]; BLOCK];

    /// The rows of a strip times [`COLUMNS`](Self::COLUMNS) columns, each sum in the order of k,
    /// put into C at `row` and `columns` (fewer at C's edge) as [`write`] puts them.
    ///
    /// # Safety
    /// The CPU has the features; strip and columns of B are readable for k, rows and columns inside
    /// C and nobody else's; a strip has 1 to [`ROWS`](Self::ROWS) rows.
    unsafe fn product<E: Float, C: Float>(
        p: &Problem<E, C>,
        strip: Strip,
        b: Columns,
        row: usize,
        columns: Range<usize>,
    );
}

/// Some rows of A, element (r, i) at `start[r * row + i * step]`.
#[derive(Clone, Copy)]
pub(super) struct Strip {
    pub start: *const f32,
    pub row: usize,
    pub step: usize,
    pub rows: usize,
}

/// Some columns of B, element (i, c) at `start[i * step + c]`.
#[derive(Clone, Copy)]
pub(super) struct Columns {
    pub start: *const f32,
    pub step: usize,
}

/// B in panels of `width` columns, `[k][column]`, end to end.
#[derive(Clone, Copy)]
pub(super) struct Panels<'a> {
    words: &'a [f32],
    width: usize,
}

impl<'a> Panels<'a> {
    /// Panels of `width` columns, as [`pack_b`] packs them, or a single panel.
    pub fn new(words: &'a [u32], width: usize) -> Self {
        Self { words: bytemuck::cast_slice(words), width }
    }

    fn columns(&self, from: usize, k: usize) -> Columns {
        let (panel, within) = (from / self.width, from % self.width);
        let start = self.words[panel * self.width * k..][within..].as_ptr();
        Columns { start, step: self.width }
    }
}

pub(super) fn packed_words(k: usize, n: usize) -> usize {
    n.next_multiple_of(WIDTH) * k
}

/// # Safety
/// The CPU has the features of `T`.
pub(super) unsafe fn pack_b<T: Tile, E: Float>(b: Mat<E>, words: &mut [u32]) {
    let (k, n) = b.dims();
    if k == 0 {
        return;
    }
    let chunk = CHUNK_ELEMS.div_ceil(WIDTH * k);
    let packed = par::by_row(bytemuck::cast_slice_mut(words), WIDTH * k);
    par::rows(n.div_ceil(WIDTH), chunk, packed, |panels, packed| {
        // SAFETY: CPU features by this function's contract.
        unsafe { T::pack_panels(b, panels, packed) };
    });
}

/// # Safety
/// The CPU has the features of `T`.
pub(super) unsafe fn run<T: Tile, E: Float, C: Float>(p: &Problem<E, C>, b: Mat<E>) {
    let plan = Plan::new(T::ROWS, p.m, p.n, p.k, size_of::<f32>());
    scratch::with(packed_words(p.k, p.n), |words: &mut [u32]| {
        // SAFETY: CPU features by this function's contract.
        unsafe {
            pack_b::<T, E>(b, words);
            run_plan::<T, E, C>(p, &plan, Panels::new(words, WIDTH));
        }
    });
}

/// # Safety
/// The CPU has the features of `T`; `b` holds all panels of B.
pub(super) unsafe fn run_packed<T: Tile, E: Float, C: Float>(p: &Problem<E, C>, b: Panels) {
    // SAFETY: by this function's contract.
    unsafe { run_plan::<T, E, C>(p, &Plan::whole(T::ROWS, p.m, p.n), b) };
}

/// # Safety
/// The contract of [`run_packed`].
unsafe fn run_plan<T: Tile, E: Float, C: Float>(p: &Problem<E, C>, plan: &Plan, b: Panels) {
    par::tasks(plan.tasks(), |task| {
        // SAFETY: by this function's contract.
        unsafe { T::task(p, plan, task, b) };
    });
}

/// Panels of B, end to end.
///
/// # Safety
/// The CPU has the features of `T`.
#[inline(always)]
pub(super) unsafe fn pack_panels<T: Tile, E: Float>(
    b: Mat<E>,
    panels: Range<usize>,
    packed: &mut [f32],
) {
    let (k, n) = b.dims();
    for (panel, packed) in panels.zip(packed.chunks_exact_mut(WIDTH * k)) {
        let columns = panel * WIDTH..n.min((panel + 1) * WIDTH);
        if b.transposed {
            // SAFETY: CPU features by this function's contract.
            unsafe { pack_stored_columns::<T, E>(b, columns, packed) };
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
unsafe fn pack_stored_columns<T: Tile, E: Float>(
    b: Mat<E>,
    columns: Range<usize>,
    packed: &mut [f32],
) {
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

/// Words of a packed strip; behind its rows there are [`SLACK`] words that packing may overwrite.
const fn strip_words<T: Tile>(k: usize) -> usize {
    T::ROWS * k + SLACK
}

/// Strips of A as `[k][row]`, each at a multiple of [`strip_words`].
///
/// # Safety
/// The CPU has the features of `T`.
#[inline(always)]
pub(super) unsafe fn pack_strips<T: Tile, E: Float>(
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

/// One task of a plan.
///
/// # Safety
/// The CPU has the features of `T`; `b` holds all panels of B; no other task runs that is given the
/// same number.
#[inline(always)]
pub(super) unsafe fn task<T: Tile, E: Float, C: Float>(
    p: &Problem<E, C>,
    plan: &Plan,
    task: usize,
    b: Panels,
) {
    let (strips, panels) = plan.task(task);
    let k = p.k;
    let in_place = E::DTYPE == DType::F32 && !p.a.transposed;
    let strip_words = strip_words::<T>(k);
    let words = if in_place { 0 } else { strips.len() * strip_words };
    scratch::with(words, |packed: &mut [f32]| {
        if !in_place {
            // SAFETY: CPU features by this function's contract.
            unsafe { T::pack_strips(p.a, plan, strips.clone(), k, packed) };
        }
        let packed = &*packed;
        let strip_of = |strip: usize| {
            let rows = plan.row(strip)..plan.row(strip + 1);
            if in_place {
                let elems: &[f32] = bytemuck::cast_slice(p.a.elems);
                let start = elems[p.a.offset(rows.start, 0).min(elems.len())..].as_ptr();
                return Strip { start, row: p.a.stride, step: 1, rows: rows.len() };
            }
            let start = packed[(strip - strips.start) * strip_words..].as_ptr();
            Strip { start, row: 1, step: rows.len(), rows: rows.len() }
        };
        let end = p.n.min(panels.end * PANEL);
        for from in (panels.start * PANEL..end).step_by(T::COLUMNS) {
            let columns = from..end.min(from + T::COLUMNS);
            let b = b.columns(from, k);
            for strip in strips.clone() {
                let row = plan.row(strip);
                // SAFETY: the strip has k elements in each row (checked when the matrix was made,
                // or packed), the panel k rows; rows and columns of this task are inside C and no
                // other's.
                unsafe { T::product(p, strip_of(strip), b, row, columns.clone()) };
            }
        }
    });
}

/// C (+)= alpha * sums + bias: some columns of one row, as many as there are.
///
/// # Safety
/// They are inside C, and nobody else uses them; there are as many sums or more.
#[inline(always)]
pub(super) unsafe fn write<E: Float, C: Float, const N: usize>(
    p: &Problem<E, C>,
    row: usize,
    columns: Range<usize>,
    sums: [f32; N],
) {
    // SAFETY: by this function's contract.
    let c = unsafe { std::slice::from_raw_parts_mut(p.c.at(row, columns.start), columns.len()) };
    let mut out = sums.map(|sum| sum * p.alpha);
    if let Some(bias) = p.bias {
        out.iter_mut().zip(&bias[columns]).for_each(|(out, bias)| *out += bias.to_f32());
    }
    if p.mode == Mode::Add {
        out.iter_mut().zip(&*c).for_each(|(out, c)| *out += c.to_f32());
    }
    match <&mut [C; N]>::try_from(&mut *c) {
        Ok(c) => *c = out.map(C::from_f32),
        Err(_) => c.iter_mut().zip(out).for_each(|(c, out)| *c = C::from_f32(out)),
    }
}
