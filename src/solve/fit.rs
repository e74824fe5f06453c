//! Fine-tuning for one task: a model with one puzzle embedding per variant of it, everything else
//! from the checkpoint. With `FineTune::Embedding` nothing but those embeddings changes, by a bit.

use std::sync::Arc;

use super::ask::Asked;
use super::known::Puzzle;
use super::options::{Ended, FineTune, Fitted, GoOn};
use super::outcome;
use super::rows::{self, Rows};
use crate::Result;
use crate::data::{BatchOptions, Grid, Lengths, Pair, RowLayout};
use crate::eval::{Evaluator, Halt, Share};
use crate::models::{Compute, Model, ModelShape};
use crate::run::checkpoint::{Reader, fill_dense};
use crate::run::trained::Trained;
use crate::sequence::TURNS;
use crate::train::optimizer::Rates;
use crate::train::setup;
use crate::train::trainer::Trainer;

/// Steps between looks at whether the pairs are reproduced.
const LOOK_EVERY: u64 = 50;
/// Share of the run's learning rate at which trained weights are trained on.
const WEIGHTS_LR: f64 = 0.1;

/// What fine-tuning starts from.
#[derive(Clone, Copy)]
pub struct Start<'a> {
    pub trained: &'a Trained,
    /// The model for batches of the size that solving works with.
    pub shape: &'a ModelShape,
    pub model: &'a dyn Model,
    pub canvas: usize,
    pub layout: RowLayout,
    pub halt: Halt,
}

pub struct Tuner<'a> {
    reader: &'a Reader,
    trainer: Trainer,
    evaluator: Evaluator,
    rates: Rates,
    ignore_pad: bool,
    canvas: usize,
    layout: RowLayout,
    halt: Halt,
    /// What every new puzzle embedding starts from (D).
    start: Vec<f32>,
    seed: u64,
}

impl<'a> Tuner<'a> {
    /// Memory for `puzzles` variants of a task of `pairs`; a batch holds each as each once, or as
    /// many as there is room for.
    pub fn new(
        start: Start<'a>,
        puzzles: usize,
        pairs: &[Pair],
        fine_tune: FineTune,
        seed: u64,
    ) -> Result<Self> {
        let Start { trained, shape, model, canvas, layout, halt } = start;
        let (reader, config) = (&trained.reader, &trained.plan.config);
        let rows = (puzzles * pairs.len()).clamp(1, shape.dims().batch_size);
        let lengths = match layout {
            RowLayout::Padded => None,
            RowLayout::Packed => Some(rows::most_cells(pairs, canvas)),
            RowLayout::Sequence => Some(rows::most_tokens(pairs)),
        };
        let lengths = lengths.map(|most| Arc::new(Lengths::one(most)));
        let mut shape = shape.clone().with_lengths(lengths);
        let ids = match layout {
            RowLayout::Sequence => 2 * TURNS, // the blank task and this one
            _ => 1 + puzzles,
        };
        (shape.sizes.num_puzzle_ids, shape.sizes.batch_size) = (ids, rows);
        let mut options = setup::options(config);
        // One task is a small batch; its average is not what is asked.
        (options.grad_accum, options.optimizer.ema, options.seed) = (1, 0.0, seed);
        let compute = Compute { frozen: fine_tune != FineTune::All, ..options.compute() };
        let built = shape.build(model.device(), compute)?;
        let trainer = Trainer::over(built, options, shape.slots().as_deref())?;
        let weights_lr = if fine_tune == FineTune::All { WEIGHTS_LR } else { 0.0 };
        let rates = Rates {
            // New embeddings of tasks are among the weights: they have far to go.
            lr: if model.task_table().is_some() {
                config.train.lr
            } else {
                weights_lr * config.train.lr
            },
            puzzle_emb_lr: config.train.puzzle_emb_lr,
            muon_lr: weights_lr * config.train.muon_lr,
        };
        let ignore_pad = trainer.model.dims().ignores_pad;
        let evaluator = Evaluator::new(&*trainer.model, usize::MAX);
        let start = mean_embedding(model)?;
        let mut tuner = Self {
            reader,
            trainer,
            evaluator,
            rates,
            ignore_pad,
            canvas,
            layout,
            halt,
            start,
            seed,
        };
        tuner.reset()?;
        Ok(tuner)
    }

