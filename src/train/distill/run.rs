//! The loop of a distillation: batches in, steps of the phase at hand, metrics, validation of the
//! student, checkpoints; ends at the planned length, when patience runs out, or on a signal.
//!
//! Invariant: what a checkpoint of step k holds is a function of the plan and k alone, whatever was
//! interrupted, killed or saved before. Steps count over both phases.

use std::path::PathBuf;
use std::time::Instant;

use serde_json::Value;

use super::order::{Length, Order, Phase};
use super::report::Pending;
use super::trainer::{Trainer, Which};
use crate::config::DistillConfig;
use crate::data::Position;
use crate::data::images::{IMAGE_ELEMS, ImageSet};
use crate::eval::images::{Quality, pixels};
use crate::track::Tracker;
use crate::train::checkpoint::{self, Meta, State};
use crate::train::log::Log;
use crate::train::plan::Plan;
use crate::train::resume::resume;
use crate::train::run_folder::RunFolder;
use crate::train::schedule::Schedule;
use crate::train::{signal, tracking};
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

pub(super) struct Run<'a> {
    pub plan: &'a Plan<DistillConfig>,
    folder: &'a RunFolder,
    pub log: &'a mut Log,
    set: &'a ImageSet,
    trainer: Trainer,
    order: Order,
    pub length: Length,
    pub tracker: Tracker,
    plan_text: String,
    pub state: State,
    /// What is collected for the next line of metrics.
    pub pending: Pending,
    /// Step of the newest checkpoint of any name, and of the newest step checkpoint.
    saved: u64,
    step_saved: u64,
}

impl<'a> Run<'a> {
    fn new(
        plan: &'a Plan<DistillConfig>,
        folder: &'a RunFolder,
        set: &'a ImageSet,
        trainer: Trainer,
        log: &'a mut Log,
    ) -> Result<Self> {
        let mut state = State {
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
            state = loaded;
            if reader.path() == folder.checkpoints.step(state.step) {
                step_saved = state.step;
            }
            log.say(&format!("going on from step {}: {}", state.step, reader.path().display()))?;
            for line in changed {
                log.say(&format!("changed since that checkpoint: {line}"))?;
            }
        }
        folder.store(plan)?;
        let keep = |line: &Value| was_written_by(&state, line);
        let tracker = tracking::open(plan, folder, state.step, keep, log)?;
        Ok(Self {
            tracker,
            length: Length::of(&plan.config, set.train.n),
            order: Order::default(),
            plan_text: plan.to_toml()?,
            pending: Pending::new(&state.pending),
            saved: state.step,
            step_saved,
            plan,
            folder,
            log,
            set,
            trainer,
            state,
        })
    }

    fn train(&mut self) -> Result<Outcome> {
        let total = self.length.total();
        self.log.start(self.state.step, total);
        loop {
            if self.validation_is_due() && !self.validate()? {
                return self.interrupted();
            }
            let every = self.plan.config.train.checkpoint_every;
            let step = self.state.step;
            if every > 0 && step.is_multiple_of(every) && step != self.step_saved {
                self.save_step()?;
            }
            if self.is_over() {
                return self.finish();
            }
            if signal::asked_to_stop() {
                return self.interrupted();
            }
            self.step()?;
            self.log.tick(self.state.step, total)?;
        }
    }

    fn is_over(&self) -> bool {
        let patience = self.plan.config.train.patience;
        self.state.step >= self.length.total() || (patience > 0 && self.state.waited >= patience)
    }

    fn step(&mut self) -> Result<()> {
        let started = Instant::now();
        let train = &self.plan.config.train;
        let images = self.order.batch(&self.length, train.seed, self.state.step);
        let mut x = Vec::with_capacity(images.len() * IMAGE_ELEMS);
        images.iter().for_each(|i| x.extend(self.set.train.image(*i as usize)));
        let (phase, made) = self.length.phase(self.state.step);
        let step = made + 1;
        let (lr, last) = (self.lr(phase, step), step == self.phase_steps(phase));
        let report = match phase {
            Phase::Teacher => self.trainer.teacher_step(&x, step, lr),
            Phase::Student => self.trainer.student_step(&x, step, lr),
        };
        // A phase counts its own steps; the run's are what the files are named by.
        let report = report.map_err(|e| match e {
            Error::NonFinite { what, .. } => Error::NonFinite { step: self.state.step + 1, what },
            other => other,
        })?;
        self.state.step += 1;
        self.state.samples += self.length.batch as u64;
        self.pending.add(&report, started.elapsed());
        if last || self.state.step.is_multiple_of(self.plan.config.train.log_every) {
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
        let (phase, made) = self.length.phase(self.state.step);
        let every = self.plan.config.train.eval_every * self.length.steps_per_epoch;
        let at_end = self.state.step == self.length.total();
        let now = every > 0 && made > 0 && made.is_multiple_of(every);
        phase == Phase::Student && self.state.step != self.state.validated && (now || at_end)
    }

    /// False: a signal came first.
    fn validate(&mut self) -> Result<bool> {
        let (test, mut quality) = (&self.set.test, Quality::default());
        for from in (0..test.n).step_by(VALIDATION_BATCH) {
            if signal::asked_to_stop() {
                return Ok(false);
            }
            let x = pixels(test, from..(from + VALIDATION_BATCH).min(test.n));
            let (mu, _) = self.trainer.encode(Which::Student, &x)?;
            quality.add(&x, &self.trainer.decode(Which::Student, &mu)?);
        }
        self.report_validation(&quality)?;
        let (step, mse) = (self.state.step, quality.mse());
        self.state.validated = step;
        if mse < self.state.best_val_loss {
            (self.state.best_val_loss, self.state.best_step) = (mse, step);
            self.state.waited = 0;
            self.save(self.folder.checkpoints.best())?;
            self.log.say(&format!("best model saved: step {step}, test MSE {mse:.6}"))?;
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
        let State { step, best_val_loss: best_mse, best_step, .. } = self.state;
        Ok(Outcome { step, best_mse, best_step, checkpoint })
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
        format!("To go on: hrm distill {preset} --run-dir {dir} (and the same settings)")
    }
}

/// Keys on which the state depends, beside the shapes of its tensors: another value of one of them
/// is another run.
fn is_binding(key: &str) -> bool {
    let steps = ["train.teacher_epochs", "train.batch_size"];
    key.starts_with("model.") || steps.contains(&key)
}

/// Whether a line of metrics.jsonl precedes the checkpoint that holds `state`.
fn was_written_by(state: &State, line: &Value) -> bool {
    let is_validation = line.get("val_mse").is_some();
    let until = if is_validation { state.validated } else { state.step };
    line["step"].as_u64().is_some_and(|step| step <= until)
}
