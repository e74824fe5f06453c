//! Bytes that one launch touches: a list of 32-byte sectors and which bytes of each.

use super::Mapping;
use super::trace::SECTOR_BYTES;
use std::io;
use std::ops::Range;

pub struct Touched {
    /// A bit for each byte; valid for the sectors in the list only.
    masks: Mapping<u32>,
    sectors: Vec<usize>,
}

impl Touched {
    pub fn new(bytes: usize) -> io::Result<Self> {
        Ok(Self { masks: Mapping::new(bytes.div_ceil(SECTOR_BYTES))?, sectors: Vec::new() })
    }

    /// Adds bytes of one sector; `new` if the launch had not touched the sector before.
    pub fn add(&mut self, at: usize, bytes: usize, new: bool) {
        let sector = at / SECTOR_BYTES;
        let mask = (u64::MAX >> (64 - bytes) << (at % SECTOR_BYTES)) as u32;
        if new {
            self.sectors.push(sector);
            self.masks[sector] = mask;
        } else {
            self.masks[sector] |= mask;
        }
    }

    /// Merged, sorted ranges of addresses, the first byte of memory being at `base`; empties the list.
    pub fn take(&mut self, base: u64) -> Vec<Range<u64>> {
        let mut sectors = std::mem::take(&mut self.sectors);
        sectors.sort_unstable();
        let mut ranges: Vec<Range<u64>> = Vec::new();
        let mut add = |range: Range<u64>| match ranges.last_mut() {
            Some(last) if last.end == range.start => last.end = range.end,
            _ => ranges.push(range),
        };
        for sector in sectors {
            let start = base + (sector * SECTOR_BYTES) as u64;
            let mask = self.masks[sector];
            let mut bit = mask.trailing_zeros();
            while bit < u32::BITS {
                let ones = (mask >> bit).trailing_ones();
                add(start + u64::from(bit)..start + u64::from(bit + ones));
                let next = bit + ones;
                bit = if next < u32::BITS { next + (mask >> next).trailing_zeros() } else { next };
            }
        }
        ranges
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_exact_merged_and_sorted() {
        let mut touched = Touched::new(256).unwrap();
        touched.add(64, 32, true);
        touched.add(28, 4, true);
        touched.add(32, 4, true);
        touched.add(40, 8, false);
        touched.add(44, 8, false);
        assert_eq!(touched.take(1000), [1028..1036, 1040..1052, 1064..1096]);
        touched.add(32, 1, true);
        assert_eq!(touched.take(0).first(), Some(&(32..33)));
        assert!(touched.take(0).is_empty());
    }
}
