//! The loop: batches in, steps, metrics, validation, checkpoints; ends at the planned length, when
//! patience runs out, or on a signal.
//!
//! Invariant: what a checkpoint of step k holds is a function of the plan and k alone, whatever was
//! interrupted, killed or saved before. Times appear in metrics, never in the state.

mod report;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use serde_json::Value;

use report::Clock;

use super::checkpoint::{self, Meta, State};
use super::log::Log;
use super::metrics::Sums;
use super::optimizer::Rates;
use super::plan::Plan;
use super::resume::resume;
use super::run_folder::RunFolder;
use super::schedule::Schedule;
use super::trainer::{HostBatch, Trainer};
use super::validate::Validator;
use super::{setup, signal, tracking};
use crate::backend::{Device, DeviceKind};
use crate::data::{BatchOptions, DataSet, Loader, Position};
use crate::track::Tracker;
use crate::{Error, Result};

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    pub step: u64,
    pub best_val_loss: f64,
    pub best_step: u64,
    /// The final checkpoint.
    pub checkpoint: PathBuf,
}

pub fn run(
    plan: &Plan,
    folder: &RunFolder,
    data: Arc<DataSet>,
    device: &Device,
    log: &mut Log,
) -> Result<Outcome> {
    let mut run = Run::new(plan, folder, data, device, log)?;
    let outcome = run.train();
    run.log.finish();
    let closed = run.tracker.finish(tracking::exit_code(&outcome));
    match outcome {
        Err(Error::NonFinite { step, what }) => Err(Error::NonFinite {
            step,
            what: format!("{what}; nothing was saved after step {}. {}", run.saved, run.way_on()),
        }),
        Ok(outcome) => closed.map(|()| outcome),
        other => other,
    }
}

struct Run<'a> {
    plan: &'a Plan,
    folder: &'a RunFolder,
    log: &'a mut Log,
    device: &'a Device,
    trainer: Trainer,
    loader: Loader,
    validator: Option<Validator>,
    tracker: Tracker,
    schedule: Schedule,
    rows_per_pass: f64,
    plan_text: String,
    state: State,
    /// Sums since the last line of metrics.
    pending: Sums,
    /// Where the data goes on after each step in flight.
    positions: VecDeque<Position>,
    clock: Clock,
    /// When the last step ended, or when the one in flight was queued.
    lap: Instant,
    /// Step of the newest checkpoint of any name, and of the newest step checkpoint.
    saved: u64,
    step_saved: u64,
}

impl<'a> Run<'a> {
    fn new(
        plan: &'a Plan,
        folder: &'a RunFolder,
        data: Arc<DataSet>,
        device: &'a Device,
        log: &'a mut Log,
    ) -> Result<Self> {
        let config = &plan.config;
        let (sampler, rows_per_pass) = setup::sampler(config, &data)?;
        let mut trainer =
            Trainer::new(device, setup::model(config, &data), setup::options(config))?;
        let mut state = State {
            step: 0,
            position: Position::default(),
            samples: 0,
            seed: config.train.seed,
            best_val_loss: f64::INFINITY,
            best_step: 0,
            waited: 0,
            validated: 0,
            data_digest: data.digest(),
            pending: Sums::default().to_vec(),
        };
        let mut reports = vec![];
        let newest = folder.checkpoints.newest(|line| reports.push(line))?;
        for line in &reports {
            log.say(&format!("warning: {line}"))?;
        }
        let mut step_saved = 0;
        if let Some(reader) = newest {
            let (digest, tensors) = (&state.data_digest, trainer.state()?);
            let (loaded, changed) = resume(&reader, plan, digest, &tensors, is_binding)?;
            drop(tensors);
            trainer.loaded(loaded.step)?;
            state = loaded;
            if reader.path() == folder.checkpoints.step(state.step) {
                step_saved = state.step;
            }
            log.say(&format!("going on from step {}: {}", state.step, reader.path().display()))?;
            for line in changed {
                log.say(&format!("changed since that checkpoint: {line}"))?;
            }
        }
        let pending = Sums::from_slice(&state.pending)
            .ok_or_else(|| Error::invalid("the checkpoint's sums are of another version"))?;
        folder.store(plan)?;
        let keep = |line: &Value| was_written_by(&state, line);
        let tracker = tracking::open(plan, folder, state.step, keep, log)?;
        let has_test = data.split(super::validate::SPLIT).is_ok_and(|s| s.examples() > 0);
        let validator = match has_test {
            true => Some(Validator::new(&trainer, data.clone(), config.train.eval_examples)?),
            false => {
                log.say("the data has no test split: no validation, no best model")?;
                None
            }
        };
        let ahead = 2 * config.train.grad_accum;
        let options = BatchOptions { ignore_pad: trainer.model.dims().ignores_pad };
        let from = state.position;
        Ok(Self {
            loader: Loader::train(data, setup::SPLIT, sampler, options, from, ahead)?,
            tracker,
            schedule: setup::schedule(config, rows_per_pass),
            plan_text: plan.to_toml()?,
            saved: state.step,
            step_saved,
            clock: Clock::default(),
            lap: Instant::now(),
            plan,
            folder,
            log,
            device,
            trainer,
            validator,
            rows_per_pass,
            state,
            pending,
            positions: VecDeque::new(),
        })
    }

