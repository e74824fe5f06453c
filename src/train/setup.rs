//! From a plan and an opened data set to what the trainer, the loader and the schedule take.

use std::sync::Arc;

use super::optimizer::{OptimizerConfig, Rule};
use super::schedule::{Decay, Schedule};
use super::trainer::Options;
use crate::config::{self, Optimizer, Settings};
use crate::data::{DataSet, Kind, Lengths, Order, RowLayout, Sampler};
use crate::models::{Compute, ModelShape};
use crate::ops::normuon::Hyper;
use crate::{Error, Result};

pub const SPLIT: &str = "train";
/// Data too small for this many batches is passed over several times per sampler epoch: the last,
/// incomplete batch of an epoch is dropped.
const BATCHES_PER_EPOCH: f64 = 16.0;

pub fn options(config: &Settings) -> Options {
    let (t, Compute { dtype, recompute, seed, .. }) = (&config.train, config.compute());
    Options {
        dtype,
        recompute,
        grad_accum: t.grad_accum,
        optimizer: OptimizerConfig {
            rule: match t.optimizer {
                Optimizer::AdamAtan2 => Rule::AdamAtan2,
                Optimizer::AdamW => Rule::AdamW,
                Optimizer::NorMuon => {
                    Rule::NorMuon(Hyper { momentum: t.muon_momentum, beta2: t.muon_beta2 })
                }
            },
            beta1: t.beta1,
            beta2: t.beta2,
            weight_decay: t.weight_decay,
            puzzle_emb_weight_decay: t.puzzle_emb_weight_decay,
            clip: t.clip,
            ema: t.ema,
        },
        seed,
    }
}

/// The order of training data, and how many rows one pass over it yields.
pub fn sampler(config: &Settings, data: &DataSet) -> Result<(Sampler, f64)> {
    let shard = data.split(SPLIT)?;
    let order = config.data.sampler;
    let rows_per_pass = match order {
        Order::Groups => shard.groups() as f64 * data.mean_puzzle_examples(SPLIT)?,
        Order::Shuffle => shard.examples() as f64,
    };
    let batch_rows = config.train.batch_size;
    let passes = (BATCHES_PER_EPOCH * batch_rows as f64 / rows_per_pass.max(1.0)).ceil();
    let passes = (passes as usize).max(1);
    Ok((Sampler { passes, ..Sampler::new(order, config.train.seed, batch_rows) }, rows_per_pass))
}

/// The model's shape over this data, for batches of training.
pub fn shape(config: &Settings, data: &DataSet) -> Result<ModelShape> {
    let ids = data.row_ids(config.data.layout)?;
    let shape = config.shape(data.seq_len(), data.vocab_size(), ids);
    Ok(shape.with_lengths(lengths(config, data)?))
}

/// How long rows are, where they are packed: not those of boards, which fill their canvas.
pub fn lengths(config: &Settings, data: &DataSet) -> Result<Option<Arc<Lengths>>> {
    let layout = config.data.layout;
    match (layout, data.kind()) {
        (RowLayout::Packed | RowLayout::Sequence, Kind::Arc) => {
            let lengths = Lengths::of(data, SPLIT, config.data.sampler, layout)?;
            Ok(Some(Arc::new(lengths)))
        }
        (RowLayout::Padded | RowLayout::Packed, _) => Ok(None),
        (RowLayout::Sequence, kind) => {
            let (dir, kind) = (data.dir().display(), kind.name());
            Err(Error::invalid(format!("{dir}: holds {kind} boards; sequences are of ARC pairs")))
        }
    }
}

pub fn schedule(config: &Settings, rows_per_pass: f64) -> Schedule {
    let t = &config.train;
    let rows_per_step = (t.batch_size * t.grad_accum) as f64;
    let steps_of = |epochs: u64| ((epochs as f64 * rows_per_pass / rows_per_step) as u64).max(1);
    let total_steps = match (t.max_steps, t.epochs) {
        (max_steps, 0) => max_steps,
        (0, epochs) => steps_of(epochs),
        (max_steps, epochs) => max_steps.min(steps_of(epochs)),
    };
    let decay = match t.schedule {
        config::Schedule::Cosine => Decay::Cosine,
        config::Schedule::Wsd => Decay::Linear { share: t.decay_share },
    };
    Schedule { warmup_steps: t.warmup_steps, total_steps, min_ratio: t.lr_min_ratio, decay }
}
