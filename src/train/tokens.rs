//! Learners that answer rows of tokens with rows of tokens: HRM, TRM and the models beside them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use serde_json::{Map, Value, json};

use super::learner::{Done, Learner, Validated, Words, tenth};
use super::metrics::Sums;
use super::optimizer::Rates;
use super::pictures;
use super::schedule::Schedule;
use super::trainer::Trainer;
use super::validate::{CLOSING_EXAMPLES, SPLIT, Validator};
use super::{init, setup};
use crate::backend::{Device, DeviceKind};
use crate::config::{Optimizer, Precision, Settings};
use crate::data::{BatchOptions, DataSet, Loader, Position};
use crate::eval::Evaluation;
use crate::io::units::compact_time;
use crate::models::{Depth, ModelShape};
use crate::ops::act_halt::metric;
use crate::run::checkpoint::{Named, State};
use crate::run::folder::RunFolder;
use crate::run::ledger::Policy;
use crate::run::log::Log;
use crate::run::plan::Plan;
use crate::track::Picture;
use crate::{Error, Result};

pub struct TokenLearner<'a> {
    plan: &'a Plan,
    data: Arc<DataSet>,
    trainer: Trainer,
    schedule: Schedule,
    /// Rows that one pass over the data yields.
    rows_per_pass: f64,
    /// From [`begin`](Learner::begin) on.
    loader: Option<Loader>,
    /// None where the data has nothing to validate on.
    validator: Option<Validator>,
    pending: Sums,
    /// For each step in flight: where the data goes on after it, and how long it waited for data.
    waits: VecDeque<(Position, f64)>,
}

impl<'a> TokenLearner<'a> {
    /// A new run in `folder` begins with the weights that the plan names, if it does. `shape` is
    /// [`setup::shape`] of the plan and the data.
    pub fn new(
        plan: &'a Plan,
        folder: &RunFolder,
        data: Arc<DataSet>,
        shape: &ModelShape,
        device: &Device,
        log: &mut Log,
    ) -> Result<Self> {
        let config = &plan.config;
        let (_, rows_per_pass) = setup::sampler(config, &data)?;
        let trainer = Trainer::new(device, shape, setup::options(config))?;
        if let Some(path) = &plan.init
            && folder.checkpoints.is_empty()?
        {
            for line in init::start_from(path, plan, &trainer, &data)? {
                log.say(&line)?;
            }
        }
        Ok(Self {
            schedule: setup::schedule(config, rows_per_pass),
            plan,
            data,
            trainer,
            rows_per_pass,
            loader: None,
            validator: None,
            pending: Sums::default(),
            waits: VecDeque::new(),
        })
    }

    fn rates(&self, step: u64) -> Rates {
        let train = &self.plan.config.train;
        Rates {
            lr: self.schedule.lr(train.lr, step as i64),
            puzzle_emb_lr: self.schedule.lr(train.puzzle_emb_lr, step as i64),
            muon_lr: self.schedule.lr(train.muon_lr, step as i64),
        }
    }
}

