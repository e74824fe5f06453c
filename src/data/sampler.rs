//! The order of training. A batch is a pure function of (seed, epoch, index in the epoch), so a
//! checkpoint stores a [`Position`] and nothing else, and any step is reached without replaying.

use super::shard::Shard;
use crate::rng::{Rng, Stream};
use crate::{Error, Result};

/// The next batch to take.
#[derive(
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Debug,
    serde::Serialize,
    serde::Deserialize,
)]
pub struct Position {
    pub epoch: u32,
    pub index: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// Official: every group once, one random puzzle of it, its examples (in random order) until
    /// the batch is full; what does not fit is left out.
    Groups,
    /// Every example once.
    Shuffle,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sampler {
    pub order: Order,
    pub seed: u64,
    pub batch_rows: usize,
    /// Passes over the data that make one epoch. The last, incomplete batch of an epoch is
    /// dropped, so small data wants several; the official runs use their evaluation interval.
    pub passes: usize,
}

/// One epoch laid out: which puzzles (or examples) are visited, and where each batch begins.
pub struct Epoch {
    sampler: Sampler,
    number: u32,
    visits: Vec<u32>,
    starts: Vec<u32>, // (batches + 1), into visits
}

impl Sampler {
    pub fn new(order: Order, seed: u64, batch_rows: usize) -> Self {
        Self { order, seed, batch_rows, passes: 1 }
    }

    /// Stream 0 of an epoch lays it out, stream k + 1 belongs to its batch k.
    fn rng(&self, epoch: u32, stream: u32) -> Rng {
        Rng::new(self.seed, Stream::Order, (epoch as u64) << 32 | stream as u64)
    }

    pub fn epoch(&self, shard: &Shard, number: u32) -> Result<Epoch> {
        let mut rng = self.rng(number, 0);
        let (visits, starts) = match self.order {
            Order::Groups => self.visit_groups(shard, &mut rng)?,
            Order::Shuffle => self.visit_examples(shard, &mut rng),
        };
        if starts.len() < 2 {
            return Err(Error::invalid(format!(
                "{}: an epoch of {} examples in {} groups does not fill one batch of {} rows: \
                 use a smaller batch or more passes per epoch",
                shard.path().display(),
                shard.examples(),
                shard.groups(),
                self.batch_rows
            )));
        }
        Ok(Epoch { sampler: *self, number, visits, starts })
    }

    fn visit_groups(&self, shard: &Shard, rng: &mut Rng) -> Result<(Vec<u32>, Vec<u32>)> {
        let mut visits = Vec::with_capacity(shard.groups() * self.passes);
        for _ in 0..self.passes {
            let mut groups: Vec<usize> = (0..shard.groups()).collect();
            rng.shuffle(&mut groups);
            for group in groups {
                let puzzles = shard.group_range(group)?;
                if !puzzles.is_empty() {
                    visits.push(puzzles.start as u32 + rng.below(puzzles.len() as u32));
                }
            }
        }
        let (mut starts, mut rows) = (vec![0], 0);
        for (i, &puzzle) in visits.iter().enumerate() {
            rows += shard.puzzle_range(puzzle as usize)?.len();
            if rows >= self.batch_rows {
                starts.push(i as u32 + 1);
                rows = 0;
            }
        }
        Ok((visits, starts))
    }

    fn visit_examples(&self, shard: &Shard, rng: &mut Rng) -> (Vec<u32>, Vec<u32>) {
        let mut visits = Vec::with_capacity(shard.examples() * self.passes);
        for _ in 0..self.passes {
            let first = visits.len();
            visits.extend(0..shard.examples() as u32);
            rng.shuffle(&mut visits[first..]);
        }
        let batches = visits.len() / self.batch_rows.max(1);
        let starts = (0..=batches).map(|b| (b * self.batch_rows) as u32).collect();
        (visits, starts)
    }
}

impl Epoch {
    pub fn batches(&self) -> usize {
        self.starts.len() - 1
    }

    /// Puzzles (order `Groups`) or examples (`Shuffle`) that the epoch visits, in order.
    pub fn visits(&self) -> &[u32] {
        &self.visits
    }

    /// The examples of batch `index`: exactly `batch_rows` of them.
    pub fn examples(&self, shard: &Shard, index: usize) -> Result<Vec<u32>> {
        let visits = &self.visits[self.starts[index] as usize..self.starts[index + 1] as usize];
        if self.sampler.order == Order::Shuffle {
            return Ok(visits.to_vec());
        }
        let mut rng = self.sampler.rng(self.number, index as u32 + 1);
        let mut examples = Vec::with_capacity(self.sampler.batch_rows);
        for &puzzle in visits {
            let range = shard.puzzle_range(puzzle as usize)?;
            let mut own: Vec<u32> = (range.start as u32..range.end as u32).collect();
            rng.shuffle(&mut own);
            own.truncate(self.sampler.batch_rows - examples.len());
            examples.extend(own);
        }
        Ok(examples)
    }
}
