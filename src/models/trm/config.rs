//! Shape and behaviour of a TRM; the letters in brackets are the crate's glossary.

use crate::models::act::Rules;
use crate::models::{Dims, check};
use crate::{Error, Result};

pub use crate::models::io::PosEncodings;
pub use crate::nn::level::Recompute;
pub use crate::ops::cross_entropy::Kind as Loss;

#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    pub batch_size: usize,  // B
    pub seq_len: usize,     // S
    pub vocab_size: usize,  // V
    pub hidden_size: usize, // C
    pub num_heads: usize,   // NH; without meaning for mlp_t
    /// Of the one level.
    pub layers: usize,
    pub h_cycles: usize,
    pub l_cycles: usize,
    pub expansion: f64,
    /// Positions are mixed by a SwiGLU over the sequence, not by attention.
    pub mlp_t: bool,
    pub puzzle_emb_ndim: usize, // D; 0: no prefix
    /// P; 0: as many tokens as D fills.
    pub puzzle_emb_len: usize,
    pub num_puzzle_ids: usize, // NP
    pub pos_encodings: PosEncodings,
    pub rope_theta: f32,
    pub loss: Loss,
    pub halt_max_steps: usize,
    pub halt_exploration_prob: f64,
    pub recompute: Recompute,
}

impl Config {
    /// P: tokens of the puzzle prefix.
    pub fn prefix(&self) -> usize {
        match (self.puzzle_emb_ndim, self.puzzle_emb_len) {
            (0, _) => 0,
            (d, 0) => d.div_ceil(self.hidden_size),
            (_, len) => len,
        }
    }

    /// HD
    pub fn head_dim(&self) -> usize {
        self.hidden_size / self.num_heads
    }

    pub fn validate(&self) -> Result<()> {
        check::positive(&[
            ("batch_size", self.batch_size),
            ("seq_len", self.seq_len),
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("num_heads", self.num_heads),
            ("l_layers", self.layers),
            ("h_cycles", self.h_cycles),
            ("l_cycles", self.l_cycles),
            ("num_puzzle_ids", self.num_puzzle_ids),
            ("halt_max_steps", self.halt_max_steps),
        ])?;
        if !self.mlp_t {
            check::heads(self.hidden_size, self.num_heads)?;
        }
        check::probability("halt_exploration_prob", self.halt_exploration_prob)?;
        check::expansion(self.expansion)?;
        if self.puzzle_emb_ndim > self.prefix() * self.hidden_size {
            return Err(Error::invalid(format!(
                "model.puzzle_emb_ndim={} does not fit model.puzzle_emb_len={} tokens of \
                 model.hidden_size={}; 0 takes as many tokens as it needs",
                self.puzzle_emb_ndim, self.puzzle_emb_len, self.hidden_size
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
            q_continue: false,
        }
    }
}
