//! The one loop: steps, metrics, validation, checkpoints; ends at the planned length, when patience
//! runs out, or on a signal. What is learnt, and how, is a [`Learner`]'s business.
//!
//! Invariant: what a checkpoint of step k holds is a function of the plan and k alone, whatever was
//! interrupted, killed or saved before. Times appear in metrics, never in the state.

use std::path::PathBuf;
use std::time::Instant;

use serde_json::json;

use super::learner::{Learner, Validated};
use crate::Result;
use crate::config::RunConfig;
use crate::data::Position;
use crate::run::checkpoint::{Named, State};
use crate::run::folder::RunFolder;
use crate::run::ledger::{Kind, Ledger};
use crate::run::log::Log;
use crate::run::plan::Plan;
use crate::run::signal;

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome<A> {
    pub step: u64,
    pub best_val_loss: f64,
    pub best_step: u64,
    /// What the best model answered, where this process found it and the learner keeps answers.
    pub best_answers: Option<A>,
    /// The final checkpoint.
    pub checkpoint: PathBuf,
}

/// From a new learner, or from the newest checkpoint in `folder`, to the end.
pub fn run<L: Learner>(
    plan: &Plan<L::Config>,
    folder: &RunFolder,
    mut learner: L,
    log: &mut Log,
) -> Result<Outcome<L::Answers>> {
    let state = State {
        step: 0,
        position: Position::default(),
        samples: 0,
        seed: plan.config.seed(),
        best_val_loss: f64::INFINITY,
        best_step: 0,
        waited: 0,
        validated: 0,
        data_digest: learner.data_digest(),
        pending: learner.pending(),
    };
    let kind = Kind {
        command: format!("{} {}", L::Config::PRESETS.command, plan.config.preset()),
        is_binding: L::is_binding,
        validation_key: L::VALIDATION_KEY,
        calmer: L::calmer(&plan.config),
    };
    let policy = L::policy(&plan.config);
    let ledger = Ledger::open(plan, folder, policy, kind, state, &learner.state()?, log)?;
    learner.begin(&ledger.state, log)?;
    let (clock, lap) = (Clock::default(), Instant::now());
    let mut run = Run { log, learner, ledger, clock, lap, best_answers: None };
    let outcome = run.train();
    run.log.finish();
    run.ledger.close(outcome)
}

struct Run<'a, L: Learner> {
    log: &'a mut Log,
    learner: L,
    ledger: Ledger<'a>,
    clock: Clock,
    /// When the last step ended, or when the one in flight was queued.
    lap: Instant,
    best_answers: Option<L::Answers>,
}

/// Time spent by this process since the last line of metrics.
#[derive(Default)]
struct Clock {
    steps: u64,
    rows: usize,
    total_ms: f64,
    wait_ms: Option<f64>,
}

