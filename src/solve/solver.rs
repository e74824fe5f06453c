//! From a checkpoint and a task to an [`Outcome`]. Stays on the thread that made it.

use std::time::{Duration, Instant};

use super::ask::Asked;
use super::known::{self, Found, Known};
use super::outcome::{self, Origin, Outcome, Test};
use crate::backend::Device;
use crate::config::Config;
use crate::data::vocab::{COLOURS, FIRST_COLOUR};
use crate::data::{DataSet, Grid, Task};
use crate::eval::Evaluator;
use crate::eval::run::check_data;
use crate::models::{self, Model};
use crate::train::checkpoint::{Reader, load_model, model_config};
use crate::train::plan::Plan;
use crate::{Error, Result};

/// Rows that are answered at once; training's own batch may be far larger.
const BATCH_ROWS: usize = 32;

#[derive(Clone, PartialEq, Debug)]
pub struct Options {
    /// For everything that solving does, from its start.
    pub budget: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { budget: Duration::from_secs(60) }
    }
}

/// How far it is, now and then.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Progress {
    /// Votes counted on the test inputs.
    Answering { votes: usize, of: usize },
    /// Votes counted on the task's own train pairs.
    Checking { votes: usize, of: usize },
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
    model: Box<dyn Model>,
    evaluator: Evaluator,
    data: Option<DataSet>,
    canvas: usize,
}

impl Solver {
    /// `data` is what the checkpoint was trained on; without it no task is recognised.
    pub fn open(reader: Reader, data: Option<DataSet>, device: &Device) -> Result<Self> {
        let config: Config = Plan::parse(&reader.meta.plan)?.config;
        let shape = model_config(&reader, &config)?;
        let dims = shape.dims();
        if dims.vocab_size != FIRST_COLOUR as usize + COLOURS {
            return Err(Error::invalid(format!(
                "{}: ARC tasks need a model of ARC grids; this one was trained on boards with {} tokens",
                reader.path().display(),
                dims.vocab_size
            )));
        }
        if let Some(data) = &data {
            check_data(&dims, Some(&reader.meta.state.data_digest), data)?;
        }
        let shape: models::Config = shape.with_batch_size(BATCH_ROWS.min(dims.batch_size));
        let model = load_model(&reader, &config, &shape, device)?;
        let evaluator = Evaluator::new(&*model)?;
        Ok(Self { model, evaluator, data, canvas: config.data.canvas })
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
        let start = Instant::now();
        outcome::check(task, self.canvas)
            .map_err(|what| Error::invalid(format!("task {}: {what}", task.id)))?;
        let found = self.data.as_ref().map(|data| known::find(data, task)).transpose()?;
        match found {
            Some(Found::Known(known)) => self.known(task, &known, options, &mut watch, start),
            _ => Err(Error::invalid(format!(
                "task {}: the model was not trained on it, and tasks that were never seen are not \
                 solved yet",
                task.id
            ))),
        }
    }

    fn known(
        &self,
        task: &Task,
        known: &Known,
        options: &Options,
        watch: &mut dyn FnMut(Progress) -> Option<Stop>,
        start: Instant,
    ) -> Result<Outcome> {
        let deadline = start + options.budget;
        let asked = Asked { model: &*self.model, evaluator: &self.evaluator, canvas: self.canvas };
        let mut go_on = |progress: Progress| match watch(progress) {
            Some(Stop::Abandon) => Err(Error::Interrupted("stopped: no answer was wanted".into())),
            Some(Stop::Answer) => Ok(false),
            None => Ok(Instant::now() < deadline),
        };
        let puzzles = &known.puzzles[..];
        let inputs: Vec<&Grid> = task.test.iter().map(|q| &q.input).collect();
        let of = inputs.len() * puzzles.len();
        let polls =
            asked.poll(&inputs, puzzles, |votes| go_on(Progress::Answering { votes, of }))?;
        let inputs: Vec<&Grid> = task.train.iter().map(|p| &p.input).collect();
        let of = inputs.len() * puzzles.len();
        let own_pairs = match go_on(Progress::Checking { votes: 0, of })? {
            false => None,
            true => {
                let polls = asked
                    .poll(&inputs, puzzles, |votes| go_on(Progress::Checking { votes, of }))?;
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
            wall_s: start.elapsed().as_secs_f64(),
        })
    }
}
