//! A run's counters and the files that keep them: lines of metrics, checkpoints, the best model.
//! What is counted and how a model is judged is the loop's business; when it is saved, and how a
//! run goes on from there, is this one's.

use std::path::PathBuf;

use serde_json::Value;

use super::checkpoint::{self, Meta, Named, State};
use super::folder::RunFolder;
use super::log::Log;
use super::plan::Plan;
use super::resume::resume;
use super::tracking;
use crate::config::{Best, RunConfig};
use crate::track::Tracker;
use crate::{Error, Result};

/// When to tell, when to save, and when to give up.
#[derive(Clone, Copy)]
pub struct Policy {
    pub log_every: u64,
    /// 0: only at the end.
    pub checkpoint_every: u64,
    /// Step checkpoints to keep.
    pub keep: usize,
    /// Validations without improvement; 0: any number.
    pub patience: u64,
    pub best: Best,
    /// Whether the best model's weights stand beside its checkpoint for PyTorch too.
    pub write_pt: bool,
}

/// What one kind of run calls things.
pub struct Kind {
    /// The command that goes on with a run, up to its options.
    pub command: String,
    /// Whether another value of this key of the plan is another run.
    pub is_binding: fn(&str) -> bool,
    /// Stands in those lines of metrics that tell of a validation.
    pub validation_key: &'static str,
    /// Other settings under which a run may go on whose numbers grew beyond all bounds.
    pub calmer: Vec<String>,
}

pub struct Ledger<'a> {
    pub state: State,
    pub tracker: Tracker,
    folder: &'a RunFolder,
    policy: Policy,
    command: String,
    calmer: Vec<String>,
    plan_text: String,
    /// Step of the newest checkpoint of any name, and of the newest step checkpoint.
    saved: u64,
    step_saved: u64,
}

impl<'a> Ledger<'a> {
    /// `state` is that of a new run, and `tensors` all that a run goes on from: both are
    /// overwritten if there is a checkpoint.
    pub fn open<C: RunConfig>(
        plan: &Plan<C>,
        folder: &'a RunFolder,
        policy: Policy,
        kind: Kind,
        state: State,
        tensors: &[Named],
        log: &mut Log,
    ) -> Result<Self> {
        let mut state = state;
        let mut reports = vec![];
        let newest = folder.checkpoints.newest(|line| reports.push(line))?;
        for line in &reports {
            log.say(&format!("warning: {line}"))?;
        }
        let mut step_saved = 0;
        if let Some(reader) = newest {
            let digest = state.data_digest.clone();
            let (loaded, changed) = resume(&reader, plan, &digest, tensors, kind.is_binding)?;
            state = loaded;
            if reader.path() == folder.checkpoints.step(state.step) {
                step_saved = state.step;
            }
            log.say(&format!("going on from step {}: {}", state.step, reader.path().display()))?;
            for line in changed {
                log.say(&format!("changed since that checkpoint: {line}"))?;
            }
        }
        // A kill may have come between the best checkpoint and its copy for PyTorch.
        if policy.write_pt
            && let Some(best) = folder.checkpoints.found_best()?
            && let Err(e) = checkpoint::write_pt(&best)
        {
            log.say(&format!("warning: the best model is not written for PyTorch: {e}"))?;
        }
        folder.store(plan)?;
        let keep = |line: &Value| was_written_by(&state, line, kind.validation_key);
        let tracker = tracking::open(plan, folder, state.step, keep, log)?;
        Ok(Self {
            saved: state.step,
            state,
            tracker,
            folder,
            policy,
            command: kind.command,
            calmer: kind.calmer,
            plan_text: plan.to_toml()?,
            step_saved,
        })
    }

    /// The loop begins: it will end at step `total`, if not before.
    pub fn begin(&self, total: u64, log: &mut Log) -> Result<()> {
        log.start(self.state.step, total);
        self.folder.store_steps(total)
    }

    pub fn logs_after(&self, step: u64) -> bool {
        step.is_multiple_of(self.policy.log_every)
    }

    pub fn saves_after(&self, step: u64) -> bool {
        let every = self.policy.checkpoint_every;
        every > 0 && step.is_multiple_of(every)
    }

