//! What a distillation is configured by: `presets/distill/base.toml` holds every key with its meaning
//! and default. Merged and checked as a training run's, see [`super`].

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::check::require;
use super::{Layer, Merged, Precision, Presets, RunConfig};
use crate::{Error, Result};

pub const DEFAULT_DISTILL_PRESET: &str = "tiny-vae";

macro_rules! presets {
    ($($name:literal)+) => {
        /// Name and TOML text, in the order in which help lists them.
        pub const DISTILL_PRESETS: &[(&str, &str)] =
            &[$(($name, include_str!(concat!("../../presets/distill/", $name, ".toml")))),+];
    };
}

presets! { "tiny-vae" "ultra-tiny-vae" "tiny-vae-pro" }

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DistillConfig {
    pub preset: String,
    pub model: DistillModel,
    pub loss: DistillLoss,
    pub train: DistillTrain,
    pub data: DistillData,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DistillModel {
    pub student: Student,
    pub teacher: Teacher,
    pub projector: Projector,
    /// `teacher` or a path.
    pub features: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DistillLoss {
    pub recon: f64,
    pub kl: f64,
    pub latent: f64,
    pub output: f64,
    pub perceptual: f64,
    pub temperature: f64,
    pub teacher_kl: f64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DistillTrain {
    pub batch_size: usize,
    pub epochs: u64,
    pub max_steps: u64,
    pub teacher_epochs: u64,
    pub lr: f64,
    pub teacher_lr: f64,
    pub weight_decay: f64,
    pub warmup_steps: u64,
    pub lr_min_ratio: f64,
    pub beta1: f64,
    pub beta2: f64,
    pub clip: f64,
    pub precision: Precision,
    pub seed: u64,
    pub log_every: u64,
    pub eval_every: u64,
    pub checkpoint_every: u64,
    pub keep: usize,
    pub patience: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DistillData {
    pub dataset: String,
    pub train_images: usize,
    pub test_images: usize,
}

macro_rules! words {
    ($($name:ident { $($word:ident),+ })+) => {$(
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum $name { $($word),+ }
    )+};
}

words! {
    Student { TinyVae, UltraTinyVae, TinyVaePro }
    Teacher { StandardVae, None }
    Projector { Trained, Frozen }
}

impl DistillConfig {
    /// `preset` (or the default one), then the file, then `overrides` (`key=value`), checked.
    pub fn load(preset: Option<&str>, file: Option<&Path>, overrides: &[String]) -> Result<Self> {
        Merged::of(preset, file, &Layer::command_line(overrides)?)?.config()
    }
}

impl RunConfig for DistillConfig {
    const PRESETS: Presets = Presets {
        base_name: "distill/base.toml",
        base: include_str!("../../presets/distill/base.toml"),
        default: DEFAULT_DISTILL_PRESET,
        named: DISTILL_PRESETS,
        command: "hrm distill",
    };

    fn preset(&self) -> &str {
        &self.preset
    }

    fn seed(&self) -> u64 {
        self.train.seed
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
