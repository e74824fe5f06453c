//! Which positions of a row see which, and which probabilities are dropped. Scores come in blocks
//! of some queries against some keys, `width` apart from row to row.

use std::ops::Range;

use super::Head;
use crate::backend::cpu::dropout::{self, Mask, WORDS};
use crate::dtype::Float;

/// By default all positions see all, and nothing is dropped.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Sight {
    /// Position i of a row sees the positions 0..=i.
    pub causal: bool,
    pub dropout: Option<Mask>,
}

impl Sight {
    /// Keys, from the first, that some query before `end` sees, of a row of `t`.
    pub(super) fn keys(self, end: usize, t: usize) -> usize {
        if self.causal { end.min(t) } else { t }
    }

    /// What sums over kept weights are multiplied by.
    pub(super) fn scale(self) -> f32 {
        self.dropout.map_or(1.0, |mask| mask.scale)
    }

    /// How many of the keys a query sees.
    fn seen(self, query: usize, keys: &Range<usize>) -> usize {
        self.keys(query + 1, keys.end).saturating_sub(keys.start)
    }

    /// What is not seen becomes `fill`; a row per query.
    pub(super) fn hide<T: Copy>(
        self,
        x: &mut [T],
        width: usize,
        queries: Range<usize>,
        keys: &Range<usize>,
        fill: T,
    ) {
        if self.seen(queries.start, keys) == keys.len() {
            return;
        }
        for (query, x) in queries.zip(x.chunks_exact_mut(width)) {
            x[self.seen(query, keys)..keys.len()].fill(fill);
        }
    }

    /// What is not seen becomes `fill`; a row per key.
    pub(super) fn hide_transposed<T: Copy>(
        self,
        x: &mut [T],
        width: usize,
        queries: &Range<usize>,
        keys: Range<usize>,
        fill: T,
    ) {
        if self.seen(queries.start, &keys) == keys.len() {
            return;
        }
        for (key, x) in keys.zip(x.chunks_exact_mut(width)) {
            x[..key.saturating_sub(queries.start).min(queries.len())].fill(fill);
        }
    }
}

impl Head<'_> {
    /// The Philox block of a query's first four keys, and from query to query.
    fn blocks(&self, query: usize) -> (u32, u32) {
        let d = self.dims;
        let of_query = d.blocks_of_a_query();
        let query = (self.start + query) * d.heads + self.head;
        ((query * of_query) as u32, (d.heads * of_query) as u32)
    }

    /// Weights that are dropped become zero; a row per query. `keys` begins with a Philox block.
    pub(super) fn drop<E: Float>(
        &self,
        weights: &mut [E],
        width: usize,
        queries: Range<usize>,
        keys: &Range<usize>,
    ) {
        let Some(mask) = self.dims.sight.dropout else { return };
        let mask = Mask { scale: 1.0, ..mask };
        for (query, weights) in queries.zip(weights.chunks_exact_mut(width)) {
            let block = self.blocks(query).0 + (keys.start / WORDS) as u32;
            dropout::apply(&mut weights[..self.dims.sight.seen(query, keys)], block, mask);
        }
    }

    /// Factors of weights, a row per key: zero where one is dropped.
    pub(super) fn factors(
        &self,
        mask: Mask,
        queries: &Range<usize>,
        keys: Range<usize>,
        width: usize,
        factors: &mut [f32],
    ) {
        let (first, stride) = self.blocks(queries.start);
        dropout::factors(mask, first, stride, keys, factors, width);
    }
}
