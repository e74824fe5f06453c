//! What a distillation is configured by: `presets/distill/base.toml` holds every key with its
//! meaning and default. Merged and checked as a training run's, see [`super`].

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::check::require;
use super::preset::{self, Presets};
use super::{Layer, Merged, Precision, RunConfig};
use crate::backend::DeviceKind;
use crate::{Error, Result};

/// What `hrm distill` is configured by; `presets/distill/base.toml` has the default of every key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DistillConfig {
    /// Name of the preset that the rest was merged over.
    pub preset: String,
    /// Which autoencoders.
    pub model: DistillModel,
    /// Weights of the terms of the losses.
    pub loss: DistillLoss,
    /// How they learn.
    pub train: DistillTrain,
    /// Which images they learn from.
    pub data: DistillData,
}

/// Which autoencoders: section `[model]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DistillModel {
    /// Student: tiny_vae (294,403 parameters, 64 numbers per image) | ultra_tiny_vae (53,143, 32) |
    /// tiny_vae_pro (288,259, 64).
    pub student: Student,
    /// Teacher: standard_vae (8,664,195 parameters) | none (the student alone, to compare with).
    pub teacher: Teacher,
    /// Map of the student's code to the teacher's: trained | frozen (random, as in the reference).
    pub projector: Projector,
    /// Perceptual features: teacher (its encoder) | the file of a VGG16's weights.
    pub features: String,
}

/// Weights of the terms of the losses: section `[loss]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DistillLoss {
    /// Weight of the student's reconstruction error.
    pub recon: f64,
    /// Weight of the KL divergence of the student's code from the prior.
    pub kl: f64,
    /// Weight of the distance between the student's and the teacher's code.
    pub latent: f64,
    /// Weight of the distance between the student's and the teacher's images.
    pub output: f64,
    /// Weight of the distance between perceptual features.
    pub perceptual: f64,
    /// Temperature of the latent and output terms; cancels in both.
    pub temperature: f64,
    /// Weight of the KL term beside reconstruction in the teacher's own loss.
    pub teacher_kl: f64,
}

/// How teacher and student learn: section `[train]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DistillTrain {
    /// Images of a batch.
    pub batch_size: usize,
    /// Passes of the student over the training images; 0: max_steps decides.
    pub epochs: u64,
    /// Optimizer steps of the student; 0: epochs decide. Both set: whichever ends first.
    pub max_steps: u64,
    /// Passes of the teacher over the training images, before the student begins.
    pub teacher_epochs: u64,
    /// Student's learning rate after warm-up.
    pub lr: f64,
    /// Teacher's learning rate after warm-up.
    pub teacher_lr: f64,
    /// Decoupled weight decay (AdamW), by the learning rate.
    pub weight_decay: f64,
    /// Optimizer steps over which a learning rate rises linearly from 0, for each of the two.
    pub warmup_steps: u64,
    /// Share of the learning rate that a cosine after warm-up ends at; 1: constant.
    pub lr_min_ratio: f64,
    /// Decay of the optimizer's first moment.
    pub beta1: f64,
    /// Decay of the optimizer's second moment.
    pub beta2: f64,
    /// Largest norm of a gradient, longer ones are cut to it; 0: off.
    pub clip: f64,
    /// Element type to compute in: f32 only.
    pub precision: Precision,
    /// Seed of initial values, order of images and noise.
    pub seed: u64,
    /// Steps per line of metrics.jsonl.
    pub log_every: u64,
    /// Epochs between validations of the student; 0: only at the end.
    pub eval_every: u64,
    /// Steps between checkpoints; 0: only at the end.
    pub checkpoint_every: u64,
    /// Step checkpoints to keep.
    pub keep: usize,
    /// Validations without improvement before stopping; 0: never.
    pub patience: u64,
}

