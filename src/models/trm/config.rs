//! Shape and behaviour of a TRM; the letters in brackets are the crate's glossary.

use serde::{Deserialize, Serialize};

use crate::models::Depth;
use crate::models::act::Rules;

pub use crate::models::io::PosEncodings;
pub use crate::nn::level::Recompute;
pub use crate::ops::cross_entropy::Kind as Loss;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Width of the states (C).
    pub hidden_size: usize,
    /// Heads of attention (NH); without meaning for `mlp_t`.
    pub num_heads: usize,
    /// Blocks of the one network.
    #[serde(rename = "l_layers")]
    pub layers: usize,
    /// Passes over the answer's state in a segment.
    pub h_cycles: usize,
    /// Passes over the latent state before each of those.
    pub l_cycles: usize,
    /// Inner width of the MLP over C, before it is cut to 2/3 and rounded up to a multiple of 256.
    pub expansion: f64,
    /// Width of a puzzle's embedding (D); 0: none, and no prefix.
    pub puzzle_emb_ndim: usize,
    /// Tokens of the prefix (P), zero-padded; 0: as many as D fills.
    pub puzzle_emb_len: usize,
    /// How a position knows where it is; none: by nothing but the puzzle prefix, or by `mlp_t`.
    pub pos_encodings: PosEncodings,
    /// Positions are mixed by a SwiGLU over the sequence, not by attention.
    pub mlp_t: bool,
    /// The function that makes probabilities of logits.
    pub loss: Loss,
    /// Most segments of a row.
    pub halt_max_steps: usize,
    /// Probability that a row in training runs on for a random number of segments.
    pub halt_exploration_prob: f64,
    /// Deviation of the noise on both states where a row of training starts; 0: none.
    pub start_noise: f64,
    /// Fewer cycles at first, in training: see [`Depth`].
    pub depth_curriculum: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            hidden_size: 512,
            num_heads: 8,
            layers: 4,
            h_cycles: 2,
            l_cycles: 2,
            expansion: 4.0,
            puzzle_emb_ndim: 512,
            puzzle_emb_len: 0,
            pos_encodings: PosEncodings::Rope,
            mlp_t: false,
            loss: Loss::Stablemax,
            halt_max_steps: 16,
            halt_exploration_prob: 0.1,
            start_noise: 0.0,
            depth_curriculum: false,
        }
    }
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

    /// Cycles of the slow level in a segment, and of the fast one before each.
    pub(super) fn cycles(&self, depth: Depth) -> [usize; 2] {
        [depth.of(self.h_cycles), depth.of(self.l_cycles)]
    }

    pub(super) fn rules(&self) -> Rules {
        Rules {
            loss: self.loss,
            halt_max_steps: self.halt_max_steps,
            halt_exploration_prob: self.halt_exploration_prob,
            start_noise: self.start_noise,
            depth_curriculum: self.depth_curriculum,
            q_continue: false,
        }
    }
}
