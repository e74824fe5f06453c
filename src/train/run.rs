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

use report::Clock;

use super::metrics::Sums;
use super::optimizer::Rates;
use super::pictures;
use super::schedule::Schedule;
use super::setup;
use super::trainer::Trainer;
use super::validate::Validator;
use crate::backend::{Device, DeviceKind};
use crate::config::Config;
use crate::data::{BatchOptions, DataSet, Loader, Position};
use crate::run::checkpoint::{Named, State};
use crate::run::folder::RunFolder;
use crate::run::ledger::{Kind, Ledger, Policy};
use crate::run::log::Log;
use crate::run::plan::Plan;
use crate::run::signal;
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
    run.ledger.close(outcome)
}

struct Run<'a> {
    plan: &'a Plan,
    log: &'a mut Log,
    device: &'a Device,
    trainer: Trainer,
    loader: Loader,
    validator: Option<Validator>,
    ledger: Ledger<'a>,
    schedule: Schedule,
    rows_per_pass: f64,
    /// Sums since the last line of metrics.
    pending: Sums,
    /// Where the data goes on after each step in flight.
    positions: VecDeque<Position>,
    clock: Clock,
    /// When the last step ended, or when the one in flight was queued.
    lap: Instant,
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
            Trainer::new(device, crate::run::model::model(config, &data), setup::options(config))?;
        let state = State {
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
        let kind = Kind {
            command: format!("hrm train {}", config.preset),
            is_binding,
            validation_key: "val_lm_loss",
        };
        if let Some(path) = &plan.init
            && folder.checkpoints.is_empty()?
        {
            for line in super::init::start_from(path, plan, &trainer, &data)? {
                log.say(&line)?;
            }
        }
        let ledger =
            Ledger::open(plan, folder, policy(config), kind, state, &trainer.state()?, log)?;
        trainer.loaded(ledger.state.step)?;
        let pending = Sums::from_slice(&ledger.state.pending)
            .ok_or_else(|| Error::invalid("the checkpoint's sums are of another version"))?;
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
        let from = ledger.state.position;
        Ok(Self {
            loader: Loader::train(data, setup::SPLIT, sampler, options, from, ahead)?,
            ledger,
            schedule: setup::schedule(config, rows_per_pass),
            clock: Clock::default(),
            lap: Instant::now(),
            plan,
            log,
            device,
            trainer,
            validator,
            rows_per_pass,
            pending,
            positions: VecDeque::new(),
        })
    }

    fn train(&mut self) -> Result<Outcome> {
        let total = self.schedule.total_steps;
        self.ledger.begin(total, self.log)?;
        loop {
            if self.validation_is_due() && !self.validate()? {
                return self.interrupted();
            }
            if self.ledger.is_save_due() {
                let state = self.checkpoint()?;
                self.ledger.save_step(&state)?;
            }
            if self.is_over() {
                return self.finish();
            }
            if signal::asked_to_stop() {
                self.collect(0)?;
                return self.interrupted();
            }
            self.step()?;
            self.log.tick(self.ledger.state.step, total)?;
        }
    }

    fn is_over(&self) -> bool {
        self.ledger.state.step >= self.schedule.total_steps || self.ledger.is_out_of_patience()
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
        let step = self.ledger.state.step + self.trainer.in_flight() as u64 + 1;
        self.positions.extend(loaded.last().map(|l| l.next));
        self.clock.wait_ms += loaded.iter().map(|l| l.wait_ms).sum::<f64>();
        let batches = loaded.into_iter().map(|l| l.batch).collect();
        self.trainer.submit(batches, self.rates(step))?;
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
            self.ledger.state.step = step;
            self.ledger.state.samples += report.rows as u64;
            self.ledger.state.position =
                self.positions.pop_front().unwrap_or(self.ledger.state.position);
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
        let (step, every) = (self.ledger.state.step, self.plan.config.train.eval_every);
        let at_end = step == self.schedule.total_steps;
        self.validator.is_some()
            && step != self.ledger.state.validated
            && (at_end || (every > 0 && step.is_multiple_of(every)))
    }

    /// False: a signal came first.
    fn validate(&mut self) -> Result<bool> {
        let Some(validator) = &self.validator else { return Ok(true) };
        let start = Instant::now();
        let Some(validated) = validator.run(&self.trainer, signal::asked_to_stop)? else {
            return Ok(false);
        };
        let (loss, seconds) = (validated.sums.lm_loss(), start.elapsed().as_secs_f64());
        let best = self.ledger.validated(loss);
        let picture = if best { Some(validator.picture(&validated)?) } else { None };
        self.report_validation(&validated.sums, seconds)?;
        if let Some(picture) = picture {
            let (state, step) = (self.checkpoint()?, self.ledger.state.step);
            self.ledger.tracker.picture(step, pictures::PREDICTIONS, &picture)?;
            self.ledger.save_best(&state)?;
            self.log.say(&format!("best model saved: step {step}, validation loss {loss:.4}"))?;
        }
        self.ledger.say_if_out_of_patience(self.log)?;
        Ok(true)
    }

    /// All that a checkpoint holds, with what is collected since the last line of metrics.
    fn checkpoint(&mut self) -> Result<Vec<Named>> {
        self.ledger.state.pending = self.pending.to_vec();
        self.trainer.state()
    }

    fn finish(&mut self) -> Result<Outcome> {
        let state = self.checkpoint()?;
        let checkpoint = self.ledger.save_final(&state)?;
        let State { step, best_val_loss, best_step, .. } = self.ledger.state;
        Ok(Outcome { step, best_val_loss, best_step, checkpoint })
    }

    fn interrupted<T>(&mut self) -> Result<T> {
        let state = self.checkpoint()?;
        self.ledger.interrupted(&state)
    }
}

fn policy(config: &Config) -> Policy {
    let t = &config.train;
    Policy {
        checkpoint_every: t.checkpoint_every,
        keep: t.keep,
        patience: t.patience,
        write_pt: t.write_pt,
    }
}

/// Model keys, but for those that change neither a shape nor what the weights mean.
fn is_binding(key: &str) -> bool {
    let free = ["model.halt_exploration_prob", "model.dropout"];
    key.starts_with("model.") && !free.contains(&key)
}
