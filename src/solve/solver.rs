//! From a checkpoint and a task to an [`Outcome`]. Stays on the thread that made it.

use std::time::{Duration, Instant};

use super::ask::Asked;
use super::fit::FineTune;
use super::known::{self, Found, Known};
use super::outcome::{self, Origin, Outcome, Test};
use super::pace::Pace;
use super::unseen;
use crate::backend::{Device, DeviceKind};
use crate::data::vocab::{COLOURS, FIRST_COLOUR};
use crate::data::{DataSet, Grid, Task};
use crate::eval::Evaluator;
use crate::eval::run::check_data;
use crate::models::{self, Model};
use crate::run::trained::Trained;
use crate::{Error, Result};

/// Positions that are worked on at once, so that a batch is over soon; training's own may be larger.
const BATCH_POSITIONS: usize = 2048;
const BATCH_POSITIONS_CUDA: usize = 32 * 2048;

#[derive(Clone, PartialEq, Debug)]
pub struct Options {
    /// For everything that solving does, from its start.
    pub budget: Duration,
    /// Of a task that was never seen: what learns from it; `None`: the puzzle embeddings, or all
    /// weights of a model without.
    pub fine_tune: Option<FineTune>,
    /// Fine-tuning steps at most.
    pub steps: u64,
    /// The task as published and its variants together, where they are not those of the data set.
    pub variants: usize,
    /// Of variants, placements and the order of training rows.
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        let budget = Duration::from_secs(60);
        Self { budget, fine_tune: None, steps: 400, variants: 13, seed: 0 }
    }
}

/// Variants at most: what is drawn and kept for each must not take the time that is meant for answers.
pub const MAX_VARIANTS: usize = 4096;

/// How far it is, now and then.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Progress {
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
    /// Nobody wants the answer: end with [`Error::Interrupted`].
    Abandon,
}

pub struct Solver {
    pub(super) trained: Trained,
    /// For batches of our own size.
    pub(super) shape: models::Config,
    pub(super) model: Box<dyn Model>,
    evaluator: Evaluator,
    data: Option<DataSet>,
    pub(super) canvas: usize,
}

impl Solver {
    /// `data` is what the checkpoint was trained on; without it no task is recognised.
    pub fn new(trained: Trained, data: Option<DataSet>, device: &Device) -> Result<Self> {
        let shape = trained.shape()?;
        let dims = shape.dims();
        if dims.vocab_size != FIRST_COLOUR as usize + COLOURS {
            return Err(Error::invalid(format!(
                "{}: ARC tasks need a model of ARC grids; this one was trained on boards with {} tokens",
                trained.reader.path().display(),
                dims.vocab_size
            )));
        }
        if let Some(data) = &data {
            check_data(&dims, Some(trained.trained_on()), data)?;
        }
        let positions = match device.kind() {
            DeviceKind::Cuda => BATCH_POSITIONS_CUDA,
            _ => BATCH_POSITIONS,
        };
        let rows = (positions / dims.positions()).clamp(1, dims.batch_size);
        let shape: models::Config = shape.with_batch_size(rows);
        let model = trained.load_as(&shape, device)?;
        let evaluator = Evaluator::new(&*model)?;
        let canvas = trained.plan.config.data.canvas;
        Ok(Self { trained, shape, model, evaluator, data, canvas })
    }

    /// The side of the largest grid that the model takes.
    pub fn canvas(&self) -> usize {
        self.canvas
    }

    pub fn data(&self) -> Option<&DataSet> {
        self.data.as_ref()
    }

    /// Answers the task's test inputs. `watch` hears of the progress, and may end it.
    pub fn solve(
        &mut self,
        task: &Task,
        options: &Options,
        mut watch: impl FnMut(Progress) -> Option<Stop>,
    ) -> Result<Outcome> {
        let mut pace = Pace::new(Instant::now(), options.budget, &mut watch);
        if options.variants > MAX_VARIANTS {
            let asked = options.variants;
            return Err(Error::invalid(format!(
                "--variants {asked}: at most {MAX_VARIANTS} of a task can be asked"
            )));
        }
        outcome::check(task, self.canvas)
            .map_err(|what| Error::invalid(format!("task {}: {what}", task.id)))?;
        let found = self.data.as_ref().map(|data| known::find(data, task)).transpose()?;
        match found {
            Some(Found::Known(known)) => self.known(task, &known, &mut pace),
            found => unseen::solve(self, task, found, options, &mut pace),
        }
    }

    fn known(&self, task: &Task, known: &Known, pace: &mut Pace) -> Result<Outcome> {
        let asked = Asked { model: &*self.model, evaluator: &self.evaluator, canvas: self.canvas };
        let puzzles = &known.puzzles[..];
        let inputs: Vec<&Grid> = task.test.iter().map(|q| &q.input).collect();
        let of = inputs.len() * puzzles.len();
        let polls = asked
            .poll(&inputs, puzzles, |votes| pace.answer_on(Progress::Answering { votes, of }))?;
        let inputs: Vec<&Grid> = task.train.iter().map(|p| &p.input).collect();
        let of = inputs.len() * puzzles.len();
        let own_pairs = match pace.answer_on(Progress::Checking { votes: 0, of })? {
            false => None,
            true => {
                let polls = asked.poll(&inputs, puzzles, |votes| {
                    pace.answer_on(Progress::Checking { votes, of })
                })?;
                Some(outcome::reproduced(&task.train, &polls))
            }
        };
        let tests = task.test.iter().zip(&polls).zip(&known.trained_on);
        Ok(Outcome {
            task: task.id.clone(),
            origin: Origin::Known { name: known.task.clone() },
            puzzles: puzzles.len(),
            tests: tests.map(|((query, poll), &leaked)| Test::new(query, poll, leaked)).collect(),
            own_pairs,
            held_out: None,
            wall_s: pace.elapsed_s(),
        })
    }
}
