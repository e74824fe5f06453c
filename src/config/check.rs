//! Values that cannot be meant are refused with a sentence, before anything is read or allocated.

use super::{Arch, Config, Loss, ModelConfig, PosEncodings, Recompute};
use crate::{Error, Result};

pub(super) fn check(config: &Config) -> Result<()> {
    let Config { model: m, train: t, data: d, .. } = config;
    let at_least_1 = [
        ("model.hidden_size", m.hidden_size as u64),
        ("model.num_heads", m.num_heads as u64),
        ("model.l_layers", m.l_layers as u64),
        ("model.h_cycles", m.h_cycles as u64),
        ("model.l_cycles", m.l_cycles as u64),
        ("model.halt_max_steps", m.halt_max_steps as u64),
        ("train.batch_size", t.batch_size as u64),
        ("train.grad_accum", t.grad_accum as u64),
        ("train.log_every", t.log_every),
        ("train.keep", t.keep as u64),
        ("data.canvas", d.canvas as u64),
        ("data.train_puzzles", d.train_puzzles as u64),
        ("data.test_puzzles", d.test_puzzles as u64),
    ];
    for (key, value) in at_least_1 {
        require(value >= 1, key, value, "must be at least 1")?;
        require(value < 1 << 31, key, value, "is absurdly large")?;
    }
    let positive = [("train.lr", t.lr), ("model.expansion", m.expansion)];
    for (key, value) in positive {
        require(value.is_finite(), key, value, "must be a finite number")?;
        require(value > 0.0, key, value, "must be positive")?;
    }
    let not_negative = [
        ("train.puzzle_emb_lr", t.puzzle_emb_lr),
        ("train.weight_decay", t.weight_decay),
        ("train.puzzle_emb_weight_decay", t.puzzle_emb_weight_decay),
        ("train.clip", t.clip),
    ];
    for (key, value) in not_negative {
        require(value.is_finite(), key, value, "must be a finite number")?;
        require(value >= 0.0, key, value, "must be 0 or more")?;
    }
    let shares = [
        ("model.halt_exploration_prob", m.halt_exploration_prob),
        ("train.lr_min_ratio", t.lr_min_ratio),
    ];
    for (key, value) in shares {
        require((0.0..=1.0).contains(&value), key, value, "must be between 0 and 1")?;
    }
    let below_one = [("train.ema", t.ema), ("train.beta1", t.beta1), ("train.beta2", t.beta2)];
    for (key, value) in below_one {
        require((0.0..1.0).contains(&value), key, value, "must be at least 0 and below 1")?;
    }
    if !m.hidden_size.is_multiple_of(m.num_heads)
        || !(m.hidden_size / m.num_heads).is_multiple_of(4)
    {
        return Err(Error::invalid(format!(
            "model.hidden_size={} does not divide into model.num_heads={} heads whose width is a \
             multiple of 4",
            m.hidden_size, m.num_heads
        )));
    }
    if t.max_steps == 0 && t.epochs == 0 {
        return Err(Error::invalid(
            "train.max_steps and train.epochs are both 0: set one, for example train.epochs=10",
        ));
    }
    match m.arch {
        Arch::Hrm => hrm(m)?,
        Arch::Trm => trm(m)?,
        Arch::HrmSeed => {
            let why = "must be at least 1";
            require(m.max_cycles >= 1, "model.max_cycles", m.max_cycles, why)?;
            encoder(m, "hrm_seed")?;
        }
        Arch::Transformer => {
            let why = "must be 0: transformer has no cycles";
            require(m.max_cycles == 0, "model.max_cycles", m.max_cycles, why)?;
            encoder(m, "transformer")?;
        }
    }
    if t.recompute == Recompute::Cycle && m.arch != Arch::HrmSeed {
        return Err(Error::invalid("train.recompute=cycle: only hrm_seed has such; layer is near"));
    }
    Ok(())
}

