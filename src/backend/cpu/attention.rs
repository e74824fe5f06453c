//! Multi-head attention with rotary positions, without a T x T matrix in memory.
//!
//! ```text
//! q, k, v     = parts of qkv (B, T, 3*C), per token [q heads | k heads | v heads]
//! q, k        = rope(q), rope(k), rounded to the element type       (if tables are given)
//! s[i, j]     = q[i] . k[j] / sqrt(HD)                              (no mask, not causal)
//! lse[i]      = ln sum_j e^s[i, j]                                  (B, NH, T)
//! y[i]        = sum_j e^(s[i, j] - lse[i]) v[j]                     (B, T, C)
//! rope(x)     = x * cos + [-x2 | x1] * sin,  x = [x1 | x2]          tables (T, HD)
//! ```
//!
//! Scores and sums are f32; in bf16 the weights are rounded before they meet v. Memory beyond the
//! arguments is thread-local scratch of O(T * HD).
//!
//! Bits do not depend on the number of threads: forward is parallel over batch, head and ranges of
//! queries, backward over batch and head; no sum is divided between threads.

mod backward;
mod rows;
#[cfg(test)]
mod tests;

use std::ops::Range;

pub use backward::backward;

use super::gemm::{self, Mat, MatMut};
use super::{par, scratch};
use crate::backend::Mode;
use crate::dtype::Float;

/// `C = heads * head_dim`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Dims {
    pub batch: usize,
    pub t: usize,
    pub heads: usize,
    pub head_dim: usize,
}

/// Rotary tables, (T, HD) each.
#[derive(Clone, Copy)]
pub struct Rope<'a> {
    pub cos: &'a [f32],
    pub sin: &'a [f32],
}

/// Queries whose scores are in the L1 cache at a time, against keys of one block.
const QUERIES: usize = 28;
const KEYS: usize = 256;

impl Dims {
    pub fn c(&self) -> usize {
        self.heads * self.head_dim
    }

    fn scale(&self) -> f32 {
        1.0 / (self.head_dim as f32).sqrt()
    }

    fn check(&self, qkv: usize, rope: Option<Rope>, y: usize, lse: usize) {
        let tokens = self.batch * self.t;
        assert_eq!(qkv, tokens * 3 * self.c(), "attention qkv (B, T, 3*C)");
        assert_eq!(y, tokens * self.c(), "attention y (B, T, C)");
        assert_eq!(lse, tokens * self.heads, "attention lse (B, NH, T)");
        if let Some(rope) = rope {
            let table = self.t * self.head_dim;
            assert!(rope.cos.len() == table && rope.sin.len() == table, "rope tables (T, HD)");
            assert!(self.head_dim.is_multiple_of(2), "rope needs an even head width");
        }
    }
}

/// The part of a token's 3 C elements.
#[derive(Clone, Copy)]
enum Part {
    Q,
    K,
    V,
}

/// One (batch, head): where its rows lie in qkv, y and lse.
#[derive(Clone, Copy)]
struct Head {
    dims: Dims,
    batch: usize,
    head: usize,
}

impl Head {
    fn nth(dims: Dims, i: usize) -> Self {
        Self { dims, batch: i / dims.heads, head: i % dims.heads }
    }

    fn qkv_start(&self, part: Part) -> usize {
        let d = &self.dims;
        (self.batch * d.t * 3 + part as usize) * d.c() + self.head * d.head_dim
    }

    fn y_start(&self) -> usize {
        self.batch * self.dims.t * self.dims.c() + self.head * self.dims.head_dim
    }

    fn lse_start(&self) -> usize {
        (self.batch * self.dims.heads + self.head) * self.dims.t
    }

    /// The head's part as a T x HD matrix inside qkv.
    fn part<'a, E>(&self, qkv: &'a [E], part: Part) -> Mat<'a, E> {
        let d = &self.dims;
        Mat::strided(&qkv[self.qkv_start(part)..], d.t, d.head_dim, 3 * d.c())
    }

    /// q or k, rotated, as contiguous rows.
    fn rotated<E: Float>(&self, qkv: &[E], part: Part, rope: Option<Rope>, out: &mut [E]) {
        let (hd, stride) = (self.dims.head_dim, 3 * self.dims.c());
        let x = &qkv[self.qkv_start(part)..];
        match rope {
            Some(rope) => rows::rotate(x, stride, hd, rope, out),
            None => {
                for (x, out) in x.chunks(stride).zip(out.chunks_exact_mut(hd)) {
                    out.copy_from_slice(&x[..hd]);
                }
            }
        }
    }
}

