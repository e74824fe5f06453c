//! What solving a task gave: answers with the votes on them, and what speaks for trusting them.

use serde::Serialize;

use super::ask::Poll;
use super::options::{FineTune, Fitted};
use crate::data::task::{Query, Task};
use crate::data::{Grid, Pair};
use crate::eval::Share;

/// Answers that a test input may have, as in the ARC Prize.
const ATTEMPTS: usize = 2;

/// What solving a task gave.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[cfg_attr(feature = "serve", derive(schemars::JsonSchema))]
pub struct Outcome {
    /// What the task is called.
    pub task: String,
    /// What the model knew of it.
    pub origin: Origin,
    /// Puzzles that the task was asked as: itself and its variants.
    pub puzzles: usize,
    pub tests: Vec<Test>,
    /// The task's own train pairs that the same vote answers rightly, having been trained on them;
    /// null: there was no time to ask.
    pub own_pairs: Option<Share>,
    /// Own pairs answered without having been trained on the pair that is asked.
    pub held_out: Option<HeldOut>,
    /// Seconds that it took.
    pub wall_s: f64,
}

/// What the model knew of the task.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[cfg_attr(feature = "serve", derive(schemars::JsonSchema))]
pub enum Origin {
    /// It was trained on the train pairs, under this name.
    Known { name: String },
    /// It was fine-tuned on them now.
    Unseen {
        /// There was a data set to look for it in; otherwise it may have been trained on after all.
        looked_for: bool,
        /// The data set has another task of this name.
        same_name: bool,
        /// The trained task whose embedding the new ones started from, as it explained the pairs
        /// best; null: the mean of all.
        started_from: Option<String>,
        fine_tune: FineTune,
        fitted: Fitted,
    },
}

/// Train pairs left out one at a time: the rest is fine-tuned on, and the pair is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[cfg_attr(feature = "serve", derive(schemars::JsonSchema))]
pub struct HeldOut {
    /// Right, of those that there was time for.
    pub answered: Share,
    /// Pairs of the task.
    pub pairs: usize,
    /// Answered ones that were fine-tuned for fewer steps than wanted, for want of time.
    pub cut_short: u64,
}

/// One test input and its answers.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[cfg_attr(feature = "serve", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "serve", schemars(rename = "Answers"))]
pub struct Test {
    pub input: Grid,
    /// Best first, at most two. Empty if no answer showed a grid.
    pub attempts: Vec<Attempt>,
    /// Answers that were counted.
    pub votes_cast: u32,
    /// Votes that showed no grid.
    pub unreadable: u32,
    /// Different grids that got votes.
    pub candidates: usize,
    /// ACT segments at which training's rule would have halted, mean over the answers.
    pub act_steps: f64,
    /// The model was trained on this very pair: its answer is memory.
    pub trained_on: bool,
    /// Another task that the model was trained on with this pair, turned or recoloured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trained_as: Option<String>,
    /// Where the file says what is right.
    pub output: Option<Grid>,
    /// Whether copying the input would have been right.
    pub identity_right: Option<bool>,
}

/// An answer, and the votes for it.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[cfg_attr(feature = "serve", derive(schemars::JsonSchema))]
pub struct Attempt {
    pub grid: Grid,
    pub votes: u32,
    /// Share of the votes cast, unreadable ones included.
    pub share: f64,
    /// Mean sigmoid(q_halt): the model's own belief that it is right.
    pub q_halt: f64,
    /// Whether it is right; null where the task does not say what is.
    pub right: Option<bool>,
}

impl Test {
    pub(super) fn new(query: &Query, poll: &Poll, trained_on: bool) -> Self {
        let right = |grid: &Grid| query.output.as_ref().map(|output| output == grid);
        let ranked = poll.ballots.ranked();
        let candidates = ranked.len();
        let attempts = ranked.into_iter().take(ATTEMPTS).map(|c| Attempt {
            right: right(&c.grid),
            share: c.votes as f64 / poll.asked.max(1) as f64,
            votes: c.votes,
            q_halt: c.q_halt,
            grid: c.grid,
        });
        Self {
            attempts: attempts.collect(),
            input: query.input.clone(),
            votes_cast: poll.asked,
            unreadable: poll.unreadable,
            candidates,
            act_steps: poll.halt_steps as f64 / poll.asked.max(1) as f64,
            trained_on,
            trained_as: None,
            identity_right: right(&query.input),
            output: query.output.clone(),
        }
    }
}

/// How many of `pairs` the polls on their inputs answer rightly.
pub(super) fn reproduced(pairs: &[Pair], polls: &[Poll]) -> Share {
    let right = |(pair, poll): &(&Pair, &Poll)| {
        poll.ballots.ranked().first().is_some_and(|best| best.grid == pair.output)
    };
    let right = pairs.iter().zip(polls).filter(right).count() as u64;
    Share { right, of: pairs.len() as u64 }
}

/// Refuses what the model cannot be asked.
pub fn check(task: &Task, canvas: usize) -> Result<(), String> {
    if task.test.is_empty() {
        return Err("has no test input to answer".into());
    }
    if task.train.is_empty() {
        return Err("has no train pairs: nothing says what the task is".into());
    }
    let side = task.largest_side();
    if side > canvas {
        return Err(format!(
            "has a grid with a side of {side} cells, but the model was trained on a canvas of \
             {canvas} x {canvas}; train a model on a larger canvas (hrm data build --canvas {side})"
        ));
    }
    Ok(())
}
