//! The loop of a distillation: batches in, steps of the phase at hand, metrics, validation of the
//! student, checkpoints; ends at the planned length, when patience runs out, or on a signal.
//!
//! Invariant: what a checkpoint of step k holds is a function of the plan and k alone, whatever was
//! interrupted, killed or saved before. Steps count over both phases.

use std::path::PathBuf;
use std::time::Instant;

use super::order::{Length, Order, Phase};
use super::report::Pending;
use super::trainer::{Trainer, Which};
use crate::config::DistillConfig;
use crate::data::Position;
use crate::data::images::{IMAGE_ELEMS, ImageSet};
use crate::eval::images::{Quality, pixels};
use crate::run::checkpoint::{Named, State};
use crate::run::folder::RunFolder;
use crate::run::ledger::{Kind, Ledger, Policy};
use crate::run::log::Log;
use crate::run::plan::Plan;
use crate::run::signal;
use crate::train::pictures;
use crate::train::schedule::Schedule;
use crate::{Error, Result};

/// Images per pass of a validation.
const VALIDATION_BATCH: usize = 250;

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    pub step: u64,
    /// Of the student's reconstructions of the test images, from the mean of the posterior.
    pub best_mse: f64,
    pub best_step: u64,
    /// The final checkpoint.
    pub checkpoint: PathBuf,
}

pub fn run(
    plan: &Plan<DistillConfig>,
    folder: &RunFolder,
    set: &ImageSet,
    trainer: Trainer,
    log: &mut Log,
) -> Result<Outcome> {
    let mut run = Run::new(plan, folder, set, trainer, log)?;
    let outcome = run.train();
    run.log.finish();
    run.ledger.close(outcome)
}

pub(super) struct Run<'a> {
    pub plan: &'a Plan<DistillConfig>,
    pub log: &'a mut Log,
    set: &'a ImageSet,
    trainer: Trainer,
    order: Order,
    pub length: Length,
    pub ledger: Ledger<'a>,
    /// What is collected for the next line of metrics.
    pub pending: Pending,
}

impl<'a> Run<'a> {
    fn new(
        plan: &'a Plan<DistillConfig>,
        folder: &'a RunFolder,
        set: &'a ImageSet,
        trainer: Trainer,
        log: &'a mut Log,
    ) -> Result<Self> {
        let state = State {
            step: 0,
            position: Position::default(),
            samples: 0,
            seed: plan.config.train.seed,
            best_val_loss: f64::INFINITY,
            best_step: 0,
            waited: 0,
            validated: 0,
            data_digest: set.digest(),
            pending: vec![],
        };
        let config = &plan.config;
        let kind = Kind {
            command: format!("hrm distill {}", config.preset),
            is_binding,
            validation_key: "val_mse",
        };
        let ledger =
            Ledger::open(plan, folder, policy(config), kind, state, &trainer.state()?, log)?;
        Ok(Self {
            pending: Pending::new(&ledger.state.pending),
            ledger,
            length: Length::of(config, set.train.n),
            order: Order::default(),
            plan,
            log,
            set,
            trainer,
        })
    }