    /// What every new puzzle embedding starts from (D).
    pub fn start(&self) -> &[f32] {
        &self.start
    }

    /// Forget all that was learnt; new puzzle embeddings start from another place.
    pub fn reset_to(&mut self, start: &[f32]) -> Result<()> {
        self.start = start.to_vec();
        self.reset()
    }

    /// Forget all that was learnt.
    pub fn reset(&mut self) -> Result<()> {
        let model = &*self.trainer.model;
        fill_dense(self.reader, model)?;
        if let Some(table) = model.embeddings()? {
            let mut rows = self.start.repeat(table.shape().rows());
            if model.puzzle_table().is_some() {
                rows[..self.start.len()].fill(0.0); // the blank one
            }
            table.upload(&rows)?;
        }
        for moment in [&self.trainer.moments().m, &self.trainer.moments().v] {
            moment.upload(&vec![0_f32; moment.elems()])?;
        }
        self.trainer.carry(0).halt_all()?;
        self.trainer.loaded(0)
    }

    pub fn model(&self) -> &dyn Model {
        &*self.trainer.model
    }

    pub fn asked(&self) -> Asked<'_> {
        let &Self { ref evaluator, canvas, layout, halt, .. } = self;
        Asked { model: self.model(), evaluator, canvas, layout, halt }
    }

    /// Trains on `pairs` as `puzzles` for at most `steps`; ends when a vote reproduces all of them.
    /// `go_on` hears the steps made, before each and between batches of answers.
    pub fn run(
        &mut self,
        task: &str,
        pairs: &[Pair],
        puzzles: &[Puzzle],
        steps: u64,
        mut go_on: impl FnMut(u64) -> Result<GoOn>,
    ) -> Result<Fitted> {
        let options = BatchOptions { ignore_pad: self.ignore_pad };
        let mut rows = Rows::new(task, pairs, puzzles, self.canvas, options, self.seed);
        let batch_rows = self.trainer.model.dims().batch_size;
        let slot = self.trainer.slots().map(|slots| slots[0]);
        let mut step = 0;
        let ended = loop {
            if step == steps {
                break Ended::Steps;
            }
            match go_on(step)? {
                GoOn::Yes => {}
                GoOn::TimeIsUp => break Ended::Time,
                GoOn::Stop => break Ended::Stopped,
            }
            let batch = rows.next_batch(batch_rows, self.layout, slot)?;
            self.trainer.step(vec![batch], self.rates)?;
            step += 1;
            if step % LOOK_EVERY == 0 {
                let look = self.look(pairs, pairs, puzzles, || Ok(go_on(step)? == GoOn::Yes))?;
                if look.is_some_and(|Share { right, of }| right == of) {
                    break Ended::Reproduced;
                }
            }
        };
        Ok(Fitted { steps: step, ended })
    }

    /// How many pairs a vote answers rightly, where the task shows `demonstrations`; `None` if
    /// `go_on` ended it.
    pub fn look(
        &self,
        pairs: &[Pair],
        demonstrations: &[Pair],
        puzzles: &[Puzzle],
        mut go_on: impl FnMut() -> Result<bool>,
    ) -> Result<Option<Share>> {
        let inputs: Vec<&Grid> = pairs.iter().map(|p| &p.input).collect();
        let mut whole = true;
        let polls = self.asked().poll(&inputs, demonstrations, puzzles, |_| {
            whole = go_on()?;
            Ok(whole)
        })?;
        Ok(whole.then(|| outcome::reproduced(pairs, &polls)))
    }
}

/// Mean of the trained rows, the blank one left out; empty for a model without. Every trained
/// weight has seen embeddings around it; zeros, tried beside it on small ARC tasks, ended no
/// better.
fn mean_embedding(model: &dyn Model) -> Result<Vec<f32>> {
    let Some(table) = model.embeddings()? else { return Ok(vec![]) };
    let (d, count, rows) = (table.shape().last(), table.shape().rows(), table.to_f32s()?);
    let mut sum = vec![0.0_f64; d];
    for row in rows.chunks_exact(d).skip(1) {
        sum.iter_mut().zip(row).for_each(|(sum, &x)| *sum += x as f64);
    }
    let count = count.saturating_sub(1).max(1) as f64;
    Ok(sum.into_iter().map(|x| (x / count) as f32).collect())
}