/// Which images: section `[data]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DistillData {
    /// Images: fashion-mnist | cifar10 | path of an archive or a folder.
    pub dataset: String,
    /// Most images to train on; 0: all.
    pub train_images: usize,
    /// Most images to test on; 0: all.
    pub test_images: usize,
}

/// The autoencoder that is distilled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Student {
    /// TinyVAE32: 294,403 parameters, 64 numbers per image.
    TinyVae,
    /// UltraTinyVAE32: 53,143 parameters, 32 numbers per image.
    UltraTinyVae,
    /// A linear autoencoder that residual branches bend: 288,259 parameters, 64 numbers per image.
    TinyVaePro,
}

/// The autoencoder that is learnt from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Teacher {
    /// StandardVAE: 8,664,195 parameters, 512 numbers per image.
    StandardVae,
    /// The student learns alone.
    None,
}

/// The map of the student's code to the teacher's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Projector {
    /// Learnt with the student.
    Trained,
    /// Random, as in the reference.
    Frozen,
}

impl DistillConfig {
    /// `preset` (or the default one), then the file, then `overrides` (`key=value`), checked.
    pub fn load(preset: Option<&str>, file: Option<&Path>, overrides: &[String]) -> Result<Self> {
        let merged = Merged::of(preset, file, &Layer::command_line(overrides)?)?;
        merged.on(DeviceKind::Cpu).config()
    }
}

impl RunConfig for DistillConfig {
    const PRESETS: Presets = preset::DISTILL;

    fn preset(&self) -> &str {
        &self.preset
    }

    fn seed(&self) -> u64 {
        self.train.seed
    }

    fn fastest_precision(_: DeviceKind) -> Precision {
        Precision::F32
    }

    fn check(&self) -> Result<()> {
        let Self { model: m, loss: l, train: t, .. } = self;
        let at_least_1 = [
            ("train.batch_size", t.batch_size as u64),
            ("train.log_every", t.log_every),
            ("train.keep", t.keep as u64),
        ];
        for (key, value) in at_least_1 {
            require(value >= 1, key, value, "must be at least 1")?;
            require(value < 1 << 31, key, value, "is absurdly large")?;
        }
        let positive = [
            ("train.lr", t.lr),
            ("train.teacher_lr", t.teacher_lr),
            ("loss.temperature", l.temperature),
        ];
        for (key, value) in positive {
            require(value.is_finite(), key, value, "must be a finite number")?;
            require(value > 0.0, key, value, "must be positive")?;
        }
        let not_negative = [
            ("loss.recon", l.recon),
            ("loss.kl", l.kl),
            ("loss.latent", l.latent),
            ("loss.output", l.output),
            ("loss.perceptual", l.perceptual),
            ("loss.teacher_kl", l.teacher_kl),
            ("train.weight_decay", t.weight_decay),
            ("train.clip", t.clip),
        ];
        for (key, value) in not_negative {
            require(value.is_finite(), key, value, "must be a finite number")?;
            require(value >= 0.0, key, value, "must be 0 or more")?;
        }
        let share = t.lr_min_ratio;
        let within = (0.0..=1.0).contains(&share);
        require(within, "train.lr_min_ratio", share, "must be between 0 and 1")?;
        for (key, value) in [("train.beta1", t.beta1), ("train.beta2", t.beta2)] {
            require((0.0..1.0).contains(&value), key, value, "must be at least 0 and below 1")?;
        }
        if t.max_steps == 0 && t.epochs == 0 {
            return Err(Error::invalid(
                "train.max_steps and train.epochs are both 0: set one, for example --epochs 10",
            ));
        }
        if t.precision != Precision::F32 {
            return Err(Error::invalid(
                "train.precision=bf16: the autoencoders compute in f32 only, leave it out",
            ));
        }
        let no_teacher = m.teacher == Teacher::None;
        if no_teacher && l.recon == 0.0 {
            let what = "is 0, and without a teacher nothing else tells the student what to draw";
            return require(false, "loss.recon", l.recon, what);
        }
        Ok(())
    }
}
