//! What a run is configured by: one struct per section of the TOML, keys named as in the file.
//!
//! `presets/base.toml` holds every key with its meaning and default; `load` merges a preset, a
//! file and `key=value` over it and remembers who set what, `check` refuses values that cannot be
//! meant. Whoever needs to know where a value comes from asks [`Merged`]; nothing after it sees
//! text.

#![warn(missing_docs)]

mod check;
mod distill;
mod hints;
mod layer;
mod load;
mod precision;
mod preset;
mod table;

use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

pub use distill::{
    DistillConfig, DistillData, DistillLoss, DistillModel, DistillTrain, Projector, Student,
    Teacher,
};
pub use layer::{Layer, Setting, Source};
pub use load::Merged;
pub use precision::{PRECISION, Precision};
pub use preset::{DEFAULT_DISTILL_PRESET, DEFAULT_PRESET, DISTILL_PRESETS, PRESETS, Presets};
pub use table::{Diff, diff, flatten};

use crate::Result;
use crate::backend::DeviceKind;
use crate::data::builders::arc::Holdout;
use crate::data::{Order, RowLayout};
use crate::models::{Arch, Compute, ModelConfig, ModelShape, Sizes};
use crate::nn::level::Recompute;

/// What `hrm train` is configured by; `presets/base.toml` has the default of every key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Name of the preset that the rest was merged over.
    pub preset: String,
    /// Which model, and its shape.
    pub model: ModelConfig,
    /// How it learns.
    pub train: TrainConfig,
    /// What it learns from.
    pub data: DataConfig,
}

/// A configuration that a plan can hold.
pub trait RunConfig: Clone + Serialize + DeserializeOwned {
    /// What it is merged from.
    const PRESETS: Presets;

    /// Name of the preset that it was merged over.
    fn preset(&self) -> &str;

    /// Seed of whatever is random in the run.
    fn seed(&self) -> u64;

    /// Refuse values that cannot be meant; whatever was merged has been checked.
    fn check(&self) -> Result<()>;

    /// What `train.precision=auto` becomes.
    fn fastest_precision(device: DeviceKind) -> Precision;

    /// Take keys out of a table that this kind of run, as it is configured there, does not have.
    /// `is_meant` says whether somebody meant a key for it; such a key is refused with the reason.
    fn settle(_table: &mut Table, _is_meant: impl Fn(&str) -> bool) -> Result<()> {
        Ok(())
    }
}

impl RunConfig for Settings {
    const PRESETS: Presets = preset::TRAIN;

    fn preset(&self) -> &str {
        &self.preset
    }

    fn seed(&self) -> u64 {
        self.train.seed
    }

    fn check(&self) -> Result<()> {
        check::check(self)
    }

