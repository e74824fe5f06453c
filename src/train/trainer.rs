//! One optimizer step of a model: micro-batches with their own carries, then the update.
//!
//! Owns everything that a step changes; [`Trainer::state`] lists it all, so that what is saved and
//! what is digested cannot drift apart. Reads no file and writes none.

use std::collections::VecDeque;

use super::optimizer::{Optimizer, OptimizerConfig, PuzzleGradient, Rates};
use super::recorder::{Next, Recorder};
use super::step_input::{self, StepInput};
use crate::backend::{Device, Purpose};
use crate::data::Batch;
use crate::dtype::DType;
use crate::models::{Carry, Compute, Depth, Model, ModelShape, Starts, Workspace};
use crate::nn::level::Recompute;
use crate::ops::act_halt::metric;
use crate::ops::adam::Moments;
use crate::ops::draw::Draw;
use crate::ops::global_norm;
use crate::run::checkpoint::{Named, role};
use crate::tape::{Mode, Tape};
use crate::tensor::{Readback, Tensor};
use crate::{Error, Result};

/// How a run trains, besides the model's own shape.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    pub dtype: DType,
    pub recompute: Recompute,
    /// Micro-batches per optimizer step, each with its own carry.
    pub grad_accum: usize,
    pub optimizer: OptimizerConfig,
    pub seed: u64,
}

impl Options {
    pub fn compute(&self) -> Compute {
        let Self { dtype, recompute, seed, .. } = *self;
        Compute { dtype, recompute, seed, frozen: false }
    }
}

/// Sums over the rows of a step (over its micro-batches), and the gradient's norm.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Report {
    pub sums: [f64; metric::LEN],
    /// Rows in the step: what the losses are divided by.
    pub rows: usize,
    pub grad_norm: f32,
}

pub struct Trainer {
    pub model: Box<dyn Model>,
    pub options: Options,
    optimizer: Optimizer,
    /// One for each micro-batch: what it keeps between steps.
    carries: Vec<Carry>,
    input: StepInput,
    space: Workspace,
    puzzle: Option<Puzzle>,
    results: Results,
    recorder: Recorder,
    /// Q logits (B, 2) of the last micro-batch.
    last_q: Option<Tensor>,
    /// Optimizer updates made and reported.
    pub step: u64,
    /// Steps submitted and not finished, oldest first: their batches, to replay one that fails.
    in_flight: VecDeque<Vec<Batch>>,
}

/// Ids and gradients of the puzzle rows of all micro-batches of a step.
struct Puzzle {
    ids: Tensor,  // (accum * B)
    rows: Tensor, // (accum * B, D)
}

/// What the host wants to know of a step, side by side so that it is one copy.
struct Results {
    /// Metrics of all micro-batches, (accum * 8): what the guard looks at.
    losses: Tensor,
    readback: Readback,
}

impl Trainer {
    pub fn new(device: &Device, shape: &ModelShape, options: Options) -> Result<Self> {
        let slots = shape.slots();
        Self::over(shape.build(device, options.compute())?, options, slots.as_deref())
    }

    /// A trainer of a model that was built, of whatever kind, to compute as `options` say on whole
    /// canvases.
    pub fn of(model: Box<dyn Model>, options: Options) -> Result<Self> {
        Self::over(model, options, None)
    }

    /// Over packed rows in `slots` of so many cells, or over whole canvases.
    pub fn over(model: Box<dyn Model>, options: Options, slots: Option<&[usize]>) -> Result<Self> {
        let (device, dims) = (&model.device().clone(), model.dims());
        let accum = options.grad_accum;
        if accum == 0 {
            return Err(Error::invalid("train.grad_accum is 0; it must be at least 1"));
        }
        let carry = |_| match slots {
            Some(slots) => Carry::packed(&*model, slots),
            None => Carry::new(&*model),
        };
        let mut carries: Vec<Carry> = (0..accum).map(carry).collect::<Result<_>>()?;
        let rows = accum * dims.batch_size;
        let workspace =
            |dtype, shape: &[usize]| Tensor::zeros(device, dtype, shape, Purpose::Workspace);
        let puzzle = match dims.puzzle_emb_ndim {
            0 => None,
            d => Some(Puzzle {
                ids: workspace(DType::I32, &[rows])?,
                rows: workspace(DType::F32, &[rows, d])?,
            }),
        };
        let losses = accum * metric::LEN;
        let results = workspace(DType::F32, &[losses + global_norm::GUARD])?;
        let guard = results.view(losses, [global_norm::GUARD])?;
        let starts = if model.start_noise() > 0.0 { model.states().len() } else { 0 };
        let input = StepInput::new(device, &carries[0], accum, starts)?;
        if starts > 0 {
            for (carry, micro_batch) in carries.iter_mut().zip(&input.micro_batches) {
                carry.starts = Some(Starts::new(model.start_noise(), micro_batch.starts.clone())?);
            }
        }
        Ok(Self {
            optimizer: Optimizer::new(device, model.params(), options.optimizer, guard)?,
            input,
            space: Workspace::new(&*model, rows)?,
            results: Results {
                losses: results.view(0, [losses])?,
                readback: Readback::new(results)?,
            },
            model,
            options,
            carries,
            puzzle,
            recorder: Recorder::default(),
            last_q: None,
            step: 0,
            in_flight: VecDeque::new(),
        })
    }