impl<L: Learner> Run<'_, L> {
    fn train(&mut self) -> Result<Outcome<L::Answers>> {
        let total = self.learner.total_steps();
        self.ledger.begin(total, self.log)?;
        loop {
            if self.validation_is_due() && !self.validate()? {
                return self.interrupted();
            }
            if self.ledger.is_save_due() {
                let state = self.checkpoint()?;
                self.ledger.save_step(&state)?;
            }
            if self.ledger.state.step >= total || self.ledger.is_out_of_patience() {
                return self.finish();
            }
            if signal::asked_to_stop() {
                self.collect(0)?;
                return self.interrupted();
            }
            self.step()?;
            self.log.tick(self.ledger.state.step)?;
        }
    }

    /// Queue a step and book those that are done. One may still be running when this returns,
    /// unless validation, a checkpoint or the end comes after it.
    fn step(&mut self) -> Result<()> {
        if self.learner.in_flight() == 0 {
            self.lap = Instant::now();
        }
        let step = self.ledger.state.step + self.learner.in_flight() as u64 + 1;
        self.learner.submit(step)?;
        let is_due = step == self.learner.total_steps()
            || self.learner.validates_after(step)
            || self.ledger.saves_after(step);
        self.collect(if is_due { 0 } else { self.learner.may_run_ahead() })
    }

    /// Book finished steps until at most `may_run` are in flight.
    fn collect(&mut self, may_run: usize) -> Result<()> {
        while self.learner.in_flight() > may_run {
            let Some(done) = self.learner.finish()? else { break };
            let state = &mut self.ledger.state;
            state.step += 1;
            state.samples += done.rows as u64;
            state.position = done.next;
            let step = state.step;
            self.clock.steps += 1;
            self.clock.rows += done.rows;
            if let Some(ms) = done.wait_ms {
                *self.clock.wait_ms.get_or_insert_default() += ms;
            }
            let lap = std::mem::replace(&mut self.lap, Instant::now());
            self.clock.total_ms += (self.lap - lap).as_secs_f64() * 1e3;
            if self.ledger.logs_after(step) || step == self.learner.phase_end(step) {
                self.write_metrics()?;
            }
        }
        Ok(())
    }

    fn write_metrics(&mut self) -> Result<()> {
        let clock = std::mem::take(&mut self.clock);
        let steps = clock.steps.max(1) as f64;
        let step_ms = clock.total_ms / steps;
        let rows_per_s = clock.rows as f64 / clock.total_ms.max(1e-9) * 1e3;
        let step = self.ledger.state.step;
        let mut line = self.learner.line_head(&self.ledger.state);
        let words = self.learner.write_metrics(step, &mut line);
        line.insert("step_ms".into(), json!(step_ms));
        if let Some(ms) = clock.wait_ms {
            line.insert("data_wait_ms".into(), json!(ms / steps));
        }
        line.insert("samples_per_s".into(), json!(rows_per_s));
        if let Some(bytes) = self.learner.mem_bytes() {
            line.insert("mem_bytes".into(), json!(bytes));
        }
        self.ledger.tracker.write(line)?;
        let total = self.learner.total_steps();
        let speed = L::speed(rows_per_s);
        self.log.progress(step, &format!("{}  {speed}", words.short), || {
            format!("step {step:>6}/{total}  {}  step_ms {step_ms:.1}  {speed}", words.long)
        })
    }

    fn validation_is_due(&self) -> bool {
        let State { step, validated, .. } = self.ledger.state;
        step != validated && self.learner.validates_after(step)
    }

    /// False: a signal came first.
    fn validate(&mut self) -> Result<bool> {
        let Some(validated) = self.learner.validate(signal::asked_to_stop)? else {
            return Ok(false);
        };
        let Validated { loss, loss_words, words, metrics, answers } = validated;
        let step = self.ledger.state.step;
        let is_best = self.ledger.validated(loss);
        let picture = if is_best { Some(self.learner.picture(&answers)?) } else { None };
        let mut line = self.learner.line_head(&self.ledger.state);
        line.extend(metrics);
        self.ledger.tracker.write(line)?;
        self.log.say(&format!("validation step {step}  {words}"))?;
        if let Some((key, picture)) = picture {
            let state = self.checkpoint()?;
            self.ledger.tracker.picture(step, key, &picture)?;
            self.ledger.save_best(&state)?;
            self.best_answers = L::keep(answers);
            self.log.say(&format!("best model saved: step {step}, {loss_words}"))?;
        }
        self.ledger.say_if_out_of_patience(self.log)?;
        Ok(true)
    }

    /// All that a checkpoint holds, with what is collected since the last line of metrics.
    fn checkpoint(&mut self) -> Result<Vec<Named>> {
        self.ledger.state.pending = self.learner.pending();
        self.learner.state()
    }

    fn finish(&mut self) -> Result<Outcome<L::Answers>> {
        let state = self.checkpoint()?;
        let checkpoint = self.ledger.save_final(&state)?;
        let State { step, best_val_loss, best_step, .. } = self.ledger.state;
        let best_answers = self.best_answers.take();
        Ok(Outcome { step, best_val_loss, best_step, best_answers, checkpoint })
    }

    fn interrupted<T>(&mut self) -> Result<T> {
        let state = self.checkpoint()?;
        self.ledger.interrupted(&state)
    }
}