    fn fastest_precision(device: DeviceKind) -> Precision {
        Precision::fastest(device)
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
    /// `preset` (or the default one), then the file, then `overrides` (`key=value`), checked; what
    /// is left to the device is what suits this CPU.
    pub fn load(preset: Option<&str>, file: Option<&Path>, overrides: &[String]) -> Result<Self> {
        let merged = Merged::of(preset, file, &Layer::command_line(overrides)?)?;
        merged.on(DeviceKind::Cpu).config()
    }

    /// The model's shape for batches of training, over data of these sizes.
    pub fn shape(&self, seq_len: usize, vocab_size: usize, num_puzzle_ids: usize) -> ModelShape {
        let batch_size = self.train.batch_size;
        let sizes = Sizes { batch_size, seq_len, vocab_size, num_puzzle_ids };
        ModelShape::new(self.model.clone(), sizes)
    }

    /// How the model computes.
    pub fn compute(&self) -> Compute {
        let TrainConfig { precision, recompute, seed, .. } = self.train;
        Compute { dtype: precision.dtype(), recompute, seed, frozen: false }
    }
}

/// How a model learns: section `[train]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainConfig {
    /// Rows of a batch (B).
    pub batch_size: usize,
    /// Batches whose gradients make one optimizer step.
    pub grad_accum: usize,
    /// Optimizer steps; 0: epochs decide.
    pub max_steps: u64,
    /// Passes over the training data; 0: max_steps decides. Both set: whichever ends first. An
    /// epoch has as many rows as groups x mean examples of a puzzle, and no row is dropped: the
    /// official programs drop what does not fill a batch, so they make fewer steps of a small data
    /// set.
    pub epochs: u64,
    /// Learning rate after warm-up, of all weights but puzzle embeddings.
    pub lr: f64,
    /// Learning rate of puzzle embeddings after warm-up; each step has the size of it (sign-SGD).
    pub puzzle_emb_lr: f64,
    /// Decoupled weight decay; a step shrinks weights by the learning rate times this.
    pub weight_decay: f64,
    /// Weight decay of the puzzle embeddings that a step touches, by their learning rate.
    pub puzzle_emb_weight_decay: f64,
    /// Optimizer steps over which learning rates rise linearly from 0.
    pub warmup_steps: u64,
    /// How learning rates go on after warm-up: cosine (down from there on) | wsd (constant, then
    /// linearly down over the last steps).
    #[serde(default)]
    pub schedule: Schedule,
    /// Share of all steps over which wsd goes down.
    #[serde(default = "default_decay_share")]
    pub decay_share: f64,
    /// Share of the learning rates that either schedule ends at; 1: constant after warm-up.
    pub lr_min_ratio: f64,
    /// Decay of the optimizer's first moment.
    pub beta1: f64,
    /// Decay of the optimizer's second moment.
    pub beta2: f64,
    /// Largest norm of a gradient, longer ones are cut to it; 0: off.
    pub clip: f64,
    /// Decay of averaged weights, used in evaluation; 0: off.
    pub ema: f64,
    /// Rule of the update: adam_atan2 | adamw | normuon (matrices inside the network, each update
    /// orthogonalised; the rest by adamw, embeddings and biases without weight decay, and a tenth
    /// of it for matrices of attention).
    pub optimizer: Optimizer,
    /// Learning rate of normuon's matrices after warm-up; lr is that of the rest.
    #[serde(default = "default_muon_lr")]
    pub muon_lr: f64,
    /// Decay of the mean of gradients that normuon orthogonalises.
    #[serde(default = "default_muon_decay")]
    pub muon_momentum: f64,
    /// Decay of the second moment that normuon has of each output.
    #[serde(default = "default_muon_decay")]
    pub muon_beta2: f64,
    /// Element type that forward and backward compute in: auto (what is fastest on the device) |
    /// bf16 | f32; a plan holds the one that it became.
    pub precision: Precision,
    /// What backward runs again to save memory: none | layer | cycle (hrm_seed); changes no bit.
    pub recompute: Recompute,
    /// Seed of initial values, order of data, halting and dropout.
    pub seed: u64,
    /// Steps per line of metrics.jsonl.
    pub log_every: u64,
    /// Steps between validations; 0: only at the end.
    pub eval_every: u64,
    /// Examples of the test split per validation; 0: all of it.
    pub eval_examples: u64,
    /// Steps between checkpoints; 0: only at the end.
    pub checkpoint_every: u64,
    /// Step checkpoints to keep.
    pub keep: usize,
    /// Which checkpoint is kept as best: loss (of the lowest validation loss) | last (of the last
    /// validation, so that nothing is chosen by what is reported).
    #[serde(default)]
    pub best: Best,
    /// Validations without improvement before stopping; 0: never.
    pub patience: u64,
    /// Whether hrm_arc_best.pt is written beside the best checkpoint, for torch.load.
    pub write_pt: bool,
}

impl TrainConfig {
    /// Whether the checkpoint kept as best is chosen by what validation finds.
    pub fn chooses_by_loss(&self) -> bool {
        self.best == Best::Loss
    }
}

/// Rule of the update.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Optimizer {
    /// Adam whose direction is an angle: atan2 of its two moments.
    #[serde(rename = "adam_atan2")]
    AdamAtan2,
    /// Adam with decoupled weight decay.
    AdamW,
    /// Orthogonalised matrices, and AdamW for the rest.
    NorMuon,
}

/// Which checkpoint is kept as best.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Best {
    /// The lowest validation loss.
    #[default]
    Loss,
    /// The last validation.
    Last,
}

/// How learning rates go on after warm-up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Schedule {
    /// Half a cosine over the rest of the run.
    #[default]
    Cosine,
    /// Constant, then linear over the last steps.
    Wsd,
}

fn default_decay_share() -> f64 {
    0.2
}

fn default_muon_lr() -> f64 {
    0.02
}

fn default_muon_decay() -> f64 {
    0.95
}

/// What a model learns from: section `[data]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataConfig {
    /// Data set: arc1 | arc2 | sudoku | maze are made when missing, sudoku-extreme | maze-hard are
    /// read from CSV files.
    pub dataset: Dataset,
    /// Side of the square that grids are placed on, in cells.
    pub canvas: usize,
    /// Augmented variants per puzzle.
    pub num_aug: usize,
    /// Generated puzzles to train on: sudoku, maze.
    pub train_puzzles: usize,
    /// Generated puzzles to test on: sudoku, maze.
    pub test_puzzles: usize,
    /// Pairs of ARC to test on: official (test pairs of evaluation tasks) | test-pairs (of every
    /// task).
    pub holdout: Holdout,
    /// Seed of augmentation and generation.
    pub seed: u64,
    /// What an epoch visits once: groups (every task) | shuffle (every example).
    pub sampler: Order,
    /// What a row of ARC holds: packed (the cells that its task needs, by its demonstrations and
    /// its own input) | padded (the whole canvas, as the official programs) | sequence (input and
    /// output as tokens in a line: grid_lm). Boards fill their canvas.
    #[serde(default)]
    pub layout: RowLayout,
}

/// A published data set, or one that is generated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Dataset {
    /// ARC-AGI-1.
    Arc1,
    /// ARC-AGI-2.
    Arc2,
    /// Generated Sudoku.
    Sudoku,
    /// Sudoku-Extreme, from its CSV files.
    SudokuExtreme,
    /// Generated mazes.
    Maze,
    /// Maze-Hard, from its CSV files.
    MazeHard,
}