    /// How deep the segments of the coming steps go. A graph of another depth is given up.
    pub fn set_depth(&mut self, depth: Depth) {
        if self.carries[0].depth != depth {
            self.carries.iter_mut().for_each(|carry| carry.depth = depth);
            self.recorder = Recorder::default();
        }
    }

    /// A step on whatever input is there, for the shape-only device to watch.
    pub fn dry_run(&mut self) -> Result<()> {
        self.run(Tape::new)
    }

    /// Rows of an optimizer step.
    pub fn global_batch(&self) -> usize {
        self.options.grad_accum * self.model.dims().batch_size
    }

    /// One optimizer step; `batches` holds one batch per micro-batch. A non-finite loss or gradient
    /// is an error and leaves weights, moments and step count as they were.
    pub fn step(&mut self, batches: Vec<Batch>, rates: Rates) -> Result<Report> {
        self.submit(batches, rates)?;
        let report = self.finish()?;
        report.ok_or_else(|| Error::invalid("step() while steps are in flight"))
    }

    /// Queue one optimizer step. On CUDA it may still be running afterwards, and at most two may be
    /// in flight; [`finish`](Self::finish) collects them in order.
    pub fn submit(&mut self, batches: Vec<Batch>, rates: Rates) -> Result<()> {
        let (dims, accum) = (self.model.dims(), self.options.grad_accum);
        step_input::check(&dims, &self.carries[0], &batches, accum)?;
        let number = self.step + self.in_flight.len() as u64;
        let device = self.model.device().clone();
        let _range = device.range("step");
        self.send(number, &batches, rates)?;
        let next = match self.model.is_recordable() {
            true => self.recorder.next(&device),
            false => Next::Run,
        };
        match next {
            Next::Run => self.run(Tape::new)?,
            Next::Record => {
                let graph = device.capture(|| self.run(Tape::new))?;
                self.recorder.replay(graph)?;
            }
            Next::Replayed(result) => result?,
        }
        self.recorder.ran(&device);
        self.in_flight.push_back(batches);
        self.results.readback.start()
    }

    /// Cells of each slot of a micro-batch, where rows are packed.
    pub fn slots(&self) -> Option<Vec<usize>> {
        let carry = &self.carries[0];
        carry.is_packed().then(|| carry.layout.cells().sizes().collect())
    }

    /// Whether the last step was a replay of a recorded graph.
    pub fn is_recorded(&self) -> bool {
        self.recorder.is_recorded()
    }

    /// Steps submitted and not finished.
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// The report of the oldest step in flight, waiting for it; `None` if there is none.
    pub fn finish(&mut self) -> Result<Option<Report>> {
        let Some(results) = self.results.readback.collect::<f32>()? else { return Ok(None) };
        let batches = self.in_flight.pop_front().expect("a batch for each readback");
        let (losses, guard) = results.split_at(self.results.losses.elems());
        if guard[2] == 0.0 {
            return Err(self.non_finite(&batches));
        }
        self.step += 1;
        let mut report =
            Report { rows: self.global_batch(), grad_norm: guard[0], ..Report::default() };
        for sums in losses.chunks_exact(metric::LEN) {
            report.sums.iter_mut().zip(sums).for_each(|(all, one)| *all += *one as f64);
        }
        Ok(Some(report))
    }

    /// Everything that a bit-exact continuation needs besides [`step`](Self::step), by name: the
    /// model, both moments, averaged weights, carries with their data. Write to these tensors to
    /// load a checkpoint, then call [`loaded`](Self::loaded).
    pub fn state(&self) -> Result<Vec<Named>> {
        let mut all = self.model.tensors()?;
        all.extend(self.optimizer.state(self.model.params())?);
        for (i, carry) in self.carries.iter().enumerate() {
            let tensors = carry.tensors().into_iter();
            all.extend(tensors.map(|(name, t)| (format!("{}.{i}.{name}", role::CARRY), t.clone())));
        }
        Ok(all)
    }

