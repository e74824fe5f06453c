//! Shape and behaviour of an HRM; the letters in brackets are the crate's glossary.

use crate::Result;
use crate::models::act::Rules;
use crate::models::{Dims, check};

pub use crate::models::io::PosEncodings;
pub use crate::nn::level::Recompute;
pub use crate::ops::cross_entropy::Kind as Loss;

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
        check::positive(&[
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
        ])?;
        check::heads(self.hidden_size, self.num_heads)?;
        check::probability("halt_exploration_prob", self.halt_exploration_prob)?;
        check::expansion(self.expansion)
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