    fn train(&mut self) -> Result<Outcome> {
        let total = self.schedule.total_steps;
        self.log.start(self.state.step, total);
        loop {
            if self.validation_is_due() && !self.validate()? {
                return self.interrupted();
            }
            let every = self.plan.config.train.checkpoint_every;
            if every > 0
                && self.state.step.is_multiple_of(every)
                && self.state.step != self.step_saved
            {
                self.save_step()?;
            }
            if self.is_over() {
                return self.finish();
            }
            if signal::asked_to_stop() {
                self.collect(0)?;
                return self.interrupted();
            }
            self.step()?;
            self.log.tick(self.state.step, total)?;
        }
    }

    fn is_over(&self) -> bool {
        let patience = self.plan.config.train.patience;
        self.state.step >= self.schedule.total_steps
            || (patience > 0 && self.state.waited >= patience)
    }

    /// Queue a step and book those that are done. One may still be running when this returns, unless
    /// validation, a checkpoint or the end comes after it.
    fn step(&mut self) -> Result<()> {
        if self.trainer.in_flight() == 0 {
            self.lap = Instant::now();
        }
        let train = &self.plan.config.train;
        let mut loaded = Vec::with_capacity(train.grad_accum);
        for _ in 0..train.grad_accum {
            let next = self.loader.next_batch()?;
            loaded.push(next.ok_or_else(|| Error::invalid("the data loader ended early"))?);
        }
        let batches: Vec<HostBatch> = loaded
            .iter()
            .map(|l| HostBatch {
                inputs: &l.batch.inputs,
                labels: &l.batch.labels,
                puzzle_ids: &l.batch.puzzle_ids,
            })
            .collect();
        let step = self.state.step + self.trainer.in_flight() as u64 + 1;
        self.trainer.submit(&batches, self.rates(step))?;
        self.positions.extend(loaded.last().map(|l| l.next));
        self.clock.wait_ms += loaded.iter().map(|l| l.wait_ms).sum::<f64>();
        let train = &self.plan.config.train;
        let at = |every: u64| every > 0 && step.is_multiple_of(every);
        let due =
            step == self.schedule.total_steps || at(train.eval_every) || at(train.checkpoint_every);
        let may_run = if due || self.device.kind() == DeviceKind::Cpu { 0 } else { 1 };
        self.collect(may_run)
    }

    /// Book finished steps until at most `may_run` are in flight.
    fn collect(&mut self, may_run: usize) -> Result<()> {
        while self.trainer.in_flight() > may_run {
            let Some(report) = self.trainer.finish()? else { break };
            let step = self.trainer.step;
            self.state.step = step;
            self.state.samples += report.rows as u64;
            self.state.position = self.positions.pop_front().unwrap_or(self.state.position);
            self.pending.add(&report);
            self.clock.steps += 1;
            self.clock.rows += report.rows;
            let lap = std::mem::replace(&mut self.lap, Instant::now());
            self.clock.total_ms += (self.lap - lap).as_secs_f64() * 1e3;
            let every = self.plan.config.train.log_every;
            if step.is_multiple_of(every) || step == self.schedule.total_steps {
                self.write_metrics()?;
            }
        }
        Ok(())
    }

