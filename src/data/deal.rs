//! Deals the rows of an epoch to slots of fixed room: which example each slot is offered in each
//! batch. A pure function of the epoch, as the sampler's order is.
//!
//! Rows in order of length fill the slots, longest first, every slot with as many rows as the epoch
//! has batches. Rows of one length that share several slots take turns, so that rows visited
//! together, as the examples of a puzzle are, meet in one batch as far as they can. Within a slot
//! the order is the sampler's.
//!
//! Slots follow the shares of lengths over all epochs, from which a single epoch differs a little:
//! rows that find no slot that is free and long enough are left out of it, and as many of those
//! that fit the shortest slot come twice.

use std::sync::Arc;

use super::dataset::DataSet;
use super::sampler::Epoch;
use super::shard::Shard;
use super::window::RowLayout;
use crate::{Error, Result};

/// Slots of a batch and lengths of a split's rows.
pub struct Dealer {
    slots: Arc<[usize]>, // cells, longest first
    lengths: Vec<u16>,   // by example
    layout: RowLayout,
    /// The split's shortest example.
    shortest: u32,
}

/// An epoch laid out over slots.
pub struct Dealt {
    examples: Vec<u32>, // (batches, slots)
    slots: Arc<[usize]>,
    layout: RowLayout,
    left_out: usize,
}

impl Dealer {
    /// `slots` as [`Lengths::slots`](super::Lengths::slots) makes them of the same split.
    pub fn new(data: &DataSet, split: &str, layout: RowLayout, slots: Vec<usize>) -> Result<Self> {
        let lengths = data.row_lengths(split, layout)?;
        let cells = |example: u32| lengths[example as usize] as usize;
        let shortest = (0..lengths.len() as u32).min_by_key(|&e| cells(e));
        let (Some(shortest), Some(&longest)) = (shortest, lengths.iter().max()) else {
            return Err(Error::invalid(format!("split {split} has no examples")));
        };
        let (longest, first, last) = (longest as usize, slots.first(), slots.last());
        let fits = first >= Some(&longest) && last >= Some(&cells(shortest));
        if !fits || !slots.is_sorted_by(|a, b| a >= b) {
            return Err(Error::invalid(format!(
                "split {split} has rows of {} to {longest} cells; slots from {first:?} down to \
                 {last:?} cells do not hold them: make slots of the lengths of this split",
                cells(shortest)
            )));
        }
        Ok(Self { slots: slots.into(), lengths, layout, shortest })
    }

    /// `epoch` is one of the split's, with as many rows in a batch as there are slots.
    pub fn deal(&self, shard: &Shard, epoch: &Epoch) -> Result<Dealt> {
        let (slots, batches) = (self.slots.len(), epoch.batches());
        let mut visits = Vec::with_capacity(slots * batches);
        for index in 0..batches {
            visits.extend(epoch.examples(shard, index)?);
        }
        let known = visits.iter().all(|&e| (e as usize) < self.lengths.len());
        if visits.len() != slots * batches || !known {
            let (rows, count) = (visits.len(), self.lengths.len());
            return Err(Error::invalid(format!(
                "an epoch of {rows} rows in {batches} batches is not one of {slots} slots and \
                 {count} examples"
            )));
        }
        let mut turns = self.turns(&visits, batches);
        let examples = vec![0; visits.len()];
        let mut dealt =
            Dealt { examples, slots: self.slots.clone(), layout: self.layout, left_out: 0 };
        let mut filled = vec![0; slots];
        for &example in &visits {
            match turns[self.cells(example)].next() {
                Some(slot) => {
                    dealt.examples[filled[slot] * slots + slot] = example;
                    filled[slot] += 1;
                }
                None => dealt.left_out += 1,
            }
        }
        self.fill_up(&visits, &mut filled, &mut dealt);
        Ok(dealt)
    }

    fn cells(&self, example: u32) -> usize {
        self.lengths[example as usize] as usize
    }

    /// The slots of each length, and how many rows of it each of them takes.
    fn turns(&self, visits: &[u32], batches: usize) -> Vec<Turns> {
        let mut counts = vec![0; self.slots.first().map_or(0, |&cells| cells + 1)];
        visits.iter().for_each(|&example| counts[self.cells(example)] += 1);
        let mut turns: Vec<Turns> = counts.iter().map(|_| Turns::default()).collect();
        let (mut slot, mut room) = (0, batches);
        for (length, mut count) in counts.into_iter().enumerate().rev() {
            while count > 0 && self.slots.get(slot).is_some_and(|&cells| cells >= length) {
                let rows = room.min(count);
                turns[length].add(slot, rows);
                (count, room) = (count - rows, room - rows);
                if room == 0 {
                    (slot, room) = (slot + 1, batches);
                }
            }
        }
        turns
    }

    /// Slots that lack rows are the last ones: they get rows that they have room for again.
    fn fill_up(&self, visits: &[u32], filled: &mut [usize], dealt: &mut Dealt) {
        if dealt.left_out == 0 {
            return;
        }
        let (slots, batches) = (dealt.slots.len(), dealt.batches());
        let room = self.slots.last().copied().unwrap_or(0);
        let fitting: Vec<u32> = visits.iter().copied().filter(|&e| self.cells(e) <= room).collect();
        let mut again = 0;
        for (slot, filled) in filled.iter_mut().enumerate() {
            for batch in *filled..batches {
                let spread = again * fitting.len() / dealt.left_out;
                let example = fitting.get(spread).copied().unwrap_or(self.shortest);
                dealt.examples[batch * slots + slot] = example;
                again += 1;
            }
        }
    }
}

impl Dealt {
    pub fn batches(&self) -> usize {
        self.examples.len() / self.slots.len().max(1)
    }

    /// The example that each slot is offered in batch `index`.
    pub fn examples(&self, index: usize) -> &[u32] {
        let slots = self.slots.len();
        &self.examples[index * slots..][..slots]
    }

    /// Cells of each slot.
    pub fn slots(&self) -> &[usize] {
        &self.slots
    }

    /// What lies in the slots.
    pub fn layout(&self) -> RowLayout {
        self.layout
    }

    /// Rows that the sampler visits and that found no slot.
    pub fn left_out(&self) -> usize {
        self.left_out
    }
}

/// The slots that take rows of one length, and whose turn it is: in each round a slot takes a row
/// or none, all of them evenly.
#[derive(Default)]
struct Turns {
    shares: Vec<(usize, usize)>, // slot, rows that it takes
    rounds: usize,               // the most rows of a slot
    turn: usize,
}

impl Turns {
    fn add(&mut self, slot: usize, rows: usize) {
        self.shares.push((slot, rows));
        self.rounds = self.rounds.max(rows);
    }

    /// The slot of the next row; `None` after as many as were added.
    fn next(&mut self) -> Option<usize> {
        let slots = self.shares.len();
        while self.turn < self.rounds * slots {
            let (round, (slot, rows)) = (self.turn / slots, self.shares[self.turn % slots]);
            self.turn += 1;
            if (round + 1) * rows / self.rounds > round * rows / self.rounds {
                return Some(slot);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_take_turns_evenly() {
        let mut turns = Turns::default();
        [(3, 1), (4, 4), (5, 2)].into_iter().for_each(|(slot, rows)| turns.add(slot, rows));
        let order: Vec<usize> = std::iter::from_fn(|| turns.next()).collect();
        assert_eq!(order, [4, 4, 5, 4, 3, 4, 5]);
        assert_eq!(Turns::default().next(), None);
    }
}