    fn train(&mut self) -> Result<Outcome> {
        let total = self.length.total();
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
                return self.interrupted();
            }
            self.step()?;
            self.log.tick(self.ledger.state.step, total)?;
        }
    }

    fn is_over(&self) -> bool {
        self.ledger.state.step >= self.length.total() || self.ledger.is_out_of_patience()
    }

    fn step(&mut self) -> Result<()> {
        let started = Instant::now();
        let train = &self.plan.config.train;
        let images = self.order.batch(&self.length, train.seed, self.ledger.state.step);
        let mut x = Vec::with_capacity(images.len() * IMAGE_ELEMS);
        images.iter().for_each(|i| x.extend(self.set.train.image(*i as usize)));
        let (phase, made) = self.length.phase(self.ledger.state.step);
        let step = made + 1;
        let (lr, last) = (self.lr(phase, step), step == self.phase_steps(phase));
        let report = match phase {
            Phase::Teacher => self.trainer.teacher_step(&x, step, lr),
            Phase::Student => self.trainer.student_step(&x, step, lr),
        };
        // A phase counts its own steps; the run's are what the files are named by.
        let report = report.map_err(|e| match e {
            Error::NonFinite { what, .. } => {
                Error::NonFinite { step: self.ledger.state.step + 1, what }
            }
            other => other,
        })?;
        self.ledger.state.step += 1;
        self.ledger.state.samples += self.length.batch as u64;
        self.pending.add(&report, started.elapsed());
        if last || self.ledger.state.step.is_multiple_of(self.plan.config.train.log_every) {
            self.write_metrics(phase, lr)?;
        }
        Ok(())
    }

    fn phase_steps(&self, phase: Phase) -> u64 {
        match phase {
            Phase::Teacher => self.length.teacher_steps,
            Phase::Student => self.length.student_steps,
        }
    }

    fn lr(&self, phase: Phase, step: u64) -> f64 {
        let train = &self.plan.config.train;
        let schedule = Schedule {
            warmup_steps: train.warmup_steps,
            total_steps: self.phase_steps(phase),
            min_ratio: train.lr_min_ratio,
        };
        let base = match phase {
            Phase::Teacher => train.teacher_lr,
            Phase::Student => train.lr,
        };
        schedule.lr(base, step as i64)
    }

    fn validation_is_due(&self) -> bool {
        let (phase, made) = self.length.phase(self.ledger.state.step);
        let every = self.plan.config.train.eval_every * self.length.steps_per_epoch;
        let at_end = self.ledger.state.step == self.length.total();
        let now = every > 0 && made > 0 && made.is_multiple_of(every);
        phase == Phase::Student
            && self.ledger.state.step != self.ledger.state.validated
            && (now || at_end)
    }

    /// False: a signal came first.
    fn validate(&mut self) -> Result<bool> {
        let (test, mut quality, mut picture) = (&self.set.test, Quality::default(), None);
        for from in (0..test.n).step_by(VALIDATION_BATCH) {
            if signal::asked_to_stop() {
                return Ok(false);
            }
            let x = pixels(test, from..(from + VALIDATION_BATCH).min(test.n));
            let (mu, _) = self.trainer.encode(Which::Student, &x)?;
            let y = self.trainer.decode(Which::Student, &mu)?;
            quality.add(&x, &y);
            if from == 0 {
                picture = Some(pictures::reconstructions(&x, &y)?);
            }
        }
        self.report_validation(&quality)?;
        let mse = quality.mse();
        if self.ledger.validated(mse) {
            let (state, step) = (self.checkpoint()?, self.ledger.state.step);
            if let Some(picture) = picture {
                self.ledger.tracker.picture(step, pictures::RECONSTRUCTIONS, &picture)?;
            }
            self.ledger.save_best(&state)?;
            self.log.say(&format!("best model saved: step {step}, test MSE {mse:.6}"))?;
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
        let State { step, best_val_loss: best_mse, best_step, .. } = self.ledger.state;
        Ok(Outcome { step, best_mse, best_step, checkpoint })
    }

    fn interrupted<T>(&mut self) -> Result<T> {
        let state = self.checkpoint()?;
        self.ledger.interrupted(&state)
    }
}

fn policy(config: &DistillConfig) -> Policy {
    let t = &config.train;
    Policy {
        checkpoint_every: t.checkpoint_every,
        keep: t.keep,
        patience: t.patience,
        write_pt: false,
    }
}

/// Keys on which the state depends, beside the shapes of its tensors: another value of one of them
/// is another run.
fn is_binding(key: &str) -> bool {
    let steps = ["train.teacher_epochs", "train.batch_size"];
    key.starts_with("model.") || steps.contains(&key)
}
