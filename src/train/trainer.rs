//! One optimizer step of HRM: micro-batches with their own carries, then the update.
//!
//! Owns everything that a step changes; [`Trainer::state`] lists it all, so that what is saved and
//! what is digested cannot drift apart. Reads no file and writes none.

use super::optimizer::{Optimizer, PuzzleGradient, Rates, Settings};
use crate::backend::{Device, Purpose, Usage};
use crate::dtype::DType;
use crate::models::hrm::{self, Carry, DeviceBatch, Hrm, Workspace};
use crate::ops::act_halt::metric;
use crate::ops::adam_atan2::Moments;
use crate::tape::{Mode, Tape};
use crate::tensor::Tensor;
use crate::{Error, Result};

/// How a run trains, besides the model's own shape.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    pub dtype: DType,
    /// Micro-batches per optimizer step, each with its own carry.
    pub grad_accum: usize,
    pub optimizer: Settings,
    pub seed: u64,
}

/// One batch on the host: inputs and labels (B, S), puzzle ids (B).
#[derive(Clone, Copy)]
pub struct HostBatch<'a> {
    pub inputs: &'a [i32],
    pub labels: &'a [i32],
    pub puzzle_ids: &'a [i32],
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
    pub model: Hrm,
    pub options: Options,
    optimizer: Optimizer,
    lanes: Vec<Lane>,
    space: Workspace,
    puzzle: Option<Puzzle>,
    /// Metrics of all micro-batches, (accum * 8): what the guard looks at.
    losses: Tensor,
    /// Q logits (B, 2) of the last micro-batch.
    last_q: Option<Tensor>,
    /// Optimizer updates made.
    pub step: u64,
}

/// What one micro-batch keeps between steps.
struct Lane {
    carry: Carry,
    batch: DeviceBatch,
}

/// Ids and gradients of the puzzle rows of all micro-batches of a step.
struct Puzzle {
    ids: Tensor,  // (accum * B)
    rows: Tensor, // (accum * B, D)
}

impl Trainer {
    pub fn new(device: &Device, config: hrm::Config, options: Options) -> Result<Self> {
        let model = Hrm::new(device, config, options.dtype, options.seed)?;
        let c = &model.config;
        let (b, s, accum) = (c.batch_size, c.seq_len, options.grad_accum);
        if accum == 0 {
            return Err(Error::invalid("train.grad_accum is 0; it must be at least 1"));
        }
        let lanes = (0..accum)
            .map(|_| {
                Ok(Lane { carry: Carry::new(&model)?, batch: DeviceBatch::new(device, b, s)? })
            })
            .collect::<Result<_>>()?;
        let rows = accum * b;
        let workspace =
            |dtype, shape: &[usize]| Tensor::zeros(device, dtype, shape, Purpose::Workspace);
        let puzzle = match c.puzzle_emb_ndim {
            0 => None,
            d => Some(Puzzle {
                ids: workspace(DType::I32, &[rows])?,
                rows: workspace(DType::F32, &[rows, d])?,
            }),
        };
        Ok(Self {
            optimizer: Optimizer::new(device, &model.params, options.optimizer)?,
            space: Workspace::new(&model, rows)?,
            losses: workspace(DType::F32, &[accum * metric::LEN])?,
            model,
            options,
            lanes,
            puzzle,
            last_q: None,
            step: 0,
        })
    }

    /// Exact memory of a run: the same code on the shape-only device.
    pub fn plan(config: hrm::Config, options: Options) -> Result<(Usage, crate::backend::Cost)> {
        let device = Device::shape_only();
        let mut trainer = Trainer::new(&device, config, options)?;
        device.take_cost();
        trainer.run_lanes(None, Tape::new)?;
        trainer.update(Rates { lr: 0.0, puzzle_emb_lr: 0.0 })?;
        Ok((device.usage(), device.take_cost()))
    }

    /// Rows of an optimizer step.
    pub fn global_batch(&self) -> usize {
        self.options.grad_accum * self.model.config.batch_size
    }

    /// One optimizer step; `batches` holds one batch per micro-batch. A non-finite loss or gradient
    /// is an error and leaves weights, moments and step count as they were.
    pub fn step(&mut self, batches: &[HostBatch], rates: Rates) -> Result<Report> {
        if batches.len() != self.lanes.len() {
            return Err(Error::invalid(format!(
                "a step needs {} micro-batches, got {}",
                self.lanes.len(),
                batches.len()
            )));
        }
        self.run_lanes(Some(batches), Tape::new)?;
        self.update(rates)?;
        let (grad_norm, updated) = self.optimizer.norm()?;
        if !updated {
            return Err(self.non_finite(batches));
        }
        self.step += 1;
        let mut report = Report { rows: self.global_batch(), grad_norm, ..Report::default() };
        for sums in self.losses.download::<f32>()?.chunks_exact(metric::LEN) {
            report.sums.iter_mut().zip(sums).for_each(|(all, one)| *all += *one as f64);
        }
        Ok(report)
    }