    /// The state was overwritten with that after update number `step`.
    pub fn loaded(&mut self, step: u64) -> Result<()> {
        self.step = step;
        self.model.refresh()
    }

    /// The weights were overwritten before the first step: working copies and the average follow.
    pub fn weights_were_set(&self) -> Result<()> {
        self.model.refresh()?;
        match &self.optimizer.ema {
            Some(average) => average.copy_from(&self.model.params().master),
            None => Ok(()),
        }
    }

    /// Run `f` on the averaged weights if the run keeps them, else on the weights.
    pub fn with_evaluation_weights<T>(&self, f: impl FnOnce(&dyn Model) -> Result<T>) -> Result<T> {
        let Some(average) = &self.optimizer.ema else { return f(&*self.model) };
        self.model.params().swap_master(average)?;
        let out = f(&*self.model);
        self.model.params().swap_master(average)?;
        out
    }

    /// What micro-batch `i` carries on.
    pub fn carry(&self, i: usize) -> &Carry {
        &self.carries[i]
    }

    pub fn moments(&self) -> &Moments {
        &self.optimizer.moments
    }

    /// Q logits (B, 2) of the last micro-batch, in the forward dtype.
    pub fn last_q(&self) -> Option<&Tensor> {
        self.last_q.as_ref()
    }

    /// Puzzle ids (R) and gradients (R, D) of the last step.
    pub fn puzzle_rows(&self) -> Option<(&Tensor, &Tensor)> {
        self.puzzle.as_ref().map(|p| (&p.ids, &p.rows))
    }

    /// Queue the input of the step after `number` updates.
    fn send(&mut self, number: u64, batches: &[Batch], rates: Rates) -> Result<()> {
        let (seed, accum) = (self.options.seed, self.carries.len() as u64);
        let draws: Vec<Draw> =
            (0..accum).map(|i| Draw { seed, number: number * accum + i }).collect();
        self.input.send(batches, &draws, self.optimizer.factors(rates, number + 1))
    }

    /// A step on the input that is there: micro-batches, then the update. Nothing in it depends on
    /// values of the host, so that it can be recorded.
    fn run(&mut self, tape: impl Fn(&Device) -> Tape) -> Result<()> {
        self.run_micro_batches(tape)?;
        let puzzle =
            self.puzzle.as_ref().zip(self.model.puzzle_table()).map(|(puzzle, (_, table))| {
                PuzzleGradient { table, ids: &puzzle.ids, rows: &puzzle.rows }
            });
        let (params, losses) = (self.model.params(), &self.results.losses);
        self.optimizer.step(params, puzzle, losses, &self.input.factors)
    }

    fn run_micro_batches(&mut self, tape: impl Fn(&Device) -> Tape) -> Result<()> {
        let b = self.model.dims().batch_size;
        self.last_q = None;
        for (i, (carry, input)) in self.carries.iter().zip(&self.input.micro_batches).enumerate() {
            let mode = if i == 0 { Mode::Set } else { Mode::Add };
            let (tape, space) = (tape(self.model.device()), &self.space);
            let (batch, draw) = (&input.batch, &input.draw);
            let out = self.model.train_segment(tape, carry, batch, space, draw, mode)?;
            self.last_q = Some(out.q);
            let sums = self.results.losses.view(i * metric::LEN, [metric::LEN])?;
            sums.copy_from(&self.space.metrics)?;
            if let (Some(puzzle), Some((_, d_rows))) = (&self.puzzle, &self.space.puzzle_rows) {
                let d = d_rows.shape().last();
                puzzle.ids.view(i * b, [b])?.copy_from(&carry.current.puzzle_ids)?;
                puzzle.rows.view(i * b * d, [b, d])?.copy_from(d_rows)?;
            }
        }
        Ok(())
    }

    /// Replay the failed step with every op's output checked, to name the first bad one. The carry
    /// has moved on, so the replay may also come out clean.
    fn non_finite(&mut self, batches: &[Batch]) -> Error {
        let rates = Rates { lr: 0.0, ..Rates::default() }; // no update is made
        let replayed = self
            .send(self.step, batches, rates)
            .and_then(|()| self.run_micro_batches(|device| Tape::new(device).checking_finite()));
        let what = match replayed {
            Err(e) => e.to_string(),
            Ok(()) => "loss or gradient is not finite".into(),
        };
        Error::NonFinite { step: self.step + 1, what }
    }
}
