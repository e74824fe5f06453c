//! From a plan and an opened data set to what the trainer, the loader and the schedule take.

use super::optimizer::{Rule, Settings};
use super::schedule::Schedule;
use super::trainer::Options;
use crate::Result;
use crate::config::{self, Arch, Config};
use crate::data::{DataSet, Order, Sampler};
use crate::dtype::DType;
use crate::models::io::PosEncodings;
use crate::models::{self, hrm, hrm_seed, transformer, trm};
use crate::nn::level::Recompute;
use crate::ops::cross_entropy;

pub const SPLIT: &str = "train";
const ROPE_THETA: f32 = 10_000.0;
/// Data too small for this many batches is passed over several times per sampler epoch: the last,
/// incomplete batch of an epoch is dropped.
const BATCHES_PER_EPOCH: f64 = 16.0;

pub fn model(config: &Config, data: &DataSet) -> models::Config {
    model_of(config, data.seq_len(), data.vocab_size(), data.num_puzzle_ids())
}

pub fn model_of(
    config: &Config,
    seq_len: usize,
    vocab_size: usize,
    num_puzzle_ids: usize,
) -> models::Config {
    match config.model.arch {
        Arch::Hrm => hrm_of(config, seq_len, vocab_size, num_puzzle_ids).into(),
        Arch::Trm => trm_of(config, seq_len, vocab_size, num_puzzle_ids).into(),
        Arch::HrmSeed => hrm_seed_of(config, seq_len, vocab_size, num_puzzle_ids).into(),
        Arch::Transformer => transformer_of(config, seq_len, vocab_size, num_puzzle_ids).into(),
    }
}

fn hrm_seed_of(
    config: &Config,
    seq_len: usize,
    vocab_size: usize,
    num_puzzle_ids: usize,
) -> hrm_seed::Config {
    let m = &config.model;
    hrm_seed::Config {
        batch_size: config.train.batch_size,
        seq_len,
        vocab_size,
        num_puzzle_ids,
        hidden_size: m.hidden_size,
        num_heads: m.num_heads,
        h_layers: m.h_layers,
        l_layers: m.l_layers,
        expansion: m.expansion,
        max_cycles: m.max_cycles,
        dropout: m.dropout,
        recompute: match config.train.recompute {
            config::Recompute::None => hrm_seed::Recompute::None,
            config::Recompute::Layer => hrm_seed::Recompute::Layer,
            config::Recompute::Cycle => hrm_seed::Recompute::Cycle,
        },
    }
}

fn transformer_of(
    config: &Config,
    seq_len: usize,
    vocab_size: usize,
    num_puzzle_ids: usize,
) -> transformer::Config {
    let m = &config.model;
    transformer::Config {
        batch_size: config.train.batch_size,
        seq_len,
        vocab_size,
        num_puzzle_ids,
        hidden_size: m.hidden_size,
        num_heads: m.num_heads,
        layers: m.h_layers,
        expansion: m.expansion,
        dropout: m.dropout,
        recompute_layers: config.train.recompute != config::Recompute::None,
    }
}

fn hrm_of(
    config: &Config,
    seq_len: usize,
    vocab_size: usize,
    num_puzzle_ids: usize,
) -> hrm::Config {
    let m = &config.model;
    hrm::Config {
        batch_size: config.train.batch_size,
        seq_len,
        vocab_size,
        hidden_size: m.hidden_size,
        num_heads: m.num_heads,
        h_layers: m.h_layers,
        l_layers: m.l_layers,
        h_cycles: m.h_cycles,
        l_cycles: m.l_cycles,
        expansion: m.expansion,
        puzzle_emb_ndim: m.puzzle_emb_ndim,
        num_puzzle_ids,
        pos_encodings: pos_encodings(config),
        rope_theta: ROPE_THETA,
        loss: loss(config),
        halt_max_steps: m.halt_max_steps,
        halt_exploration_prob: m.halt_exploration_prob,
        q_continue: m.q_continue,
        recompute: recompute(config),
    }
}

