//! How a task is to be solved, and what is told meanwhile: plain data.

use std::time::Duration;

use serde::Serialize;

#[derive(Clone, PartialEq, Debug)]
pub struct Options {
    /// For everything that solving does, from its start.
    pub budget: Duration,
    /// What learns from a task that was never seen; `None`: the puzzle embeddings, or all
    /// weights of a model without.
    pub fine_tune: Option<FineTune>,
    /// Fine-tuning steps at most.
    pub steps: u64,
    /// The task as published and its variants together, where they are not those of the data set.
    pub variants: usize,
    /// Seed of variants, placements and the order of training rows.
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        let budget = Duration::from_secs(60);
        Self { budget, fine_tune: None, steps: 400, variants: 13, seed: 0 }
    }
}

/// Variants at most: what is drawn and kept for each must not take the time that is meant for
/// answers.
pub const MAX_VARIANTS: usize = 4096;

/// How far it is, now and then.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Progress {
    /// Trained tasks asked how well they explain the task's pairs.
    Starting { asked: usize, of: usize },
    /// Fine-tuning on the task's pairs.
    Fitting { step: u64, of: u64 },
    /// Votes counted on the test inputs.
    Answering { votes: usize, of: usize },
    /// Votes counted on the task's own train pairs.
    Checking { votes: usize, of: usize },
    /// Fine-tuning without pair number `pair` of `pairs`, to ask it then.
    HoldingOut { pair: usize, pairs: usize, step: u64, of: u64 },
}

/// What `watch` wants instead of going on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stop {
    /// Answer with what there is.
    Answer,
    /// Nobody wants the answer: end with `Error::Interrupted`.
    Abandon,
}

/// What learns from a task that was never seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "serve", derive(schemars::JsonSchema))]
pub enum FineTune {
    /// Nothing
    None,
    /// The puzzle embeddings of the task and its variants
    Embedding,
    /// These and all weights, at a tenth of the run's learning rate
    All,
}

/// Why fine-tuning ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "serve", derive(schemars::JsonSchema))]
pub enum Ended {
    /// Every pair trained on is reproduced.
    Reproduced,
    Steps,
    Time,
    /// It was told to stop.
    Stopped,
}

/// How fine-tuning went.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[cfg_attr(feature = "serve", derive(schemars::JsonSchema))]
pub struct Fitted {
    pub steps: u64,
    pub ended: Ended,
}

/// What the loop is told before each step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GoOn {
    Yes,
    TimeIsUp,
    Stop,
}
