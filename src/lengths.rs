//! How long packed rows are, and the slots that a batch of them needs.

use std::collections::BTreeMap;

/// Share of the rows that training visits by their number of cells.
#[derive(Clone, PartialEq, Debug)]
pub struct Lengths {
    /// (cells, share), ascending; the shares sum to 1.
    shares: Vec<(usize, f64)>,
}

impl Lengths {
    /// All rows have as many cells.
    pub fn one(cells: usize) -> Self {
        Self { shares: vec![(cells, 1.0)] }
    }

    /// Rows between two quantiles are spread evenly.
    pub(crate) fn from_quantiles(quantiles: &[usize; PARTS + 1]) -> Self {
        const POINTS: usize = 16;
        let mut weights = BTreeMap::new();
        for ends in quantiles.windows(2) {
            let (from, to) = (ends[0], ends[1]);
            for point in 0..POINTS {
                let cells = from + ((to - from) * (2 * point + 1) + POINTS) / (2 * POINTS);
                *weights.entry(cells).or_insert(0.0) += 1.0;
            }
        }
        Self::from_weights(weights)
    }

    /// What no row, 1 of 64, 2 of 64 rows and so on exceed; at last the longest row.
    pub fn quantiles(&self) -> [usize; PARTS + 1] {
        std::array::from_fn(|part| self.quantile(part as f64 / PARTS as f64))
    }

    /// From weights that need not sum to 1; there is at least one.
    pub fn from_weights(weights: BTreeMap<usize, f64>) -> Self {
        let total: f64 = weights.values().sum();
        let shares = weights.into_iter().map(|(cells, weight)| (cells, weight / total));
        Self { shares: shares.collect() }
    }

    /// Cells of each slot of a batch, longest first: rows in order of length are cut into `rows`
    /// equal parts, and a slot is as long as the longest of its part. No other slots that are
    /// visited equally often hold all rows in fewer cells.
    pub fn slots(&self, rows: usize) -> Vec<usize> {
        let (mut slots, mut below) = (Vec::with_capacity(rows), 0.0);
        for &(cells, share) in &self.shares {
            below += share;
            while slots.len() < rows && below >= (slots.len() + 1) as f64 / rows as f64 - ROUNDING {
                slots.push(cells);
            }
        }
        slots.resize(rows, self.longest());
        slots.reverse();
        slots
    }

    /// The length that a share of `q` of the rows does not exceed.
    pub fn quantile(&self, q: f64) -> usize {
        let mut below = 0.0;
        let found = self.shares.iter().find(|&&(_, share)| {
            below += share;
            below >= q - ROUNDING
        });
        found.or(self.shares.last()).map_or(0, |&(cells, _)| cells)
    }

    pub fn mean(&self) -> f64 {
        self.shares.iter().map(|&(cells, share)| cells as f64 * share).sum()
    }

    pub fn longest(&self) -> usize {
        self.shares.last().map_or(0, |&(cells, _)| cells)
    }

    /// The share of a batch's cells that its rows leave empty on average.
    pub fn filling(&self, rows: usize) -> f64 {
        let total: usize = self.slots(rows).iter().sum();
        1.0 - self.mean() * rows as f64 / total.max(1) as f64
    }
}

/// Quantiles of a table.
pub const PARTS: usize = 64;

/// Sums of shares that should be equal differ by less.
const ROUNDING: f64 = 1e-9;

#[cfg(test)]
mod tests {
    use super::*;

    fn lengths(weights: &[(usize, f64)]) -> Lengths {
        Lengths::from_weights(weights.iter().copied().collect())
    }

    #[test]
    fn slots_are_as_long_as_the_longest_of_equal_parts() {
        let lengths = lengths(&[(4, 5.0), (9, 2.0), (16, 2.0), (25, 1.0)]);
        assert_eq!(lengths.slots(10), [25, 16, 16, 9, 9, 4, 4, 4, 4, 4]);
        assert_eq!(lengths.slots(2), [25, 4]);
        assert_eq!(lengths.slots(1), [25]);
        assert_eq!(lengths.slots(3), [25, 9, 4]);
        assert!((lengths.mean() - 9.5).abs() < 1e-12);
        assert!(lengths.filling(10).abs() < 1e-12);
        assert!((lengths.filling(1) - (1.0 - 9.5 / 25.0)).abs() < 1e-12);
    }

    #[test]
    fn quantiles_cover_everything() {
        let lengths = lengths(&[(4, 1.0), (9, 1.0), (16, 1.0)]);
        let quartiles = [0.0, 0.3, 0.34, 0.5, 2.0 / 3.0, 0.7, 1.0].map(|q| lengths.quantile(q));
        assert_eq!(quartiles, [4, 4, 9, 9, 9, 16, 16]);
        assert_eq!(lengths.longest(), 16);
        let quantiles = lengths.quantiles();
        assert_eq!((quantiles[0], quantiles[22], quantiles[64]), (4, 9, 16));
    }
}