fn trm_of(
    config: &Config,
    seq_len: usize,
    vocab_size: usize,
    num_puzzle_ids: usize,
) -> trm::Config {
    let m = &config.model;
    trm::Config {
        batch_size: config.train.batch_size,
        seq_len,
        vocab_size,
        hidden_size: m.hidden_size,
        num_heads: m.num_heads,
        layers: m.l_layers,
        h_cycles: m.h_cycles,
        l_cycles: m.l_cycles,
        expansion: m.expansion,
        mlp_t: m.mlp_t,
        puzzle_emb_ndim: m.puzzle_emb_ndim,
        puzzle_emb_len: m.puzzle_emb_len,
        num_puzzle_ids,
        pos_encodings: pos_encodings(config),
        rope_theta: ROPE_THETA,
        loss: loss(config),
        halt_max_steps: m.halt_max_steps,
        halt_exploration_prob: m.halt_exploration_prob,
        recompute: recompute(config),
    }
}

fn pos_encodings(config: &Config) -> PosEncodings {
    match config.model.pos_encodings {
        config::PosEncodings::None => PosEncodings::None,
        config::PosEncodings::Rope => PosEncodings::Rope,
        config::PosEncodings::Learned => PosEncodings::Learned,
        config::PosEncodings::Sinusoidal => unreachable!("refused by config::check"),
    }
}

fn loss(config: &Config) -> cross_entropy::Kind {
    match config.model.loss {
        config::Loss::Stablemax => cross_entropy::Kind::Stablemax,
        config::Loss::Softmax => cross_entropy::Kind::Softmax,
    }
}

fn recompute(config: &Config) -> Recompute {
    match config.train.recompute {
        config::Recompute::None => Recompute::None,
        config::Recompute::Layer => Recompute::Layer,
        config::Recompute::Cycle => unreachable!("refused by config::check"),
    }
}

pub fn options(config: &Config) -> Options {
    let t = &config.train;
    Options {
        dtype: match t.precision {
            config::Precision::Bf16 => DType::Bf16,
            config::Precision::F32 => DType::F32,
        },
        grad_accum: t.grad_accum,
        optimizer: Settings {
            rule: match t.optimizer {
                config::Optimizer::AdamAtan2 => Rule::AdamAtan2,
                config::Optimizer::Adamw => Rule::AdamW,
            },
            beta1: t.beta1,
            beta2: t.beta2,
            weight_decay: t.weight_decay,
            puzzle_emb_weight_decay: t.puzzle_emb_weight_decay,
            clip: t.clip,
            ema: t.ema,
        },
        seed: t.seed,
    }
}

/// The order of training data, and how many rows one pass over it yields.
pub fn sampler(config: &Config, data: &DataSet) -> Result<(Sampler, f64)> {
    let shard = data.split(SPLIT)?;
    let (order, rows_per_pass) = match config.data.sampler {
        config::Sampler::Groups => {
            (Order::Groups, shard.groups() as f64 * data.mean_puzzle_examples(SPLIT)?)
        }
        config::Sampler::Shuffle => (Order::Shuffle, shard.examples() as f64),
    };
    let batch_rows = config.train.batch_size;
    let passes = (BATCHES_PER_EPOCH * batch_rows as f64 / rows_per_pass.max(1.0)).ceil();
    let passes = (passes as usize).max(1);
    Ok((Sampler { passes, ..Sampler::new(order, config.train.seed, batch_rows) }, rows_per_pass))
}

pub fn schedule(config: &Config, rows_per_pass: f64) -> Schedule {
    let t = &config.train;
    let rows_per_step = (t.batch_size * t.grad_accum) as f64;
    let steps_of = |epochs: u64| ((epochs as f64 * rows_per_pass / rows_per_step) as u64).max(1);
    let total_steps = match (t.max_steps, t.epochs) {
        (max_steps, 0) => max_steps,
        (0, epochs) => steps_of(epochs),
        (max_steps, epochs) => max_steps.min(steps_of(epochs)),
    };
    Schedule { warmup_steps: t.warmup_steps, total_steps, min_ratio: t.lr_min_ratio }
}
