//! What a run is configured by: one struct per section of the TOML, keys named as in the file.
//!
//! `presets/base.toml` holds every key with its meaning and default; `load` merges a preset, a
//! file and `key=value` over it and remembers who set what, `check` refuses values that cannot be
//! meant. Whoever needs to know where a value comes from asks [`Merged`]; nothing after it sees text.

mod check;
mod distill;
mod hints;
mod layer;
mod load;
mod preset;

use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

pub use distill::{
    DEFAULT_DISTILL_PRESET, DISTILL_PRESETS, DistillConfig, DistillData, DistillLoss, DistillModel,
    DistillTrain, Projector, Student, Teacher,
};
pub use layer::{Layer, Setting, Source};
pub use load::{Diff, Merged, Presets, diff, flatten};
pub use preset::{DEFAULT_PRESET, PRESETS};

use crate::Result;
use crate::dtype::DType;
use crate::models::{self, Arch, Compute, ModelShape, Sizes};
use crate::nn::level::Recompute;
use crate::ops::adam::Rule;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    pub preset: String,
    pub model: models::ModelConfig,
    pub train: TrainConfig,
    pub data: DataConfig,
}

/// A configuration that a plan can hold.
pub trait RunConfig: Serialize + DeserializeOwned {
    /// What it is merged from.
    const PRESETS: Presets;

    fn preset(&self) -> &str;
    fn seed(&self) -> u64;

    /// Refuse values that cannot be meant; whatever was merged has been checked.
    fn check(&self) -> Result<()>;

    /// Take keys out of a table that this kind of run, as it is configured there, does not have.
    /// `is_meant` says whether somebody meant a key for it; such a key is refused with the reason.
    fn settle(_table: &mut Table, _is_meant: impl Fn(&str) -> bool) -> Result<()> {
        Ok(())
    }
}

impl RunConfig for Settings {
    const PRESETS: Presets = Presets {
        base_name: "base.toml",
        base: preset::BASE,
        default: DEFAULT_PRESET,
        named: PRESETS,
        command: "hrm train",
    };

    fn preset(&self) -> &str {
        &self.preset
    }

    fn seed(&self) -> u64 {
        self.train.seed
    }

    fn check(&self) -> Result<()> {
        check::check(self)
    }

    fn settle(table: &mut Table, is_meant: impl Fn(&str) -> bool) -> Result<()> {
        match table.get_mut("model") {
            Some(Value::Table(model)) => {
                Arch::of(model)?.settle(model, |key| is_meant(&format!("model.{key}")))
            }
            _ => Ok(()),
        }
    }
}

impl Settings {
    /// `preset` (or the default one), then the file, then `overrides` (`key=value`), checked.
    pub fn load(preset: Option<&str>, file: Option<&Path>, overrides: &[String]) -> Result<Self> {
        Merged::of(preset, file, &Layer::command_line(overrides)?)?.config()
    }

    /// The model's shape for batches of training, over data of these sizes.
    pub fn shape(&self, seq_len: usize, vocab_size: usize, num_puzzle_ids: usize) -> ModelShape {
        let batch_size = self.train.batch_size;
        let sizes = Sizes { batch_size, seq_len, vocab_size, num_puzzle_ids };
        ModelShape { config: self.model.clone(), sizes }
    }

    /// How the model computes.
    pub fn compute(&self) -> Compute {
        let TrainConfig { precision, recompute, seed, .. } = self.train;
        Compute { dtype: precision.dtype(), recompute, seed }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainConfig {
    pub batch_size: usize,
    pub grad_accum: usize,
    pub max_steps: u64,
    pub epochs: u64,
    pub lr: f64,
    pub puzzle_emb_lr: f64,
    pub weight_decay: f64,
    pub puzzle_emb_weight_decay: f64,
    pub warmup_steps: u64,
    pub lr_min_ratio: f64,
    pub beta1: f64,
    pub beta2: f64,
    pub clip: f64,
    pub ema: f64,
    pub optimizer: Rule,
    pub precision: Precision,
    pub recompute: Recompute,
    pub seed: u64,
    pub log_every: u64,
    pub eval_every: u64,
    pub eval_examples: u64,
    pub checkpoint_every: u64,
    pub keep: usize,
    pub patience: u64,
    pub write_pt: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataConfig {
    pub dataset: Dataset,
    pub canvas: usize,
    pub num_aug: usize,
    pub train_puzzles: usize,
    pub test_puzzles: usize,
    pub holdout: Holdout,
    pub seed: u64,
    pub sampler: Sampler,
}

/// A choice between words: the variants in the given case.
macro_rules! words {
    ($($case:literal $name:ident { $($word:ident),+ })+) => {$(
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = $case)]
        pub enum $name { $($word),+ }
    )+};
}

words! {
    "kebab-case" Holdout { Official, TestPairs }
    "snake_case" Sampler { Groups, Shuffle }
    "kebab-case" Dataset { Arc1, Arc2, Sudoku, SudokuExtreme, Maze, MazeHard }
}

/// Element type of what is computed or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    Bf16,
    F32,
}

impl Precision {
    pub fn dtype(self) -> DType {
        match self {
            Self::Bf16 => DType::Bf16,
            Self::F32 => DType::F32,
        }
    }
}
