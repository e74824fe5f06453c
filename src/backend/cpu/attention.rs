//! Multi-head attention with rotary positions, without a T x T matrix in memory.
//!
//! ```text
//! q, k, v     = parts of qkv (N, 3*C), per token [q heads | k heads | v heads]
//! q, k        = rope(q), rope(k), rounded to the element type       (if tables are given)
//! s[i, j]     = q[i] . k[j] / sqrt(HD)                              causal: for j <= i only
//! lse[i]      = ln sum_j e^s[i, j]                                  a slot's (NH, T) end to end
//! y[i]        = sum_j drop(e^(s[i, j] - lse[i])) v[j]               (N, C)
//! rope(x)     = x * cos + [-x2 | x1] * sin,  x = [x1 | x2]          tables (places, HD)
//! ```
//!
//! Rows lie in slots, see [`Dims`]: i and j are positions of the same row. Positions of a slot
//! beyond its row get y = 0 and no gradient.
//!
//! Scores and sums are f32; in bf16 the weights are rounded before they are dropped and meet v; the
//! scale of what is kept goes to the sums. Memory beyond the arguments is thread-local scratch of
//! O(T * HD).
//!
//! Bits do not depend on the number of threads: forward is parallel over row, head and ranges of
//! queries, backward over row and head; no sum is divided between threads.

mod backward;
mod cached;
mod rows;
mod sight;
#[cfg(test)]
mod tests;

use std::ops::Range;

pub use backward::backward;
pub use cached::{Cache, CachedDims, cached};
pub use sight::Sight;

use super::dropout::WORDS;
use super::gemm::{self, Mat, MatMut};
use super::{par, scratch};
use crate::backend::Mode;
use crate::dtype::Float;

/// `C = heads * head_dim`, and where the rows are.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Dims<'a> {
    /// First position of each slot, and the end of the last.
    pub starts: &'a [usize], // (R + 1)
    /// Positions of each slot that its row has, the first of them.
    pub lengths: &'a [i32], // (R)
    pub heads: usize,
    pub head_dim: usize,
    pub sight: Sight,
}

/// Rotary tables, (places, HD) each, and the place of each position.
#[derive(Clone, Copy)]
pub struct Rope<'a> {
    pub cos: &'a [f32],
    pub sin: &'a [f32],
    pub places: &'a [i32], // (N)
}

impl<'a> Rope<'a> {
    /// For the positions from `start` on.
    fn from(self, start: usize) -> Self {
        Self { places: &self.places[start..], ..self }
    }

    /// Cosines and sines of the positions in order, (HD) each.
    fn rows(self, hd: usize) -> impl Iterator<Item = (&'a [f32], &'a [f32])> {
        self.places.iter().map(move |&place| {
            let at = place as usize * hd;
            (&self.cos[at..at + hd], &self.sin[at..at + hd])
        })
    }
}

/// Queries whose scores are in the L1 cache at a time, against keys of one block.
const QUERIES: usize = 28;
const KEYS: usize = 256;
/// Shorter blocks leave less of the diagonal to be computed for nothing.
const CAUSAL_KEYS: usize = 128;

