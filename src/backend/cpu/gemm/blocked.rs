//! The product in f32 for instruction sets whose kernel is a [`Tile`]: packing, blocking and the
//! store.
//!
//! B is packed into panels of 16 columns, `[k][column]`, widened to f32 on the way, the last one
//! padded with zeros. A strip of a few rows times 8 to 32 columns is summed in registers, over all
//! of k: each sum in the order of k, whatever the operands' layout, place in memory or neighbours.
//! A is read where it lies if it is f32 and not transposed; otherwise each task packs its strips,
//! `[k][row]`.
//!
//! What runs within a task is [`Work`] that [`Tile::compiled`] compiles for the instruction set.

mod gated;
mod pack;

use std::marker::PhantomData;
use std::ops::Range;

pub(super) use gated::run_gated;

use super::plan::Plan;
use super::{Mat, PANEL, Problem};
use crate::backend::Mode;
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

/// Words of a packed strip; behind its rows there are [`SLACK`] words that packing may overwrite.
const fn strip_words<T: Tile>(k: usize) -> usize {
    T::ROWS * k + SLACK
}

/// A loop that an instruction set compiles. `run` is `#[inline(always)]` and has no closures, which
/// would lose the instruction set.
pub(super) trait Work {
    /// # Safety
    /// What the one who made it vouches for.
    unsafe fn run(self);
}

/// What an instruction set brings.
pub(super) trait Tile {
    /// Rows of a strip, at most [`BLOCK`].
    const ROWS: usize;
    /// Columns that are summed in one go: [`WIDTH`], a divisor or twice of it.
    const COLUMNS: usize;

    /// The work compiled for the instruction set.
    ///
    /// # Safety
    /// The CPU has the features of the instruction set; otherwise as [`Work::run`].
    unsafe fn compiled(work: impl Work);

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

/// `$product` with the height of a strip as its constant `$R`.
macro_rules! by_height {
    ($strip:ident: $($height:literal)+, $R:ident => $product:expr) => {
        match $strip.rows {
            $($height => {
                const $R: usize = $height;
                $product
            })+
            rows => unreachable!("no strip of this tile has {rows} rows"),
        }
    };
}
pub(super) use by_height;

/// Some rows of A, element (r, i) at `start[r * row + i * step]`.
#[derive(Clone, Copy)]
pub(super) struct Strip {
    pub start: *const f32,
    pub row: usize,
    pub step: usize,
    pub rows: usize,
}

/// Some columns of B, element (i, c) at `start[i * step + c]`, for c from [`WIDTH`] on at
/// `start[next + i * step + c - WIDTH]`.
#[derive(Clone, Copy)]
pub(super) struct Columns {
    pub start: *const f32,
    pub step: usize,
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
    pub next: usize,
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
        let next = if self.width > WIDTH { WIDTH } else { WIDTH * k };
        Columns { start, step: self.width, next }
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
        unsafe { T::compiled(pack::Panels { tile: PhantomData::<T>, b, panels, packed }) };
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
        unsafe { T::compiled(Task { tile: PhantomData::<T>, p, plan, task, b }) };
    });
}

/// One task of a plan. The CPU has the features of `T`; `b` holds all panels of B; no other task
/// runs that is given the same number.
struct Task<'a, T, E, C> {
    tile: PhantomData<T>,
    p: &'a Problem<'a, E, C>,
    plan: &'a Plan,
    task: usize,
    b: Panels<'a>,
}

impl<T: Tile, E: Float, C: Float> Work for Task<'_, T, E, C> {
    #[inline(always)]
    unsafe fn run(self) {
        let Self { p, plan, task, b, .. } = self;
        let (strips, panels) = plan.task(task);
        let mut buffer = scratch::take(Strips::buffer_len::<T, E>(p.a, strips.len(), p.k));
        // SAFETY: CPU features by this task's promise.
        let a = unsafe { Strips::new::<T, E>(p.a, plan, strips.clone(), p.k, &mut buffer) };
        let end = p.n.min(panels.end * PANEL);
        for from in (panels.start * PANEL..end).step_by(T::COLUMNS) {
            let columns = from..end.min(from + T::COLUMNS);
            let b = b.columns(from, p.k);
            for strip in strips.clone() {
                // SAFETY: the strip has k elements in each row (checked when the matrix was made,
                // or packed), the panel k rows; rows and columns of this task are inside C and no
                // other's.
                unsafe { T::product(p, a.strip(strip), b, plan.row(strip), columns.clone()) };
            }
        }
    }
}

/// The strips of A that a task needs.
struct Strips<'a> {
    plan: &'a Plan,
    /// The first one that lies at the start of `elems`.
    first: usize,
    elems: &'a [f32],
    /// Elements between the rows of A where it lies, or none: then strips are packed.
    stride: Option<usize>,
    /// From one packed strip to the next.
    words: usize,
}

impl<'a> Strips<'a> {
    /// Words that [`new`](Self::new) needs.
    #[inline(always)]
    fn buffer_len<T: Tile, E: Float>(a: Mat<E>, strips: usize, k: usize) -> usize {
        if E::DTYPE == DType::F32 && !a.transposed { 0 } else { strips * strip_words::<T>(k) }
    }

    /// Some strips of A, packed into `buffer` unless they can be read where they lie.
    ///
    /// # Safety
    /// The CPU has the features of `T`.
    #[inline(always)]
    unsafe fn new<T: Tile, E: Float>(
        a: Mat<'a, E>,
        plan: &'a Plan,
        strips: Range<usize>,
        k: usize,
        buffer: &'a mut [f32],
    ) -> Self {
        let words = strip_words::<T>(k);
        if E::DTYPE == DType::F32 && !a.transposed {
            let elems = bytemuck::cast_slice(a.elems);
            return Self { plan, first: 0, elems, stride: Some(a.stride), words };
        }
        let first = strips.start;
        // SAFETY: by this function's contract.
        unsafe { pack::strips::<T, E>(a, plan, strips, k, buffer) };
        Self { plan, first, elems: buffer, stride: None, words }
    }

    #[inline(always)]
    fn strip(&self, strip: usize) -> Strip {
        let (row, end) = (self.plan.row(strip), self.plan.row(strip + 1));
        let rows = end - row;
        match self.stride {
            Some(stride) => {
                let start = self.elems[(row * stride).min(self.elems.len())..].as_ptr();
                Strip { start, row: stride, step: 1, rows }
            }
            None => {
                let start = self.elems[(strip - self.first) * self.words..].as_ptr();
                Strip { start, row: 1, step: rows, rows }
            }
        }
    }
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