    /// Whether this step asks for a checkpoint that is not there yet.
    pub fn is_save_due(&self) -> bool {
        let step = self.state.step;
        self.saves_after(step) && step != self.step_saved
    }

    /// Book a validation. True: its model is the one to keep so far, and
    /// [`save_best`](Self::save_best) comes next.
    pub fn validated(&mut self, loss: f64) -> bool {
        let state = &mut self.state;
        state.validated = state.step;
        let is_lowest = loss < state.best_val_loss;
        if is_lowest {
            (state.best_val_loss, state.best_step) = (loss, state.step);
            state.waited = 0;
        } else {
            state.waited += 1;
        }
        match self.policy.best {
            Best::Loss => is_lowest,
            Best::Last => loss.is_finite(),
        }
    }

    pub fn is_out_of_patience(&self) -> bool {
        self.policy.patience > 0 && self.state.waited >= self.policy.patience
    }

    pub fn say_if_out_of_patience(&self, log: &mut Log) -> Result<()> {
        let State { waited, best_step, .. } = self.state;
        match self.is_out_of_patience() {
            true => log.say(&format!(
                "stopping early: {waited} validations without improvement since step {best_step}"
            )),
            false => Ok(()),
        }
    }

    pub fn save_best(&mut self, tensors: &[Named]) -> Result<()> {
        let best = self.folder.checkpoints.best();
        self.save(best.clone(), tensors)?;
        if self.policy.write_pt { checkpoint::write_pt(&best) } else { Ok(()) }
    }

    pub fn save_step(&mut self, tensors: &[Named]) -> Result<()> {
        self.save(self.folder.checkpoints.step(self.state.step), tensors)?;
        self.step_saved = self.state.step;
        self.folder.checkpoints.prune(self.policy.keep)
    }

    /// The run is complete. Returns where its last state is.
    pub fn save_final(&mut self, tensors: &[Named]) -> Result<PathBuf> {
        let checkpoint = self.folder.checkpoints.r#final();
        self.save(checkpoint.clone(), tensors)?;
        // A kill between saving and pruning leaves one too many.
        self.folder.checkpoints.prune(self.policy.keep)?;
        Ok(checkpoint)
    }

    /// Save, and say how to go on.
    pub fn interrupted<T>(&mut self, tensors: &[Named]) -> Result<T> {
        self.save_step(tensors)?;
        let (step, way_on) = (self.state.step, self.way_on());
        Err(Error::Interrupted(format!("interrupted; step {step} is saved. {way_on}")))
    }

    /// Tell the trackers how the run ended, and the user of a bad step how to go on.
    pub fn close<T>(&mut self, outcome: Result<T>) -> Result<T> {
        let closed = self.tracker.finish(tracking::exit_code(&outcome));
        match outcome {
            Err(Error::NonFinite { step, what }) => {
                let (saved, command, dir) =
                    (self.saved, &self.command, self.folder.dir().display());
                let calmer = self.calmer.join(" or ");
                let what = format!(
                    "{what}; nothing was saved after step {saved}. The same settings end here again. To \
                     go on: {command} --run-dir {dir} with one of {calmer} (and else the same settings); \
                     where the saved weights have grown too large already, the same with --fresh"
                );
                Err(Error::NonFinite { step, what })
            }
            Ok(outcome) => closed.map(|()| outcome),
            other => other,
        }
    }

    fn save(&mut self, path: PathBuf, tensors: &[Named]) -> Result<()> {
        self.tracker.sync()?;
        let meta = Meta {
            program: crate::PROGRAM.into(),
            plan: self.plan_text.clone(),
            state: self.state.clone(),
        };
        checkpoint::save(&path, &meta, tensors)?;
        self.saved = self.state.step;
        Ok(())
    }

    fn way_on(&self) -> String {
        let (command, dir) = (&self.command, self.folder.dir().display());
        format!("To go on: {command} --run-dir {dir} (and the same settings)")
    }
}

/// Whether a line of metrics.jsonl precedes the checkpoint that holds `state`.
fn was_written_by(state: &State, line: &Value, validation_key: &str) -> bool {
    let is_validation = line.get(validation_key).is_some();
    let until = if is_validation { state.validated } else { state.step };
    line["step"].as_u64().is_some_and(|step| step <= until)
}
