//! Matrix products for every op:  `C (+)= alpha * A B (+ bias)`, sums in f32.
//!
//! A and B are both f32 or both bf16, in row-major memory, each possibly read transposed; C is
//! f32 or bf16, whatever A and B are. The three products of a linear layer, `x (N, K)`,
//! `w (M, K)`, `y = x w^T (N, M)`:
//!
//! ```text
//! let x = Mat::new(x, n, k);                                    // as stored: rows, columns
//! gemm(1.0, x,      w.t(), bias, Mode::Set, MatMut::new(y,  n, m));   // bias: Option<&[E]>
//! gemm(1.0, dy,     w,     None, mode,      MatMut::new(dx, n, k));
//! gemm(1.0, dy.t(), x,     None, mode,      MatMut::new(dw, m, k));
//! ```
//!
//! `Mat::strided` reads a part of wider rows. With `Mode::Add` the bias is added too. A bf16 C is
//! rounded once per call.
//!
//! Bits depend on shapes and CPU model only: the partition into tasks never looks at the number
//! of threads, and no sum is divided between threads. Nothing is allocated but thread-local
//! scratch, once. Runs in the current rayon pool; a caller inside the pool saves the hand-over.
//!
//! [`with_packed`] and [`product`] are the same in two steps on one thread, for callers that are
//! parallel themselves and use a B many times; [`panel`] is for those that make B themselves.
//!
//! Where an operand lies in memory changes no bit either: each element of C is one sum in the order
//! of k.
//!
//! `path.rs` says which kernel runs: with AMX that of `gemm/amx.rs` for bf16; with AVX-512 BF16
//! that of `gemm/avx512bf16.rs` for both types; otherwise `gemm/blocked.rs` in f32, with the tile
//! of `avx512.rs`, `avx2.rs`, `neon.rs` or `portable.rs`.

#[cfg(target_arch = "x86_64")]
pub(super) mod amx;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod avx512bf16;
mod blocked;
mod gated;
#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(target_arch = "x86_64")]
pub(super) mod pack;
mod plan;
mod portable;
#[cfg(test)]
mod tests;

use std::marker::PhantomData;

pub use gated::{gated, is_gated};

use super::path::Path;
use crate::backend::Mode;
use crate::dtype::Float;

/// Longest sum done in one go. Longer ones are cut here, which bounds the packed operands.
const MAX_K: usize = 4096;

/// Largest K with a transposed A, a weight gradient: all of A is packed, and should stay cached.
const MAX_K_TRANSPOSED: usize = 1024;

/// A matrix to read: row-major as stored, with a flag for its transpose.
#[derive(Clone, Copy)]
pub struct Mat<'a, E> {
    elems: &'a [E],
    /// Rows in memory, before a transposition.
    rows: usize,
    cols: usize,
    stride: usize,
    transposed: bool,
}

impl<'a, E> Mat<'a, E> {
    /// `rows x cols`, contiguous.
    pub fn new(elems: &'a [E], rows: usize, cols: usize) -> Self {
        Self::strided(elems, rows, cols, cols)
    }

    /// Row `r` is `elems[r * stride..][..cols]`.
    pub fn strided(elems: &'a [E], rows: usize, cols: usize, stride: usize) -> Self {
        check(elems.len(), rows, cols, stride);
        Self { elems, rows, cols, stride, transposed: false }
    }

    /// The transpose, without moving anything.
    pub fn t(self) -> Self {
        Self { transposed: !self.transposed, ..self }
    }

    /// Some of its rows (after `t`).
    pub fn rows(self, rows: std::ops::Range<usize>) -> Self {
        self.t().columns(rows.start, rows.len()).t()
    }

    fn dims(&self) -> (usize, usize) {
        if self.transposed { (self.cols, self.rows) } else { (self.rows, self.cols) }
    }

    /// Element (0, 0) of the block that starts at `row`, `col` (not as stored: after `t`).
    fn offset(&self, row: usize, col: usize) -> usize {
        let (row, col) = if self.transposed { (col, row) } else { (row, col) };
        row * self.stride + col
    }

    /// Columns `from..from + len` (after `t`).
    fn columns(self, from: usize, len: usize) -> Self {
        assert!(from + len <= self.dims().1, "columns {from} + {len} of {}", self.dims().1);
        let elems = self.elems.get(self.offset(0, from)..).unwrap_or_default();
        let (rows, cols) = if self.transposed { (len, self.cols) } else { (self.rows, len) };
        Self { elems, rows, cols, ..self }
    }
}

/// A row-major matrix to write.
pub struct MatMut<'a, C> {
    elems: &'a mut [C],
    rows: usize,
    cols: usize,
    stride: usize,
}

impl<'a, C> MatMut<'a, C> {
    pub fn new(elems: &'a mut [C], rows: usize, cols: usize) -> Self {
        Self::strided(elems, rows, cols, cols)
    }