impl Learner for TokenLearner<'_> {
    type Config = Settings;
    type Answers = Evaluation;

    const VALIDATION_KEY: &'static str = "val_lm_loss";

    /// Model keys, but for those that change neither a shape nor what the weights mean.
    fn is_binding(key: &str) -> bool {
        let free = [
            "model.halt_exploration_prob",
            "model.start_noise",
            "model.depth_curriculum",
            "model.dropout",
        ];
        key.starts_with("model.") && !free.contains(&key)
    }

    fn policy(config: &Settings) -> Policy {
        let t = &config.train;
        Policy {
            log_every: t.log_every,
            checkpoint_every: t.checkpoint_every,
            keep: t.keep,
            patience: t.patience,
            best: t.best,
            write_pt: t.write_pt,
        }
    }

    fn calmer(config: &Settings) -> Vec<String> {
        let t = &config.train;
        let mut settings = vec![tenth("train.lr", t.lr)];
        settings
            .extend((t.optimizer == Optimizer::NorMuon).then(|| tenth("train.muon_lr", t.muon_lr)));
        settings.extend((t.clip == 0.0).then(|| "train.clip=1".to_owned()));
        settings.extend((t.precision != Precision::F32).then(|| "train.precision=f32".to_owned()));
        settings
    }

    fn data_digest(&self) -> String {
        self.data.digest()
    }

    fn total_steps(&self) -> u64 {
        self.schedule.total_steps
    }

    fn state(&self) -> Result<Vec<Named>> {
        self.trainer.state()
    }

    fn pending(&self) -> Vec<f64> {
        self.pending.to_vec()
    }

    fn begin(&mut self, state: &State, log: &mut Log) -> Result<()> {
        let config = &self.plan.config;
        self.trainer.loaded(state.step)?;
        self.pending = Sums::from_slice(&state.pending)
            .ok_or_else(|| Error::invalid("the checkpoint's sums are of another version"))?;
        if self.data.split(SPLIT).is_ok_and(|s| s.examples() > 0) {
            let (data, most) = (self.data.clone(), config.train.eval_examples);
            let layout = config.data.layout;
            self.validator = Validator::new(&self.trainer, data, most, layout)?;
            if self.validator.is_none() {
                log.say(
                    "no answer of the test split is known: no validation, no best model; the last \
                     one counts",
                )?;
            }
        } else {
            log.say("the data has no test split: no validation, no best model")?;
        }
        let (sampler, _) = setup::sampler(config, &self.data)?;
        let (data, from) = (self.data.clone(), state.position);
        let ahead = 2 * config.train.grad_accum;
        let options = BatchOptions { ignore_pad: self.trainer.model.dims().ignores_pad };
        let slots = self.trainer.slots().map(|slots| (config.data.layout, slots));
        self.loader =
            Some(Loader::train(data, setup::SPLIT, sampler, slots, options, from, ahead)?);
        Ok(())
    }

    fn submit(&mut self, step: u64) -> Result<()> {
        let accum = self.plan.config.train.grad_accum;
        let mut batches = Vec::with_capacity(accum);
        let (mut next, mut wait_ms) = (Position::default(), 0.0);
        for _ in 0..accum {
            let loaded = self.loader.as_mut().map(Loader::next_batch).transpose()?.flatten();
            let loaded = loaded.ok_or_else(|| Error::invalid("the data loader ended early"))?;
            (next, wait_ms) = (loaded.next, wait_ms + loaded.wait_ms);
            batches.push(loaded.batch);
        }
        if self.trainer.model.has_depth_curriculum() {
            self.trainer.set_depth(Depth::at(step, self.schedule.total_steps));
        }
        self.trainer.submit(batches, self.rates(step))?;
        self.waits.push_back((next, wait_ms));
        Ok(())
    }

    fn in_flight(&self) -> usize {
        self.trainer.in_flight()
    }

    fn may_run_ahead(&self) -> usize {
        match self.trainer.model.device().kind() {
            DeviceKind::Cpu => 0,
            DeviceKind::Cuda => 1,
        }
    }

    fn finish(&mut self) -> Result<Option<Done>> {
        let Some(report) = self.trainer.finish()? else { return Ok(None) };
        let (next, wait_ms) = self.waits.pop_front().expect("one for each step in flight");
        self.pending.add(&report);
        Ok(Some(Done { rows: report.rows, next, wait_ms: Some(wait_ms) }))
    }

    fn line_head(&self, state: &State) -> Map<String, Value> {
        let epoch = (state.samples as f64 / self.rows_per_pass.max(1.0)) as u64;
        let head = [("step", state.step), ("epoch", epoch), ("samples", state.samples)];
        head.into_iter().map(|(name, value)| (name.to_owned(), json!(value))).collect()
    }

    fn write_metrics(&mut self, step: u64, line: &mut Map<String, Value>) -> Words {
        let (sums, lr) = (std::mem::take(&mut self.pending), self.rates(step).lr);
        sums.write("", line);
        line.insert("grad_norm".into(), json!(sums.grad_norm()));
        line.insert("lr".into(), json!(lr));
        let exact = or_dash(sums.of_halted(metric::EXACT_ACCURACY));
        let act_steps = or_dash(sums.of_halted(metric::STEPS));
        let short = format!("lm {:.4}  exact {exact}  act {act_steps}", sums.lm_loss());
        let long = format!("{short}  grad {:.2}  lr {lr:.1e}", sums.grad_norm());
        Words { short, long }
    }

    fn speed(rows_per_s: f64) -> String {
        format!("{rows_per_s:.1} samples/s")
    }

    fn mem_bytes(&self) -> Option<usize> {
        Some(self.trainer.model.device().usage().span_bytes)
    }

    fn validates_after(&self, step: u64) -> bool {
        let every = self.plan.config.train.eval_every;
        let is_time = step == self.total_steps() || (every > 0 && step.is_multiple_of(every));
        self.validator.is_some() && is_time
    }

    fn validate(&mut self, stop: fn() -> bool) -> Result<Option<Validated<Evaluation>>> {
        let Some(validator) = &self.validator else { return Ok(None) };
        let start = Instant::now();
        let Some((sums, answers)) = validator.run(&self.trainer, stop)? else { return Ok(None) };
        let (loss, seconds) = (sums.lm_loss(), start.elapsed().as_secs_f64());
        let mut metrics = Map::new();
        sums.write("val_", &mut metrics);
        // In evaluation there is no second Q target.
        metrics.shift_remove("val_q_continue_loss");
        metrics.insert("val_samples".into(), json!(sums.rows as u64));
        metrics.insert("val_samples_per_s".into(), json!(sums.rows / seconds));
        let words = format!(
            "lm {loss:.4}  accuracy {:.4}  exact {:.4}  ({} examples, {})",
            sums.of_halted(metric::ACCURACY),
            sums.of_halted(metric::EXACT_ACCURACY),
            sums.rows,
            compact_time(seconds)
        );
        let loss_words = format!("validation loss {loss:.4}");
        Ok(Some(Validated { loss, loss_words, words, metrics, answers }))
    }

    fn keep(answers: Evaluation) -> Option<Evaluation> {
        (answers.examples.len() <= CLOSING_EXAMPLES).then_some(answers)
    }

    fn picture(&self, answers: &Evaluation) -> Result<(&'static str, Picture)> {
        Ok((pictures::PREDICTIONS, pictures::predictions(&self.data, answers)?))
    }
}

/// No row halted in these steps: there is nothing to say about them.
fn or_dash(x: f64) -> String {
    if x.is_nan() { "-".into() } else { format!("{x:.3}") }
}