/// An output that tasks write in disjoint pieces.
#[derive(Clone, Copy)]
struct Shared<T> {
    start: *mut T,
    len: usize,
}

// SAFETY: the pieces that tasks ask for are disjoint, by the contract of `piece`.
unsafe impl<T: Send> Send for Shared<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Shared<T> {}

impl<T> Shared<T> {
    fn new(slice: &mut [T]) -> Self {
        Self { start: slice.as_mut_ptr(), len: slice.len() }
    }

    /// # Safety
    /// No other piece that overlaps this one is alive, and the slice outlives it.
    unsafe fn piece<'a>(self, from: usize, len: usize) -> &'a mut [T] {
        assert!(from + len <= self.len, "piece outside its slice");
        // SAFETY: inside the slice; disjoint by contract.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(from), len) }
    }
}

/// y and lse from qkv.
pub fn forward<E: Float>(dims: Dims, qkv: &[E], rope: Option<Rope>, y: &mut [E], lse: &mut [f32]) {
    dims.check(qkv.len(), rope, y.len(), lse.len());
    let (y, lse) = (Shared::new(y), Shared::new(lse));
    let heads = dims.batch * dims.heads;
    // Each range of queries prepares the keys anew: only few heads are divided, into long ranges.
    let ranges = 16usize.div_ceil(heads.max(1)).min(dims.t.div_ceil(8 * QUERIES)).max(1);
    par::tasks(heads * ranges, |task| {
        let (head, range) = (Head::nth(dims, task / ranges), task % ranges);
        let queries = dims.t * range / ranges..dims.t * (range + 1) / ranges;
        head_forward(head, qkv, rope, queries, y, lse);
    });
}

/// Keys block by block; the running maximum, sum and unnormalised y of all queries in scratch.
fn head_forward<E: Float>(
    head: Head,
    qkv: &[E],
    rope: Option<Rope>,
    queries: Range<usize>,
    y: Shared<E>,
    lse: Shared<f32>,
) {
    let (d, t, hd) = (head.dims, head.dims.t, head.dims.head_dim);
    let (n, longest) = (queries.len(), KEYS.min(t));
    let width = longest.next_multiple_of(rows::LANES);
    let v = head.part(qkv, Part::V);
    scratch::split(&[t * hd, t * hd, QUERIES * width], |[q, k, weights]: [&mut [E]; 3]| {
        scratch::split(&[n * hd, QUERIES * width, n, n], |[sums, s, max, total]| {
            head.rotated(qkv, Part::Q, rope, q);
            head.rotated(qkv, Part::K, rope, k);
            let q = Mat::new(q, t, hd).rows(queries.clone());
            let k = Mat::new(k, t, hd);
            for from in (0..t).step_by(KEYS) {
                let keys = from..t.min(from + KEYS);
                let (first, k, v) = (from == 0, k.rows(keys.clone()), v.rows(keys.clone()));
                gemm::with_packed(k.t(), |k| {
                    gemm::with_packed(v, |v| {
                        let width = keys.len().next_multiple_of(rows::LANES);
                        // Columns beyond the keys stay as they are: no weight.
                        s.fill(f32::NEG_INFINITY);
                        for from in (0..n).step_by(QUERIES) {
                            let tile = from..n.min(from + QUERIES);
                            let n = tile.len();
                            let sums = &mut sums[tile.start * hd..tile.end * hd];
                            let (max, total) = (&mut max[tile.clone()], &mut total[tile.clone()]);
                            let s_mat = MatMut::strided(s, n, keys.len(), width);
                            let scale = d.scale() * std::f32::consts::LOG2_E;
                            gemm::product(scale, q.rows(tile), k, Mode::Set, s_mat);
                            let mode = if first { Mode::Set } else { Mode::Add };
                            rows::softmax(s, width, mode, max, total, sums, weights);
                            let p = Mat::strided(weights, n, keys.len(), width);
                            gemm::product(1.0, p, v, mode, MatMut::new(sums, n, hd));
                        }
                    });
                });
            }
            // SAFETY: rows of this head and these queries, which no other task touches.
            let lse = unsafe { lse.piece(head.lse_start() + queries.start, n) };
            for ((lse, max), total) in lse.iter_mut().zip(&*max).zip(&*total) {
                *lse = (max + total.log2()) * std::f32::consts::LN_2;
            }
            let factor = |i: usize| 1.0 / total[i];
            rows::store(sums, hd, factor, Mode::Set, |i| {
                // SAFETY: as above.
                unsafe { y.piece(head.y_start() + (queries.start + i) * d.c(), hd) }
            });
        });
    });
}