    pub fn strided(elems: &'a mut [C], rows: usize, cols: usize, stride: usize) -> Self {
        check(elems.len(), rows, cols, stride);
        Self { elems, rows, cols, stride }
    }

    fn reborrow(&mut self) -> MatMut<'_, C> {
        MatMut { elems: self.elems, ..*self }
    }
}

fn check(elems: usize, rows: usize, cols: usize, stride: usize) {
    let fits = rows == 0 || cols == 0 || (rows - 1) * stride + cols <= elems;
    assert!(fits && stride >= cols, "{rows}x{cols} by {stride} in {elems} elements");
}

/// See the module header. Panics when the three shapes do not belong together.
pub fn gemm<E: Float, C: Float>(
    alpha: f32,
    a: Mat<E>,
    b: Mat<E>,
    bias: Option<&[E]>,
    mode: Mode,
    c: MatMut<C>,
) {
    gemm_with(Path::chosen(), alpha, a, b, bias, mode, c);
}

/// One product with k of at most `max_k`, but for B.
struct Problem<'a, E, C> {
    m: usize,
    n: usize,
    k: usize,
    alpha: f32,
    a: Mat<'a, E>,
    bias: Option<&'a [E]>,
    mode: Mode,
    c: CPtr<C>,
}

/// C as tasks see it: each writes its own rows and columns.
#[derive(Clone, Copy)]
struct CPtr<C> {
    start: *mut C,
    stride: usize,
}

// SAFETY: tasks of one product write disjoint blocks of C, which the product borrows exclusively.
unsafe impl<C: Send> Send for CPtr<C> {}
// SAFETY: as above.
unsafe impl<C: Send> Sync for CPtr<C> {}

impl<C> CPtr<C> {
    /// # Safety
    /// (row, col) is inside C, or one past its end.
    unsafe fn at(self, row: usize, col: usize) -> *mut C {
        // SAFETY: `check` held when the matrix was made.
        unsafe { self.start.add(row * self.stride + col) }
    }
}

fn gemm_with<E: Float, C: Float>(
    path: Path,
    alpha: f32,
    a: Mat<E>,
    b: Mat<E>,
    bias: Option<&[E]>,
    mode: Mode,
    mut c: MatMut<C>,
) {
    let ((m, k), (b_rows, n)) = (a.dims(), b.dims());
    assert_eq!(k, b_rows, "A is {m}x{k}, B is {b_rows}x{n}");
    assert_eq!((c.rows, c.cols), (m, n), "C of {m}x{k} times {k}x{n}");
    assert!(bias.is_none_or(|bias| bias.len() == n), "bias for {n} columns");
    if m == 0 || n == 0 {
        return;
    }
    if k > max_k(&a) {
        return long_sum(path, alpha, a, b, bias, mode, c);
    }
    let c = c.reborrow();
    let c = CPtr { start: c.elems.as_mut_ptr(), stride: c.stride };
    let problem = Problem { m, n, k, alpha, a, bias, mode, c };
    // SAFETY: the CPU has what the path needs, `Path::is_here` saw it.
    unsafe {
        match path {
            #[cfg(target_arch = "x86_64")]
            Path::Amx => amx::run(&problem, b),
            #[cfg(target_arch = "x86_64")]
            Path::Avx512Bf16 => avx512bf16::run(&problem, b),
            #[cfg(target_arch = "x86_64")]
            Path::Avx512 => blocked::run::<avx512::Avx512, E, C>(&problem, b),
            #[cfg(target_arch = "x86_64")]
            Path::Avx2 => blocked::run::<avx2::Avx2, E, C>(&problem, b),
            #[cfg(target_arch = "aarch64")]
            Path::Neon => blocked::run::<neon::Neon, E, C>(&problem, b),
            _ => blocked::run::<portable::Portable, E, C>(&problem, b),
        }
    }
}

/// A right-hand side, prepared for many products.
pub struct Packed<'a, E> {
    words: &'a [u32],
    /// Columns of a panel of `gemm/blocked.rs`.
    width: usize,
    path: Path,
    k: usize,
    n: usize,
    elem: PhantomData<E>,
}

/// Prepare B and run `f` with it.
pub fn with_packed<E: Float, R>(b: Mat<E>, f: impl FnOnce(&Packed<E>) -> R) -> R {
    with_packed_for(Path::chosen(), b, f)
}

fn with_packed_for<E: Float, R>(path: Path, b: Mat<E>, f: impl FnOnce(&Packed<E>) -> R) -> R {
    let (k, n) = b.dims();
    super::scratch::with(packed_words::<E>(path, k, n), |words| f(&pack(path, b, words)))
}

fn packed_words<E: Float>(path: Path, k: usize, n: usize) -> usize {
    match path {
        #[cfg(target_arch = "x86_64")]
        Path::Amx | Path::Avx512Bf16 => avx512bf16::packed_words::<E>(k, n),
        _ => blocked::packed_words(k, n),
    }
}

