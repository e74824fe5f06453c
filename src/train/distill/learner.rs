//! Teacher and student as one learner: the steps of the phase at hand, the student's validation.
//! Steps count over both phases.

use serde_json::{Map, Value, json};

use super::order::{Length, Order};
use super::trainer::{StepReport, Trainer};
use crate::config::{Best, DistillConfig};
use crate::data::Position;
use crate::data::images::{IMAGE_ELEMS, ImageSet};
use crate::eval::images::{Quality, pixels};
use crate::run::checkpoint::{Named, Side, State};
use crate::run::ledger::Policy;
use crate::run::log::Log;
use crate::track::Picture;
use crate::train::learner::{Done, Learner, Validated, Words, tenth};
use crate::train::pictures;
use crate::train::schedule::{Decay, Schedule};
use crate::{Error, Result};

/// Images per pass of a validation.
const VALIDATION_BATCH: usize = 250;

pub struct Distillation<'a> {
    config: &'a DistillConfig,
    set: &'a ImageSet,
    trainer: Trainer,
    order: Order,
    length: Length,
    /// The step that was made and is not booked yet.
    made: Option<StepReport>,
    pending: Pending,
}

/// Sums over the steps since the last line of metrics, which never spans two phases.
#[derive(Default)]
struct Pending {
    /// Steps, gradient norms, then the losses.
    sums: Vec<f64>,
    names: Vec<&'static str>,
}

impl Pending {
    fn add(&mut self, report: &StepReport) {
        self.names = report.losses.iter().map(|(name, _)| *name).collect();
        self.sums.resize(2 + self.names.len(), 0.0);
        let losses = report.losses.iter().map(|(_, loss)| *loss);
        let values = [1.0, report.grad_norm].into_iter().chain(losses);
        self.sums.iter_mut().zip(values).for_each(|(sum, v)| *sum += v);
    }
}

impl<'a> Distillation<'a> {
    pub fn new(config: &'a DistillConfig, set: &'a ImageSet, trainer: Trainer) -> Self {
        Self {
            length: Length::of(config, set.train.n),
            order: Order::default(),
            pending: Pending::default(),
            made: None,
            config,
            set,
            trainer,
        }
    }

    /// Phase of step number `step`, and its number in that phase; both count from 1.
    fn phase(&self, step: u64) -> (Side, u64) {
        let (phase, made) = self.length.phase(step.saturating_sub(1));
        (phase, made + 1)
    }

    fn lr(&self, step: u64) -> f64 {
        let train = &self.config.train;
        let (phase, number) = self.phase(step);
        let (base, total_steps) = match phase {
            Side::Teacher => (train.teacher_lr, self.length.teacher_steps),
            Side::Student => (train.lr, self.length.student_steps),
        };
        let (warmup_steps, min_ratio) = (train.warmup_steps, train.lr_min_ratio);
        let decay = Decay::Cosine;
        Schedule { warmup_steps, total_steps, min_ratio, decay }.lr(base, number as i64)
    }
}

