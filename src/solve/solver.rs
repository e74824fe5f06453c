//! From a checkpoint and a task to an [`Outcome`]. Stays on the thread that made it.

use std::time::Instant;

use super::ask::Asked;
use super::fit::Start;
use super::known::{self, Found, Known, Puzzle};
use super::options::{MAX_VARIANTS, Options, Progress, Stop};
use super::outcome::{self, Origin, Outcome, Test};
use super::pace::Pace;
use super::unseen;
use crate::backend::Device;
use crate::data::vocab::{COLOURS, FIRST_COLOUR};
use crate::data::{DataSet, Grid, RowLayout, Task};
use crate::eval::run::check_data;
use crate::eval::{Evaluator, Halt, fast_rows};
use crate::models::{Model, ModelShape};
use crate::run::trained::Trained;
use crate::{Error, Result};

pub struct Solver {
    trained: Trained,
    /// For batches that are fast and over soon; training's own may be larger.
    shape: ModelShape,
    model: Box<dyn Model>,
    data: Option<DataSet>,
    canvas: usize,
    layout: RowLayout,
    halt: Halt,
}

impl Solver {
    /// `data` is what the checkpoint was trained on; without it no task is recognised.
    pub fn new(trained: Trained, data: Option<DataSet>, device: &Device) -> Result<Self> {
        let mut shape = trained.shape()?;
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
        shape.sizes.batch_size = fast_rows(device.kind(), dims);
        let model = trained.load_as(&shape, device)?;
        let canvas = trained.plan.config.data.canvas;
        let layout = trained.plan.config.data.layout;
        Ok(Self { trained, shape, model, data, canvas, layout, halt: Halt::Last })
    }

    /// Answers each question so, instead of once.
    pub fn with_halt(self, halt: Halt) -> Result<Self> {
        if let Halt::Rollouts(rollouts) = halt {
            rollouts.check(&*self.model)?;
        }
        Ok(Self { halt, ..self })
    }

    /// The side of the largest grid that the model takes.
    pub fn canvas(&self) -> usize {
        self.canvas
    }

    pub fn data(&self) -> Option<&DataSet> {
        self.data.as_ref()
    }

    /// What fine-tuning for a task starts from.
    pub fn start(&self) -> Start<'_> {
        let &Self { ref trained, ref shape, ref model, canvas, layout, halt, .. } = self;
        Start { trained, shape, model: &**model, canvas, layout, halt }
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
        let own = match &found {
            Some(Found::Known(known)) => Some(known.task.clone()),
            _ => None,
        };
        let mut outcome = match found {
            Some(Found::Known(known)) => self.known(task, &known, &mut pace)?,
            found => {
                let trained = match &self.data {
                    Some(data) => self.as_rows(&known::all_as_published(data)?)?,
                    None => vec![],
                };
                unseen::solve(self.start(), task, found, &trained, options, &mut pace)?
            }
        };
        if let Some(data) = &self.data {
            let trained_as = known::trained_as(data, task, own.as_deref())?;
            for (test, name) in outcome.tests.iter_mut().zip(trained_as) {
                test.trained_as = name;
            }
        }
        Ok(outcome)
    }

    /// Puzzles of the data set under the numbers by which the model's rows name them.
    fn as_rows(&self, puzzles: &[Puzzle]) -> Result<Vec<Puzzle>> {
        let mut puzzles = puzzles.to_vec();
        if let Some(data) = &self.data {
            for puzzle in &mut puzzles {
                puzzle.id = data.row_id(puzzle.id, self.layout)?;
            }
        }
        Ok(puzzles)
    }

    fn known(&self, task: &Task, known: &Known, pace: &mut Pace) -> Result<Outcome> {
        let puzzles = &self.as_rows(&known.puzzles)?[..];
        let rows = puzzles.len() * task.test.len().max(task.train.len());
        let rows = rows.saturating_mul(self.halt.trajectories());
        let evaluator = &Evaluator::new(&*self.model, rows);
        let Self { canvas, layout, halt, .. } = *self;
        let asked = Asked { model: &*self.model, evaluator, canvas, layout, halt };
        let shown = &task.train;
        let inputs: Vec<&Grid> = task.test.iter().map(|q| &q.input).collect();
        let of = inputs.len() * puzzles.len();
        let polls = asked.poll(&inputs, shown, puzzles, |votes| {
            pace.answer_on(Progress::Answering { votes, of })
        })?;
        let inputs: Vec<&Grid> = task.train.iter().map(|p| &p.input).collect();
        let of = inputs.len() * puzzles.len();
        let own_pairs = match pace.answer_on(Progress::Checking { votes: 0, of })? {
            false => None,
            true => {
                let polls = asked.poll(&inputs, shown, puzzles, |votes| {
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
