//! Votes on an answer: every variant of a question is answered and the answers are counted, as ARC
//! Prize entries do. Most votes first; equal votes by the mean of sigmoid(q_halt), the model's own
//! belief that it is right; still equal by who was cast first.

use std::cmp::Reverse;
use std::collections::HashMap;

use crate::data::Grid;

/// An answer that was voted for.
#[derive(Clone, PartialEq, Debug)]
pub struct Candidate {
    pub grid: Grid,
    pub votes: u32,
    /// Mean sigmoid(q_halt) of its votes, 0 to 1.
    pub q_halt: f64,
}

/// The votes on one question.
#[derive(Clone, Default, Debug)]
pub struct Ballots {
    tallies: Vec<Tally>, // in the order of their first vote
    by_grid: HashMap<Grid, usize>,
}

#[derive(Clone, Default, Debug)]
struct Tally {
    votes: u32,
    q_sum: f64,
}

impl Ballots {
    /// One vote; `q_halt` is the logit that came with the answer.
    pub fn cast(&mut self, grid: Grid, q_halt: f64) {
        let next = self.tallies.len();
        let at = *self.by_grid.entry(grid).or_insert(next);
        if at == next {
            self.tallies.push(Tally::default());
        }
        let tally = &mut self.tallies[at];
        tally.votes += 1;
        tally.q_sum += 1.0 / (1.0 + (-q_halt).exp());
    }

    /// Every answer, best first.
    pub fn ranked(&self) -> Vec<Candidate> {
        let mut all: Vec<_> = self.by_grid.iter().map(|(grid, &at)| (at, grid)).collect();
        all.sort_unstable_by_key(|(at, _)| *at);
        let mut all: Vec<_> = all
            .into_iter()
            .map(|(at, grid)| {
                let Tally { votes, q_sum } = self.tallies[at];
                Candidate { grid: grid.clone(), votes, q_halt: q_sum / votes as f64 }
            })
            .collect();
        // Stable: what is equal in both stays in the order of its first vote.
        all.sort_by(|a, b| {
            Reverse(a.votes).cmp(&Reverse(b.votes)).then(b.q_halt.total_cmp(&a.q_halt))
        });
        all
    }
}