    /// Everything that a bit-exact continuation needs besides [`step`](Self::step), by name: the
    /// model, both moments, averaged weights, carries with their data. Write to these tensors to
    /// load a checkpoint, then call [`loaded`](Self::loaded).
    pub fn state(&self) -> Result<Vec<(String, Tensor)>> {
        let params = &self.model.params;
        let mut all = self.model.tensors()?;
        let moments =
            [("exp_avg", &self.optimizer.moments.m), ("exp_avg_sq", &self.optimizer.moments.v)];
        let average = self.optimizer.ema.iter().map(|t| ("ema", t));
        for (role, flat) in moments.into_iter().chain(average) {
            for name in params.names() {
                all.push((format!("{role}.{name}"), params.part(flat, name)?));
            }
        }
        for (i, lane) in self.lanes.iter().enumerate() {
            let tensors = lane.carry.tensors();
            all.extend(tensors.map(|(name, t)| (format!("carry.{i}.{name}"), t.clone())));
        }
        Ok(all)
    }

    /// The state was overwritten with that after update number `step`.
    pub fn loaded(&mut self, step: u64) -> Result<()> {
        self.step = step;
        self.model.refresh()
    }

    /// Run `f` on the averaged weights if the run keeps them, else on the weights.
    pub fn with_evaluation_weights<T>(&self, f: impl FnOnce(&Hrm) -> Result<T>) -> Result<T> {
        let Some(average) = &self.optimizer.ema else { return f(&self.model) };
        self.model.params.swap_master(average)?;
        let out = f(&self.model);
        self.model.params.swap_master(average)?;
        out
    }

    /// What micro-batch `i` carries on.
    pub fn carry(&self, i: usize) -> &Carry {
        &self.lanes[i].carry
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

    fn run_lanes(
        &mut self,
        batches: Option<&[HostBatch]>,
        tape: impl Fn(&Device) -> Tape,
    ) -> Result<()> {
        let b = self.model.config.batch_size;
        self.last_q = None;
        for (i, lane) in self.lanes.iter().enumerate() {
            if let Some(batches) = batches {
                let HostBatch { inputs, labels, puzzle_ids } = batches[i];
                lane.batch.upload(inputs, labels, puzzle_ids)?;
            }
            let draw = self.step * self.lanes.len() as u64 + i as u64;
            let halting = self.model.train_halting(self.options.seed, draw);
            let mode = if i == 0 { Mode::Set } else { Mode::Add };
            let tape = tape(self.model.device());
            let (carry, batch) = (&lane.carry, &lane.batch);
            let out = self.model.train_segment(tape, carry, batch, &self.space, halting, mode)?;
            self.last_q = Some(out.q);
            let sums = self.losses.view(i * metric::LEN, [metric::LEN])?;
            sums.copy_from(&self.space.metrics)?;
            if let (Some(puzzle), Some((_, d_rows))) = (&self.puzzle, &self.space.puzzle_rows) {
                let d = d_rows.shape().last();
                puzzle.ids.view(i * b, [b])?.copy_from(&lane.carry.current.puzzle_ids)?;
                puzzle.rows.view(i * b * d, [b, d])?.copy_from(d_rows)?;
            }
        }
        Ok(())
    }

    fn update(&self, rates: Rates) -> Result<()> {
        let puzzle =
            self.puzzle.as_ref().zip(self.model.puzzle_table.as_ref()).map(|(puzzle, table)| {
                PuzzleGradient { table, ids: &puzzle.ids, rows: &puzzle.rows }
            });
        self.optimizer.step(&self.model.params, puzzle, &self.losses, rates, self.step + 1)
    }

    /// Replay the failed step with every op's output checked, to name the first bad one. The carry
    /// has moved on, so the replay may also come out clean.
    fn non_finite(&mut self, batches: &[HostBatch]) -> Error {
        let what = match self.run_lanes(Some(batches), |device| Tape::new(device).checking_finite())
        {
            Err(e) => e.to_string(),
            Ok(()) => "loss or gradient is not finite".into(),
        };
        Error::NonFinite { step: self.step + 1, what }
    }
}
