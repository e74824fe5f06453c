//! Answers as they come from a model.

use serde::{Deserialize, Serialize};

use crate::ops::act_halt::metric;

#[derive(Clone, PartialEq, Debug)]
pub struct Answer {
    /// The likeliest token of each cell; PAD outside the row's window.
    pub tokens: Vec<u8>, // (S)
    /// Logits of the last segment: halt, continue.
    pub q: [f32; 2],
    /// Segment (from 1) at which training's rule would have halted; `halt_max_steps` if at none.
    pub halt_step: u32,
    /// Segments that were run, of all trajectories.
    pub steps: u32,
    /// Whether its window was too small and the whole canvas was asked.
    pub asked_again: bool,
    /// Where several trajectories were asked for.
    pub tried: Option<Tried>,
    /// What it adds to the official evaluation's sums, see [`metric`]: nothing unless the row ran
    /// all segments.
    pub metrics: [f64; metric::LEN],
}

impl Answer {
    /// Cross-entropy of the row, over its labels; 0 unless it ran all segments.
    pub fn loss(&self) -> f64 {
        self.metrics[metric::LM_LOSS]
    }
}

/// What trajectories beyond the first said.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Tried {
    /// Trajectories that ran.
    pub rollouts: u32,
    /// Number of the one that is believed most, from 1.
    pub best: u32,
    /// Those that were believed most before it, in order.
    pub before: Vec<Before>,
    /// Number of the first whose answer obeys the puzzle's rules, from 1.
    pub obeys: Option<u32>,
}

/// The answer after fewer trajectories.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Before {
    /// Number of its trajectory, from 1.
    pub rollout: u32,
    pub tokens: Vec<u8>, // (S)
    pub q: [f32; 2],
}

impl Tried {
    /// The answer after `k` trajectories where it was another than at the end.
    pub fn after(&self, k: u32) -> Option<&Before> {
        match self.best <= k {
            true => None,
            false => self.before.iter().rev().find(|before| before.rollout <= k),
        }
    }
}

/// What a segment finished: numbers of rows, their answers.
pub(super) type Finished = Vec<(usize, Answer)>;

/// The first of the largest.
pub fn argmax(values: &[f32]) -> usize {
    let mut best = 0;
    for (i, &value) in values.iter().enumerate() {
        if value > values[best] {
            best = i;
        }
    }
    best
}
