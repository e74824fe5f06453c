//! Shape and behaviour of a TRM; the letters in brackets are the crate's glossary.

use serde::{Deserialize, Serialize};

use super::{Trm, onnx};
use crate::backend::Device;
use crate::formats::onnx::Graph;
use crate::models::act::Rules;
use crate::models::{Compute, Configuration, Dims, Model, Sizes, check};
use crate::{Error, Result};

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

    pub(super) fn rules(&self) -> Rules {
        Rules {
            loss: self.loss,
            halt_max_steps: self.halt_max_steps,
            halt_exploration_prob: self.halt_exploration_prob,
            q_continue: false,
        }
    }
}

impl Configuration for Config {
    fn validate(&self) -> Result<()> {
        check::positive(&[
            ("hidden_size", self.hidden_size),
            ("num_heads", self.num_heads),
            ("l_layers", self.layers),
            ("h_cycles", self.h_cycles),
            ("l_cycles", self.l_cycles),
            ("halt_max_steps", self.halt_max_steps),
        ])?;
        match (self.mlp_t, self.pos_encodings) {
            (false, _) => check::heads(self.hidden_size, self.num_heads)?,
            (true, PosEncodings::Rope) => check::refuse(
                "pos_encodings",
                "rope",
                "must be none or learned: model.mlp_t has no attention to rotate for",
            )?,
            (true, _) => {}
        }
        check::probability("halt_exploration_prob", self.halt_exploration_prob)?;
        check::expansion(self.expansion)?;
        if self.puzzle_emb_ndim > self.prefix().saturating_mul(self.hidden_size) {
            return Err(Error::invalid(format!(
                "model.puzzle_emb_ndim={} does not fit model.puzzle_emb_len={} tokens of \
                 model.hidden_size={}; 0 takes as many tokens as it needs",
                self.puzzle_emb_ndim, self.puzzle_emb_len, self.hidden_size
            )));
        }
        Ok(())
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
        Ok(Box::new(Trm::new(device, self.clone(), sizes, compute)?))
    }

    fn onnx(&self, graph: &mut Graph, dims: &Dims) -> std::result::Result<(), String> {
        onnx::build(graph, self, dims)
    }
}