    fn rates(&self, step: u64) -> Rates {
        let train = &self.plan.config.train;
        Rates {
            lr: self.schedule.lr(train.lr, step as i64),
            puzzle_emb_lr: self.schedule.lr(train.puzzle_emb_lr, step as i64),
        }
    }

    fn validation_is_due(&self) -> bool {
        let (step, every) = (self.state.step, self.plan.config.train.eval_every);
        let at_end = step == self.schedule.total_steps;
        self.validator.is_some()
            && step != self.state.validated
            && (at_end || (every > 0 && step.is_multiple_of(every)))
    }

    /// False: a signal came first.
    fn validate(&mut self) -> Result<bool> {
        let Some(validator) = &self.validator else { return Ok(true) };
        let start = Instant::now();
        let Some(sums) = validator.run(&self.trainer, signal::asked_to_stop)? else {
            return Ok(false);
        };
        self.report_validation(&sums, start.elapsed().as_secs_f64())?;
        let (step, loss) = (self.state.step, sums.lm_loss());
        self.state.validated = step;
        if loss < self.state.best_val_loss {
            (self.state.best_val_loss, self.state.best_step) = (loss, step);
            self.state.waited = 0;
            self.save(self.folder.checkpoints.best())?;
            self.log.say(&format!("best model saved: step {step}, validation loss {loss:.4}"))?;
        } else {
            self.state.waited += 1;
            let (waited, patience) = (self.state.waited, self.plan.config.train.patience);
            if patience > 0 && waited >= patience {
                self.log.say(&format!(
                    "stopping early: {waited} validations without improvement since step {}",
                    self.state.best_step
                ))?;
            }
        }
        Ok(true)
    }

    fn save(&mut self, path: PathBuf) -> Result<()> {
        self.tracker.sync()?;
        self.state.pending = self.pending.to_vec();
        let meta = Meta {
            program: crate::PROGRAM.into(),
            plan: self.plan_text.clone(),
            state: self.state.clone(),
        };
        checkpoint::save(&path, &meta, &self.trainer.state()?)?;
        self.saved = self.state.step;
        Ok(())
    }

    fn save_step(&mut self) -> Result<()> {
        self.save(self.folder.checkpoints.step(self.state.step))?;
        self.step_saved = self.state.step;
        self.folder.checkpoints.prune(self.plan.config.train.keep)
    }

    fn finish(&mut self) -> Result<Outcome> {
        let checkpoint = self.folder.checkpoints.r#final();
        self.save(checkpoint.clone())?;
        // A kill between saving and pruning leaves one too many.
        self.folder.checkpoints.prune(self.plan.config.train.keep)?;
        let State { step, best_val_loss, best_step, .. } = self.state;
        Ok(Outcome { step, best_val_loss, best_step, checkpoint })
    }

    fn interrupted<T>(&mut self) -> Result<T> {
        self.save_step()?;
        Err(Error::Interrupted(format!(
            "interrupted; step {} is saved. {}",
            self.state.step,
            self.way_on()
        )))
    }

    fn way_on(&self) -> String {
        let (preset, dir) = (&self.plan.config.preset, self.folder.dir().display());
        format!("To go on: hrm train {preset} --run-dir {dir} (and the same settings)")
    }
}

/// Model keys, but for those that change neither a shape nor what the weights mean.
fn is_binding(key: &str) -> bool {
    let free = ["model.halt_exploration_prob", "model.dropout"];
    key.starts_with("model.") && !free.contains(&key)
}

/// Whether a line of metrics.jsonl precedes the checkpoint that holds `state`.
fn was_written_by(state: &State, line: &Value) -> bool {
    let is_validation = line.get("val_lm_loss").is_some();
    let until = if is_validation { state.validated } else { state.step };
    line["step"].as_u64().is_some_and(|step| step <= until)
}
