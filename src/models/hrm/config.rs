//! Shape and behaviour of an HRM; the letters in brackets are the crate's glossary.

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
    /// Heads of attention (NH).
    pub num_heads: usize,
    /// Blocks of the slow level.
    pub h_layers: usize,
    /// Blocks of the fast level.
    pub l_layers: usize,
    /// Passes of the slow level in a segment.
    pub h_cycles: usize,
    /// Passes of the fast level before each pass of the slow one.
    pub l_cycles: usize,
    /// Inner width of the MLP over C, before it is cut to 2/3 and rounded up to a multiple of 256.
    pub expansion: f64,
    /// Width of a puzzle's embedding (D); 0: none.
    pub puzzle_emb_ndim: usize,
    /// How a position knows where it is.
    pub pos_encodings: PosEncodings,
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
    /// Bootstrapped Q-continue target: a second forward per segment. Off: halt on q_halt > 0.
    pub q_continue: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            hidden_size: 512,
            num_heads: 8,
            h_layers: 4,
            l_layers: 4,
            h_cycles: 2,
            l_cycles: 2,
            expansion: 4.0,
            puzzle_emb_ndim: 512,
            pos_encodings: PosEncodings::Rope,
            loss: Loss::Stablemax,
            halt_max_steps: 16,
            halt_exploration_prob: 0.1,
            start_noise: 0.0,
            depth_curriculum: false,
            q_continue: true,
        }
    }
}

impl Config {
    /// P: tokens of the puzzle prefix.
    pub fn prefix(&self) -> usize {
        self.puzzle_emb_ndim.div_ceil(self.hidden_size)
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
            q_continue: self.q_continue,
        }
    }
}
