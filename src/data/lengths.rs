//! How long the rows of a data set are, packed.

use std::collections::BTreeMap;

use super::dataset::DataSet;
use super::fetch::Source;
use super::sampler::Order;
use super::vocab::MAX_ARC_SIDE;
use super::window::RowLayout;
pub use crate::lengths::Lengths;
use crate::lengths::PARTS;
use crate::{Error, Result};

impl Lengths {
    /// Shares of a split's rows: by [`Order::Groups`] every group counts alike, and each of its
    /// puzzles, with all examples; by [`Order::Shuffle`] every example.
    pub fn of(data: &DataSet, split: &str, order: Order, layout: RowLayout) -> Result<Self> {
        let (shard, lengths) = (data.split(split)?, data.row_lengths(split, layout)?);
        let longest = lengths.iter().max().map_or(0, |&longest| longest as usize);
        let mut weights = vec![0.0; longest + 1];
        let mut add = |rows: &[u16], weight: f64| {
            rows.iter().for_each(|&cells| weights[cells as usize] += weight);
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
        let seen = weights.into_iter().enumerate().filter(|(_, weight)| *weight > 0.0);
        let seen: BTreeMap<usize, f64> = seen.collect();
        if seen.is_empty() {
            let path = shard.path().display();
            return Err(Error::invalid(format!("{path}: split {split} has no examples")));
        }
        Ok(Self::from_weights(seen))
    }

    /// Training rows of a public data set as the presets build it, without the data: about, to
    /// plan with. `None` if it is not known of this canvas.
    pub fn published(source: Source, canvas: usize, layout: RowLayout) -> Option<Self> {
        let quantiles = match (source, layout) {
            (_, RowLayout::Padded) => return None,
            (Source::Arc1, RowLayout::Packed) => &ARC1,
            (Source::Arc2, RowLayout::Packed) => &ARC2,
            (Source::Arc1, RowLayout::Sequence) => &ARC1_SEQUENCES,
            (Source::Arc2, RowLayout::Sequence) => &ARC2_SEQUENCES,
        };
        (canvas == MAX_ARC_SIDE).then(|| Self::from_quantiles(quantiles))
    }
}

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

// `sequences` likewise, of data sets with `--num-aug 80`.
const ARC1_SEQUENCES: [usize; PARTS + 1] = [
    16, 26, 26, 28, 38, 42, 50, 56, 56, 62, 66, 71, 82, 86, 94, 102, 104, 107, 114, 118, 127, 139,
    146, 156, 170, 182, 182, 200, 219, 222, 222, 222, 222, 222, 222, 222, 242, 256, 266, 286, 294,
    314, 314, 338, 366, 366, 392, 422, 442, 473, 482, 482, 522, 546, 580, 614, 682, 762, 842, 882,
    968, 1106, 1302, 1862, 1862,
];
const ARC2_SEQUENCES: [usize; PARTS + 1] = [
    13, 26, 26, 38, 44, 55, 58, 62, 68, 77, 86, 94, 104, 104, 114, 116, 124, 134, 146, 146, 162,
    178, 182, 194, 212, 222, 222, 222, 222, 222, 222, 222, 244, 266, 266, 288, 302, 314, 314, 338,
    364, 366, 392, 420, 435, 461, 482, 482, 514, 546, 546, 546, 604, 632, 686, 755, 802, 842, 886,
    968, 1060, 1190, 1402, 1862, 1862,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_quantiles_have_these_quantiles_nearly() {
        for (source, mean) in [(Source::Arc1, 240.2), (Source::Arc2, 277.9)] {
            let published = |canvas| Lengths::published(source, canvas, RowLayout::Packed);
            let lengths = published(30).unwrap();
            assert!((lengths.mean() - mean).abs() < 1.0, "{source:?}: {}", lengths.mean());
            assert_eq!((lengths.longest(), lengths.slots(768)[0]), (900, 900));
            let again = Lengths::from_quantiles(&lengths.quantiles());
            for rows in [1, 2, 8, 32, 768] {
                assert!((lengths.filling(rows) - again.filling(rows)).abs() < 0.01, "{rows} rows");
            }
            assert!(lengths.filling(32) < 0.1);
            assert_eq!(published(20), None);
        }
    }
}
