//! How long packed rows are, and the slots that a batch of them needs.

use std::collections::BTreeMap;

use super::dataset::DataSet;
use super::fetch::Source;
use super::sampler::Order;
use super::vocab::MAX_ARC_SIDE;
use crate::{Error, Result};

/// Share of the rows that training visits by their number of cells.
#[derive(Clone, PartialEq, Debug)]
pub struct Lengths {
    /// (cells, share), ascending; the shares sum to 1.
    shares: Vec<(usize, f64)>,
}

impl Lengths {
    /// Shares of a split's rows: by [`Order::Groups`] every group counts alike, and each of its
    /// puzzles, with all examples; by [`Order::Shuffle`] every example.
    pub fn of(data: &DataSet, split: &str, order: Order) -> Result<Self> {
        let (shard, lengths) = (data.split(split)?, data.row_lengths(split)?);
        let mut weights = BTreeMap::new();
        let mut add = |rows: &[u16], weight: f64| {
            rows.iter().for_each(|&cells| *weights.entry(cells as usize).or_insert(0.0) += weight);
        };
        match order {
            Order::Shuffle => add(&lengths, 1.0),
            Order::Groups => {
                for group in 0..shard.groups() {
                    let puzzles = shard.group_range(group)?;
                    let weight = 1.0 / puzzles.len().max(1) as f64;
                    for puzzle in puzzles {
                        add(&lengths[shard.puzzle_range(puzzle)?], weight);
                    }
                }
            }
        }
        if weights.is_empty() {
            let path = shard.path().display();
            return Err(Error::invalid(format!("{path}: split {split} has no examples")));
        }
        Ok(Self::from_weights(weights))
    }

    /// All rows have as many cells.
    pub fn one(cells: usize) -> Self {
        Self { shares: vec![(cells, 1.0)] }
    }

    /// Training rows of a public data set as the presets build it, without the data: about, to
    /// plan with. `None` if it is not known of this canvas.
    pub fn published(source: Source, canvas: usize) -> Option<Self> {
        let quantiles = match source {
            Source::Arc1 => &ARC1,
            Source::Arc2 => &ARC2,
        };
        (canvas == MAX_ARC_SIDE).then(|| Self::from_quantiles(quantiles))
    }

    /// Rows between two quantiles are spread evenly.
    fn from_quantiles(quantiles: &[usize; PARTS + 1]) -> Self {
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
    fn from_weights(weights: BTreeMap<usize, f64>) -> Self {
        let total: f64 = weights.values().sum();
        let shares = weights.into_iter().map(|(cells, weight)| (cells, weight / total));
        Self { shares: shares.collect() }
    }

    /// Cells of each slot of a batch, longest first: rows in order of length are cut into `rows`
    /// equal parts, and a slot is as long as the longest of its part. No other slots that are
    /// visited equally often hold all rows in fewer cells.
    pub fn slots(&self, rows: usize) -> Vec<usize> {
        (0..rows).map(|slot| self.quantile(1.0 - slot as f64 / rows as f64)).collect()
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
const PARTS: usize = 64;

// `hrm data fetch arc1`, `hrm data build --dataset-dirs data/raw/arc1 --output-dir DIR`, and
// `hrm data stats DIR --json`: `quantiles` of the windows of split train. ARC-2 likewise.
const ARC1: [usize; PARTS + 1] = [
    9, 16, 21, 28, 36, 42, 48, 49, 50, 63, 64, 70, 77, 81, 91, 100, 100, 100, 108, 112, 121, 121,
    121, 121, 121, 121, 121, 121, 132, 143, 144, 156, 169, 169, 169, 187, 196, 208, 224, 238, 252,
    256, 256, 256, 272, 289, 289, 306, 324, 342, 360, 380, 396, 420, 441, 456, 484, 528, 560, 600,
    648, 702, 841, 900, 900,
];
const ARC2: [usize; PARTS + 1] = [
    5, 16, 28, 36, 44, 49, 50, 64, 70, 75, 81, 91, 100, 100, 100, 110, 120, 121, 121, 121, 121,
    121, 121, 132, 144, 144, 160, 169, 169, 182, 195, 196, 210, 225, 238, 252, 256, 256, 270, 285,
    289, 289, 289, 306, 324, 340, 360, 361, 380, 400, 420, 441, 441, 483, 510, 529, 575, 600, 638,
    676, 728, 784, 900, 900, 900,
];

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

    #[test]
    fn lengths_of_quantiles_have_these_quantiles_nearly() {
        for (source, mean) in [(Source::Arc1, 240.2), (Source::Arc2, 277.9)] {
            let lengths = Lengths::published(source, 30).unwrap();
            assert!((lengths.mean() - mean).abs() < 1.0, "{source:?}: {}", lengths.mean());
            assert_eq!((lengths.longest(), lengths.slots(768)[0]), (900, 900));
            let again = Lengths::from_quantiles(&lengths.quantiles());
            for rows in [1, 2, 8, 32, 768] {
                assert!((lengths.filling(rows) - again.filling(rows)).abs() < 0.01, "{rows} rows");
            }
            assert!(lengths.filling(32) < 0.1);
            assert_eq!(Lengths::published(source, 20), None);
        }
    }
}