impl Learner for Distillation<'_> {
    type Config = DistillConfig;
    /// The first test images and their reconstructions.
    type Answers = [Vec<f32>; 2];

    const VALIDATION_KEY: &'static str = "val_mse";

    /// Keys on which the state depends, beside the shapes of its tensors.
    fn is_binding(key: &str) -> bool {
        let steps = ["train.teacher_epochs", "train.batch_size"];
        key.starts_with("model.") || steps.contains(&key)
    }

    fn policy(config: &DistillConfig) -> Policy {
        let t = &config.train;
        Policy {
            log_every: t.log_every,
            checkpoint_every: t.checkpoint_every,
            keep: t.keep,
            patience: t.patience,
            best: Best::Loss,
            write_pt: false,
        }
    }

    fn calmer(config: &DistillConfig) -> Vec<String> {
        let t = &config.train;
        let rates = [("train.lr", t.lr), ("train.teacher_lr", t.teacher_lr)];
        let mut settings: Vec<String> = rates.iter().map(|(key, lr)| tenth(key, *lr)).collect();
        settings.extend((t.clip == 0.0).then(|| "train.clip=1".to_owned()));
        settings
    }

    fn data_digest(&self) -> String {
        self.set.digest()
    }

    fn total_steps(&self) -> u64 {
        self.length.total()
    }

    fn phase_end(&self, step: u64) -> u64 {
        match self.phase(step).0 {
            Side::Teacher => self.length.teacher_steps,
            Side::Student => self.length.total(),
        }
    }

    fn state(&self) -> Result<Vec<Named>> {
        self.trainer.state()
    }

    fn pending(&self) -> Vec<f64> {
        self.pending.sums.clone()
    }

    fn begin(&mut self, state: &State, _: &mut Log) -> Result<()> {
        self.pending.sums = state.pending.clone();
        Ok(())
    }

    fn submit(&mut self, step: u64) -> Result<()> {
        let images = self.order.batch(&self.length, self.config.train.seed, step - 1);
        let mut x = Vec::with_capacity(images.len() * IMAGE_ELEMS);
        images.iter().for_each(|i| x.extend(self.set.train.image(*i as usize)));
        let ((phase, number), lr) = (self.phase(step), self.lr(step));
        let report = self.trainer.step(phase, &x, number, lr);
        // A phase counts its own steps; the run's are what the files are named by.
        let report = report.map_err(|e| match e {
            Error::NonFinite { what, .. } => Error::NonFinite { step, what },
            other => other,
        })?;
        self.made = Some(report);
        Ok(())
    }

    fn in_flight(&self) -> usize {
        self.made.is_some() as usize
    }

    fn finish(&mut self) -> Result<Option<Done>> {
        let Some(report) = self.made.take() else { return Ok(None) };
        self.pending.add(&report);
        // Which images a step takes follows from its number.
        let next = Position::default();
        Ok(Some(Done { rows: self.length.batch, next, wait_ms: None }))
    }

    fn line_head(&self, state: &State) -> Map<String, Value> {
        let (phase, number) = self.phase(state.step);
        let mut line = Map::new();
        line.insert("step".into(), json!(state.step));
        line.insert("phase".into(), json!(phase.name()));
        line.insert("epoch".into(), json!(number / self.length.steps_per_epoch));
        line.insert("samples".into(), json!(state.samples));
        line
    }

    fn write_metrics(&mut self, step: u64, line: &mut Map<String, Value>) -> Words {
        let Pending { sums, names } = std::mem::take(&mut self.pending);
        let [steps, grad_norm, losses @ ..] = &sums[..] else { return Words::default() };
        let lr = self.lr(step);
        let mut short = self.phase(step).0.name().to_owned();
        for (name, sum) in names.iter().zip(losses) {
            let mean = sum / steps;
            line.insert((*name).into(), json!(mean));
            short += &format!("  {name} {mean:.5}");
        }
        line.insert("grad_norm".into(), json!(grad_norm / steps));
        line.insert("lr".into(), json!(lr));
        let long = format!("{short}  lr {lr:.1e}");
        Words { short, long }
    }

    fn speed(rows_per_s: f64) -> String {
        format!("{rows_per_s:.0} images/s")
    }

    fn validates_after(&self, step: u64) -> bool {
        let (phase, made) = self.length.phase(step);
        let every = self.config.train.eval_every * self.length.steps_per_epoch;
        let is_time = every > 0 && made > 0 && made.is_multiple_of(every);
        phase == Side::Student && (is_time || step == self.length.total())
    }

    fn validate(&mut self, stop: fn() -> bool) -> Result<Option<Validated<Self::Answers>>> {
        let (test, mut quality, mut first) = (&self.set.test, Quality::default(), None);
        for from in (0..test.n).step_by(VALIDATION_BATCH) {
            if stop() {
                return Ok(None);
            }
            let x = pixels(test, from..(from + VALIDATION_BATCH).min(test.n));
            let (mu, _) = self.trainer.encode(Side::Student, &x)?;
            let y = self.trainer.decode(Side::Student, &mu)?;
            quality.add(&x, &y);
            first.get_or_insert([x, y]);
        }
        let (mse, db, ssim) = (quality.mse(), quality.psnr_db(), quality.ssim());
        let mut metrics = Map::new();
        for (name, value) in [("val_mse", mse), ("val_psnr_db", db), ("val_ssim", ssim)] {
            metrics.insert(name.into(), json!(value));
        }
        metrics.insert("val_samples".into(), json!(quality.images()));
        let words =
            format!("MSE {mse:.6}  PSNR {db:.2} dB  SSIM {ssim:.4}  ({} images)", quality.images());
        let loss_words = format!("test MSE {mse:.6}");
        let answers = first.unwrap_or_default();
        Ok(Some(Validated { loss: mse, loss_words, words, metrics, answers }))
    }

    fn picture(&self, [x, y]: &Self::Answers) -> Result<(&'static str, Picture)> {
        Ok((pictures::RECONSTRUCTIONS, pictures::reconstructions(x, y)?))
    }
}
