//! Answers as they come from a model.

use super::rollouts::Tried;
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
}

/// What a segment finished.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct Finished {
    /// Number of the row, its answer.
    pub answers: Vec<(usize, Answer)>,
    /// Sums over those of them that ran all segments, see [`metric`].
    pub sums: [f64; metric::LEN],
}

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
