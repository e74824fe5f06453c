//! Shape and behaviour of an HRM; the letters in brackets are the crate's glossary.

use serde::{Deserialize, Serialize};

use super::{Hrm, onnx};
use crate::Result;
use crate::backend::Device;
use crate::formats::onnx::Graph;
use crate::models::act::Rules;
use crate::models::{Compute, Configuration, Dims, Model, Sizes, check};

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

    pub(super) fn rules(&self) -> Rules {
        Rules {
            loss: self.loss,
            halt_max_steps: self.halt_max_steps,
            halt_exploration_prob: self.halt_exploration_prob,
            q_continue: self.q_continue,
        }
    }
}

impl Configuration for Config {
    fn validate(&self) -> Result<()> {
        check::positive(&[
            ("hidden_size", self.hidden_size),
            ("num_heads", self.num_heads),
            ("h_layers", self.h_layers),
            ("l_layers", self.l_layers),
            ("h_cycles", self.h_cycles),
            ("l_cycles", self.l_cycles),
            ("halt_max_steps", self.halt_max_steps),
        ])?;
        check::heads(self.hidden_size, self.num_heads)?;
        check::probability("halt_exploration_prob", self.halt_exploration_prob)?;
        check::expansion(self.expansion)?;
        check::seen_positions(self.pos_encodings)
    }

    fn dims(&self, sizes: Sizes) -> Dims {
        Dims {
            batch_size: sizes.batch_size,
            seq_len: sizes.seq_len,
            vocab_size: sizes.vocab_size,
            hidden_size: self.hidden_size,
            prefix: self.prefix(),
            puzzle_emb_ndim: self.puzzle_emb_ndim,
            num_puzzle_ids: sizes.num_puzzle_ids,
            segments: self.halt_max_steps,
            ignores_pad: true,
        }
    }

    fn build(&self, device: &Device, sizes: Sizes, compute: Compute) -> Result<Box<dyn Model>> {
        Ok(Box::new(Hrm::new(device, self.clone(), sizes, compute)?))
    }

    fn onnx(&self, graph: &mut Graph, dims: &Dims) -> std::result::Result<(), String> {
        onnx::build(graph, self, dims)
    }
}