impl Dims<'_> {
    pub fn c(&self) -> usize {
        self.heads * self.head_dim
    }

    fn scale(&self) -> f32 {
        1.0 / (self.head_dim as f32).sqrt()
    }

    /// Philox blocks of dropout that a query of a head has.
    fn blocks_of_a_query(&self) -> usize {
        self.starts.windows(2).map(|slot| slot[1] - slot[0]).max().unwrap_or(0).div_ceil(WORDS)
    }

    fn check(&self, qkv: usize, rope: Option<Rope>, y: usize, lse: usize) {
        let positions = self.starts.last().copied().unwrap_or(0);
        assert_eq!(qkv, positions * 3 * self.c(), "attention qkv (N, 3*C)");
        assert_eq!(y, positions * self.c(), "attention y (N, C)");
        assert_eq!(lse, positions * self.heads, "attention lse, as many as queries");
        assert_eq!(self.lengths.len() + 1, self.starts.len(), "attention lengths (R)");
        let slots = self.starts.windows(2).zip(self.lengths);
        let fit = |(slot, &length): (&[usize], &i32)| length as usize <= slot[1] - slot[0];
        assert!(slots.clone().all(fit), "attention rows fit their slots");
        let blocks = positions * self.heads * self.blocks_of_a_query();
        let few = self.sight.dropout.is_none() || blocks <= u32::MAX as usize;
        assert!(few, "attention: {blocks} blocks of random numbers");
        if let Some(rope) = rope {
            assert_eq!(rope.places.len(), positions, "rope places (N)");
            assert_eq!(rope.cos.len(), rope.sin.len(), "rope tables (places, HD)");
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

/// One (row, head): where its positions lie in qkv, y and lse.
#[derive(Clone, Copy)]
struct Head<'a> {
    dims: Dims<'a>,
    head: usize,
    /// First position of the slot, positions of the slot, positions of the row in it.
    start: usize,
    room: usize,
    t: usize,
}

impl<'a> Head<'a> {
    fn nth(dims: Dims<'a>, i: usize) -> Self {
        let (row, head) = (i / dims.heads, i % dims.heads);
        let (start, end) = (dims.starts[row], dims.starts[row + 1]);
        Self { dims, head, start, room: end - start, t: dims.lengths[row] as usize }
    }

    fn qkv_start(&self, part: Part) -> usize {
        let d = &self.dims;
        (self.start * 3 + part as usize) * d.c() + self.head * d.head_dim
    }

    fn y_start(&self) -> usize {
        self.start * self.dims.c() + self.head * self.dims.head_dim
    }

    fn lse_start(&self) -> usize {
        self.start * self.dims.heads + self.head * self.room
    }

    /// The head's part as a T x HD matrix inside qkv.
    fn part<'b, E>(&self, qkv: &'b [E], part: Part) -> Mat<'b, E> {
        let d = &self.dims;
        Mat::strided(&qkv[self.qkv_start(part)..], self.t, d.head_dim, 3 * d.c())
    }

    /// q or k, rotated, as contiguous rows.
    fn rotated<E: Float>(&self, qkv: &[E], part: Part, rope: Option<Rope>, out: &mut [E]) {
        let (hd, stride) = (self.dims.head_dim, 3 * self.dims.c());
        let x = &qkv[self.qkv_start(part)..];
        match rope {
            Some(rope) => rows::rotate(x, stride, hd, rope.from(self.start), out),
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
    let heads = dims.lengths.len() * dims.heads;
    let longest = dims.lengths.iter().copied().max().unwrap_or(0) as usize;
    // Each range of queries prepares the keys anew: only few heads are divided, into long ranges.
    let ranges = 16usize.div_ceil(heads.max(1)).min(longest.div_ceil(8 * QUERIES)).max(1);
    par::tasks(heads * ranges, |task| {
        let (head, range) = (Head::nth(dims, task / ranges), task % ranges);
        let queries = head.t * range / ranges..head.t * (range + 1) / ranges;
        if !queries.is_empty() {
            head_forward(head, qkv, rope, queries, y, lse);
        }
        if range == 0 {
            for position in head.t..head.room {
                // SAFETY: a position of this slot and head beyond the row, which no query is.
                let y = unsafe { y.piece(head.y_start() + position * dims.c(), dims.head_dim) };
                y.fill(E::from_f32(0.0));
            }
        }
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
    let (d, t, hd) = (head.dims, head.t, head.dims.head_dim);
    let (n, sight) = (queries.len(), d.sight);
    let block = if sight.causal { CAUSAL_KEYS } else { KEYS };
    let (seen, longest) = (sight.keys(queries.end, t), block.min(t));
    let width = longest.next_multiple_of(rows::LANES);
    let v = head.part(qkv, Part::V);
    scratch::split(&[t * hd, t * hd, QUERIES * width], |[q, k, weights]: [&mut [E]; 3]| {
        scratch::split(&[n * hd, QUERIES * width, n, n], |[sums, s, max, total]| {
            head.rotated(qkv, Part::Q, rope, q);
            head.rotated(qkv, Part::K, rope, &mut k[..seen * hd]);
            let q = Mat::new(q, t, hd).rows(queries.clone());
            let k = Mat::new(k, t, hd);
            for from in (0..seen).step_by(block) {
                let keys = from..seen.min(from + block);
                // Tiles before see none of these keys.
                let tile = from.saturating_sub(queries.start) / QUERIES * QUERIES;
                let tile = if sight.causal { tile } else { 0 };
                let (first, k, v) = (from == 0, k.rows(keys.clone()), v.rows(keys.clone()));
                gemm::with_packed(k.t(), |k| {
                    gemm::with_packed(v, |v| {
                        let width = keys.len().next_multiple_of(rows::LANES);
                        // Columns beyond the keys stay as they are: no weight.
                        s.fill(f32::NEG_INFINITY);
                        for from in (tile..n).step_by(QUERIES) {
                            let tile = from..n.min(from + QUERIES);
                            let own = queries.start + tile.start..queries.start + tile.end;
                            let n = tile.len();
                            let sums = &mut sums[tile.start * hd..tile.end * hd];
                            let (max, total) = (&mut max[tile.clone()], &mut total[tile.clone()]);
                            let s_mat = MatMut::strided(s, n, keys.len(), width);
                            let scale = d.scale() * std::f32::consts::LOG2_E;
                            gemm::product(scale, q.rows(tile), k, Mode::Set, s_mat);
                            let mode = if first { Mode::Set } else { Mode::Add };
                            sight.hide(s, width, own.clone(), &keys, f32::NEG_INFINITY);
                            rows::softmax(s, width, mode, max, total, sums, weights);
                            sight.hide(weights, width, own.clone(), &keys, E::from_f32(0.0));
                            head.drop(weights, width, own, &keys);
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
            let factor = |i: usize| sight.scale() / total[i];
            rows::store(sums, hd, factor, Mode::Set, |i| {
                // SAFETY: as above.
                unsafe { y.piece(head.y_start() + (queries.start + i) * d.c(), hd) }
            });
        });
    });
}