fn pack<'a, E: Float>(path: Path, b: Mat<E>, words: &'a mut [u32]) -> Packed<'a, E> {
    let (k, n) = b.dims();
    let words = &mut words[..packed_words::<E>(path, k, n)];
    // SAFETY: as in `gemm_with`.
    unsafe {
        match path {
            #[cfg(target_arch = "x86_64")]
            Path::Amx | Path::Avx512Bf16 => avx512bf16::pack_b(b, words),
            #[cfg(target_arch = "x86_64")]
            Path::Avx512 => blocked::pack_b::<avx512::Avx512, E>(b, words),
            #[cfg(target_arch = "x86_64")]
            Path::Avx2 => blocked::pack_b::<avx2::Avx2, E>(b, words),
            #[cfg(target_arch = "aarch64")]
            Path::Neon => blocked::pack_b::<neon::Neon, E>(b, words),
            _ => blocked::pack_b::<portable::Portable, E>(b, words),
        }
    }
    Packed { words, width: blocked::WIDTH, path, k, n, elem: PhantomData }
}

/// Columns of a B that needs no preparation.
pub const PANEL: usize = 32;

/// A right-hand side of `PANEL` columns as its rows lie: every path can use it so.
pub fn panel(rows: &[f32]) -> Packed<'_, f32> {
    let (words, k) = (bytemuck::cast_slice(rows), rows.len() / PANEL);
    assert_eq!(rows.len(), k * PANEL, "rows of {PANEL} columns");
    Packed { words, width: PANEL, path: Path::chosen(), k, n: PANEL, elem: PhantomData }
}

/// C (+)= alpha * A B on this thread alone.
pub fn product<E: Float>(alpha: f32, a: Mat<E>, b: &Packed<E>, mode: Mode, c: MatMut<f32>) {
    let ((m, k), n) = (a.dims(), b.n);
    assert_eq!(k, b.k, "A is {m}x{k}, B is {}x{n}", b.k);
    assert_eq!((c.rows, c.cols), (m, n), "C of {m}x{k} times {k}x{n}");
    let c = CPtr { start: c.elems.as_mut_ptr(), stride: c.stride };
    let problem = Problem { m, n, k, alpha, a, bias: None, mode, c };
    let panels = blocked::Panels::new(b.words, b.width);
    // SAFETY: as in `gemm_with`; `pack` packed B for this path.
    unsafe {
        match b.path {
            #[cfg(target_arch = "x86_64")]
            Path::Amx => amx::run_packed(&problem, b.words),
            #[cfg(target_arch = "x86_64")]
            Path::Avx512Bf16 => avx512bf16::run_packed(&problem, b.words),
            #[cfg(target_arch = "x86_64")]
            Path::Avx512 => blocked::run_packed::<avx512::Avx512, E, f32>(&problem, panels),
            #[cfg(target_arch = "x86_64")]
            Path::Avx2 => blocked::run_packed::<avx2::Avx2, E, f32>(&problem, panels),
            #[cfg(target_arch = "aarch64")]
            Path::Neon => blocked::run_packed::<neon::Neon, E, f32>(&problem, panels),
            _ => blocked::run_packed::<portable::Portable, E, f32>(&problem, panels),
        }
    }
}

fn max_k<E>(a: &Mat<E>) -> usize {
    if a.transposed { MAX_K_TRANSPOSED } else { MAX_K }
}

/// k in blocks of `max_k`, summed in f32.
fn long_sum<E: Float, C: Float>(
    path: Path,
    alpha: f32,
    a: Mat<E>,
    b: Mat<E>,
    bias: Option<&[E]>,
    mode: Mode,
    c: MatMut<C>,
) {
    let ((m, k), (_, n)) = (a.dims(), b.dims());
    let step = max_k(&a);
    let blocks = |mode: Mode, mut c: MatMut<f32>| {
        for from in (0..k).step_by(step) {
            let len = step.min(k - from);
            let (a, b) = (a.columns(from, len), b.t().columns(from, len).t());
            let (bias, mode) = if from == 0 { (bias, mode) } else { (None, Mode::Add) };
            gemm_with(path, alpha, a, b, bias, mode, c.reborrow());
        }
    };
    if let Ok(elems) = bytemuck::try_cast_slice_mut::<C, f32>(c.elems)
        && C::DTYPE == crate::dtype::DType::F32
    {
        let MatMut { rows, cols, stride, .. } = c;
        return blocks(mode, MatMut { elems, rows, cols, stride });
    }
    super::scratch::with(m * n, |sum: &mut [f32]| {
        blocks(Mode::Set, MatMut::new(sum, m, n));
        for (row, sum) in sum.chunks_exact(n).enumerate() {
            for (c, &sum) in c.elems[row * c.stride..][..n].iter_mut().zip(sum) {
                *c = C::from_f32(if mode == Mode::Add { c.to_f32() + sum } else { sum });
            }
        }
    });
}
