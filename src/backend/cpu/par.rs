//! Row-parallel loops with a partition that depends on the sizes only, never on the number of
//! threads: every result has the same bits however many threads there are.
//!
//! ```text
//! let out = (par::by_row(y, c), par::by_row(rstd, 1));
//! par::rows(n, par::rows_per_chunk(c), out, |rows, (y, rstd)| {
//!     for (i, n) in rows.enumerate() {    // y and rstd hold these rows only
//!         rstd[i] = ...;
//!     }
//! });
//! let total = par::reduce(len, 1 << 14, |range| simd::sum_sq(&x[range]) as f64, |a, b| a + b);
//! ```
//!
//! Splitting is a tree of `rayon::join`s: nothing is allocated.

use std::ops::Range;

/// A mutable slice made of rows of equal width.
pub struct ByRow<'a, T> {
    slice: &'a mut [T],
    width: usize,
}

/// `slice` as rows of `width` elements.
pub fn by_row<T>(slice: &mut [T], width: usize) -> ByRow<'_, T> {
    ByRow { slice, width }
}

/// Outputs that can be cut between two rows: [`ByRow`], and tuples of such.
pub trait SplitRows: Send + Sized {
    /// What the loop body gets: plain slices.
    type Slices;
    fn split_at_row(self, row: usize) -> (Self, Self);
    fn into_slices(self) -> Self::Slices;
    /// Panics unless there are exactly `rows` rows.
    fn expect_rows(&self, rows: usize);
}

impl<'a, T: Send> SplitRows for ByRow<'a, T> {
    type Slices = &'a mut [T];

    fn split_at_row(self, row: usize) -> (Self, Self) {
        let (head, tail) = self.slice.split_at_mut(row * self.width);
        (by_row(head, self.width), by_row(tail, self.width))
    }

    fn into_slices(self) -> &'a mut [T] {
        self.slice
    }

    fn expect_rows(&self, rows: usize) {
        assert_eq!(self.slice.len(), rows * self.width, "{rows} rows of {}", self.width);
    }
}

/// No output: for loops that only call something shared.
impl SplitRows for () {
    type Slices = ();
    fn split_at_row(self, _: usize) -> ((), ()) {
        ((), ())
    }
    fn into_slices(self) {}
    fn expect_rows(&self, _: usize) {}
}

macro_rules! split_tuples {
    ($(($($t:ident $i:tt),+);)+) => {$(
        impl<$($t: SplitRows),+> SplitRows for ($($t,)+) {
            type Slices = ($($t::Slices,)+);

            fn split_at_row(self, row: usize) -> (Self, Self) {
                let halves = ($(self.$i.split_at_row(row),)+);
                (($(halves.$i.0,)+), ($(halves.$i.1,)+))
            }

            fn into_slices(self) -> Self::Slices {
                ($(self.$i.into_slices(),)+)
            }

            fn expect_rows(&self, rows: usize) {
                $(self.$i.expect_rows(rows);)+
            }
        }
    )+};
}

split_tuples! {
    (A 0);
    (A 0, B 1);
    (A 0, B 1, C 2);
    (A 0, B 1, C 2, D 3);
    (A 0, B 1, C 2, D 3, E 4);
    (A 0, B 1, C 2, D 3, E 4, F 5);
}

/// A chunk length that keeps a chunk of rows of this width in the L1 and L2 caches and makes the
/// cost of splitting invisible.
pub fn rows_per_chunk(width: usize) -> usize {
    (16_384 / width.max(1)).max(1)
}

/// Run `f` on chunks of at most `chunk_rows` rows; chunk boundaries are multiples of it.
pub fn rows<S: SplitRows>(
    n_rows: usize,
    chunk_rows: usize,
    outputs: S,
    f: impl Fn(Range<usize>, S::Slices) + Sync,
) {
    outputs.expect_rows(n_rows);
    if n_rows > 0 {
        split(0..n_rows, chunk_rows.max(1), outputs, &f);
    }
}

fn split<S: SplitRows>(
    rows: Range<usize>,
    chunk_rows: usize,
    outputs: S,
    f: &(impl Fn(Range<usize>, S::Slices) + Sync),
) {
    match middle(&rows, chunk_rows) {
        None => f(rows, outputs.into_slices()),
        Some(mid) => {
            let (head, tail) = outputs.split_at_row(mid - rows.start);
            rayon::join(
                || split(rows.start..mid, chunk_rows, head, f),
                || split(mid..rows.end, chunk_rows, tail, f),
            );
        }
    }
}

/// `f(0)`, `f(1)`, ... `f(n - 1)`, in parallel.
pub fn tasks(n: usize, f: impl Fn(usize) + Sync) {
    rows(n, 1, (), |range, ()| range.for_each(&f));
}

/// Fold chunks of `0..len` in a fixed tree. `T::default()` when `len` is 0.
pub fn reduce<T: Send + Default>(
    len: usize,
    chunk: usize,
    map: impl Fn(Range<usize>) -> T + Sync,
    combine: impl Fn(T, T) -> T + Sync,
) -> T {
    if len == 0 { T::default() } else { fold(0..len, chunk.max(1), &map, &combine) }
}

fn fold<T: Send>(
    range: Range<usize>,
    chunk: usize,
    map: &(impl Fn(Range<usize>) -> T + Sync),
    combine: &(impl Fn(T, T) -> T + Sync),
) -> T {
    match middle(&range, chunk) {
        None => map(range),
        Some(mid) => {
            let (a, b) = rayon::join(
                || fold(range.start..mid, chunk, map, combine),
                || fold(mid..range.end, chunk, map, combine),
            );
            combine(a, b)
        }
    }
}

fn middle(range: &Range<usize>, chunk: usize) -> Option<usize> {
    let chunks = range.len().div_ceil(chunk);
    (chunks > 1).then(|| range.start + chunks / 2 * chunk)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_visited_once_with_its_own_slices() {
        for (n, chunk) in [(0, 4), (1, 4), (4, 4), (5, 4), (97, 8), (97, 1), (97, 1000)] {
            let (mut y, mut r) = (vec![0; n * 3], vec![0; n]);
            rows(n, chunk, (by_row(&mut y, 3), by_row(&mut r, 1)), |range, (y, r)| {
                assert!(range.start % chunk == 0 && range.len() <= chunk);
                assert_eq!((y.len(), r.len()), (3 * range.len(), range.len()));
                for (i, row) in range.enumerate() {
                    r[i] += row + 1;
                    y[3 * i..3 * i + 3].iter_mut().for_each(|y| *y += row + 1);
                }
            });
            assert!(r.iter().enumerate().all(|(i, &r)| r == i + 1));
            assert!(y.iter().enumerate().all(|(i, &y)| y == i / 3 + 1));
        }
    }

    #[test]
    #[should_panic(expected = "5 rows of 3")]
    fn an_output_of_another_length_is_refused() {
        rows(5, 2, by_row(&mut [0.0; 14], 3), |_, _| {});
    }

    #[test]
    fn reduce_has_the_same_bits_for_any_number_of_threads() {
        let x: Vec<f32> = (0..10_007).map(|i| (i as f32).sin()).collect();
        let sum = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| reduce(x.len(), 64, |r| x[r].iter().sum::<f32>(), |a, b| a + b))
        };
        assert_eq!(sum(1).to_bits(), sum(3).to_bits());
        assert!((sum(2) - x.iter().sum::<f32>()).abs() < 1e-3);
        assert_eq!(reduce(0, 64, |_| 1.0f32, |a, b| a + b), 0.0);
    }
}
