//! Shape and behaviour of an HRM; the letters in brackets are the crate's glossary.

use crate::models::Dims;
use crate::models::act::Rules;
use crate::{Error, Result};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PosEncodings {
    Rope,
    Learned,
}

pub use crate::ops::cross_entropy::Kind as Loss;

/// What is computed again in backward instead of being kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Recompute {
    #[default]
    None,
    /// Each transformer layer.
    Layer,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    pub batch_size: usize,  // B
    pub seq_len: usize,     // S
    pub vocab_size: usize,  // V
    pub hidden_size: usize, // C
    pub num_heads: usize,   // NH
    pub h_layers: usize,
    pub l_layers: usize,
    pub h_cycles: usize,
    pub l_cycles: usize,
    pub expansion: f64,
    pub puzzle_emb_ndim: usize, // D
    pub num_puzzle_ids: usize,  // NP
    pub pos_encodings: PosEncodings,
    pub rope_theta: f32,
    pub loss: Loss,
    pub halt_max_steps: usize,
    pub halt_exploration_prob: f64,
    /// Bootstrapped Q-continue target: a second forward per segment. Off: halt on q_halt > 0.
    pub q_continue: bool,
    pub recompute: Recompute,
}

impl Config {
    /// P: tokens of the puzzle prefix.
    pub fn prefix(&self) -> usize {
        self.puzzle_emb_ndim.div_ceil(self.hidden_size)
    }

    /// T = P + S.
    pub fn positions(&self) -> usize {
        self.prefix() + self.seq_len
    }

    /// HD
    pub fn head_dim(&self) -> usize {
        self.hidden_size / self.num_heads
    }

    pub fn validate(&self) -> Result<()> {
        let positive = [
            ("batch_size", self.batch_size),
            ("seq_len", self.seq_len),
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("num_heads", self.num_heads),
            ("h_layers", self.h_layers),
            ("l_layers", self.l_layers),
            ("h_cycles", self.h_cycles),
            ("l_cycles", self.l_cycles),
            ("num_puzzle_ids", self.num_puzzle_ids),
            ("halt_max_steps", self.halt_max_steps),
        ];
        if let Some((name, _)) = positive.iter().find(|(_, n)| *n == 0) {
            return Err(Error::invalid(format!("model.{name} is 0; it must be at least 1")));
        }
        if !self.hidden_size.is_multiple_of(self.num_heads) || !self.head_dim().is_multiple_of(4) {
            return Err(Error::invalid(format!(
                "model.hidden_size={} over model.num_heads={} gives heads of width {}; the width \
                 must be a whole multiple of 4",
                self.hidden_size,
                self.num_heads,
                self.hidden_size as f64 / self.num_heads as f64
            )));
        }
        if !(0.0..=1.0).contains(&self.halt_exploration_prob) {
            return Err(Error::invalid(format!(
                "model.halt_exploration_prob={} is not a probability",
                self.halt_exploration_prob
            )));
        }
        if !(self.expansion > 0.0 && self.expansion <= 64.0) {
            return Err(Error::invalid(format!(
                "model.expansion={} is not in (0, 64]",
                self.expansion
            )));
        }
        Ok(())
    }

    pub fn dims(&self) -> Dims {
        Dims {
            batch_size: self.batch_size,
            seq_len: self.seq_len,
            vocab_size: self.vocab_size,
            hidden_size: self.hidden_size,
            prefix: self.prefix(),
            puzzle_emb_ndim: self.puzzle_emb_ndim,
            num_puzzle_ids: self.num_puzzle_ids,
            segments: self.halt_max_steps,
            ignores_pad: true,
        }
    }

    pub(super) fn rules(&self) -> Rules {
        Rules {
            loss: self.loss,
            halt_max_steps: self.halt_max_steps,
            halt_exploration_prob: self.halt_exploration_prob,
            q_continue: self.q_continue,
        }
    }
}
