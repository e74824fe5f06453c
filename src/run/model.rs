//! From a configuration to the shape of its model.

use crate::config::{self, Arch, Config};
use crate::data::DataSet;
use crate::dtype::DType;
use crate::models::io::PosEncodings;
use crate::models::{self, hrm, hrm_seed, transformer, trm};
use crate::nn::level::Recompute;
use crate::ops::cross_entropy;

const ROPE_THETA: f32 = 10_000.0;

pub fn dtype(config: &Config) -> DType {
    match config.train.precision {
        config::Precision::Bf16 => DType::Bf16,
        config::Precision::F32 => DType::F32,
    }
}

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