fn hrm(m: &ModelConfig) -> Result<()> {
    require(m.h_layers >= 1, "model.h_layers", m.h_layers, "must be at least 1")?;
    let (len, mixer) = ("model.puzzle_emb_len", "model.mlp_t");
    require(m.puzzle_emb_len == 0, len, m.puzzle_emb_len, "must be 0: only trm pads its prefix")?;
    require(!m.mlp_t, mixer, m.mlp_t, "must be false: only trm mixes positions by an MLP")?;
    let blind = m.pos_encodings == PosEncodings::None;
    let why = "must be rope or learned: attention alone does not see positions";
    require(!blind, "model.pos_encodings", "none", why)?;
    halts_by_steps(m, "hrm")
}

fn trm(m: &ModelConfig) -> Result<()> {
    let why = "must be 0: trm has one network, of model.l_layers";
    require(m.h_layers == 0, "model.h_layers", m.h_layers, why)?;
    let why = "must be false: trm halts on its q_halt alone";
    require(!m.q_continue, "model.q_continue", m.q_continue, why)?;
    let room = m.puzzle_emb_len * m.hidden_size;
    let fits = m.puzzle_emb_len == 0 || m.puzzle_emb_ndim <= room;
    let why = "does not fit model.puzzle_emb_len positions of model.hidden_size";
    require(fits, "model.puzzle_emb_ndim", m.puzzle_emb_ndim, why)?;
    match (m.mlp_t, m.pos_encodings) {
        (false, PosEncodings::None) => {
            let why = "must be rope or learned: attention alone does not see positions";
            require(false, "model.pos_encodings", "none", why)?;
        }
        (true, PosEncodings::Rope) => {
            let why = "must be none or learned: model.mlp_t has no attention to rotate for";
            require(false, "model.pos_encodings", "rope", why)?;
        }
        _ => {}
    }
    halts_by_steps(m, "trm")
}

fn halts_by_steps(m: &ModelConfig, arch: &str) -> Result<()> {
    let sinusoidal = m.pos_encodings == PosEncodings::Sinusoidal;
    let why = format!("is not for {arch}: only for hrm_seed and transformer");
    require(!sinusoidal, "model.pos_encodings", "sinusoidal", &why)?;
    let why = format!("must be 0: {arch} has no dropout");
    require(m.dropout == 0.0, "model.dropout", m.dropout, &why)?;
    let why = format!("must be 0: {arch} halts by model.halt_max_steps");
    require(m.max_cycles == 0, "model.max_cycles", m.max_cycles, &why)
}

/// What holds for models of `nn.TransformerEncoderLayer`s.
fn encoder(m: &ModelConfig, arch: &str) -> Result<()> {
    require(m.h_layers >= 1, "model.h_layers", m.h_layers, "must be at least 1")?;
    let below_one = "must be at least 0 and below 1";
    require((0.0..1.0).contains(&m.dropout), "model.dropout", m.dropout, below_one)?;
    let fixed = [
        ("model.puzzle_emb_ndim=0", m.puzzle_emb_ndim == 0),
        ("model.puzzle_emb_len=0", m.puzzle_emb_len == 0),
        ("model.pos_encodings=sinusoidal", m.pos_encodings == PosEncodings::Sinusoidal),
        ("model.mlp_t=false", !m.mlp_t),
        ("model.loss=softmax", m.loss == Loss::Softmax),
        ("model.halt_max_steps=1", m.halt_max_steps == 1),
        ("model.halt_exploration_prob=0", m.halt_exploration_prob == 0.0),
        ("model.q_continue=false", !m.q_continue),
    ];
    match fixed.iter().find(|(_, holds)| !holds) {
        None => Ok(()),
        Some((key, _)) => Err(Error::invalid(format!("{arch} knows only {key}"))),
    }
}

pub(super) fn require(
    holds: bool,
    key: &str,
    value: impl std::fmt::Display,
    what: &str,
) -> Result<()> {
    match holds {
        true => Ok(()),
        false => Err(Error::invalid(format!("{key}={value} {what}"))),
    }
}
