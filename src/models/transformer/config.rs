//! Shape of a plain encoder; the letters in brackets are the crate's glossary.

use serde::{Deserialize, Serialize};

use super::{Transformer, onnx};
use crate::Result;
use crate::backend::Device;
use crate::formats::onnx::Graph;
use crate::models::{Compute, Configuration, Dims, Model, Sizes, check};

pub use crate::nn::level::Recompute;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Width of the model (C).
    pub hidden_size: usize,
    /// Heads of attention (NH).
    pub num_heads: usize,
    /// Layers, all of them.
    #[serde(rename = "h_layers")]
    pub layers: usize,
    /// Inner width of the MLP over C.
    pub expansion: f64,
    /// Probability that an element is dropped in training; not of attention's probabilities.
    pub dropout: f64,
}

impl Default for Config {
    fn default() -> Self {
        Self { hidden_size: 512, num_heads: 8, layers: 4, expansion: 4.0, dropout: 0.0 }
    }
}

impl Config {
    /// F
    pub fn mlp_width(&self) -> usize {
        (self.expansion * self.hidden_size as f64).round() as usize
    }
}

impl Configuration for Config {
    fn validate(&self) -> Result<()> {
        check::expansion(self.expansion)?;
        check::positive(&[
            ("hidden_size", self.hidden_size),
            ("num_heads", self.num_heads),
            ("h_layers", self.layers),
            ("expansion * hidden_size", self.mlp_width()),
        ])?;
        check::heads(self.hidden_size, self.num_heads)?;
        // Sites of dropout are numbered below 2^24.
        if self.layers > 1 << 20 {
            return check::refuse("h_layers", self.layers, "is absurdly large");
        }
        check::dropout(self.dropout)
    }

    fn dims(&self, sizes: Sizes) -> Dims {
        Dims {
            batch_size: sizes.batch_size,
            seq_len: sizes.seq_len,
            vocab_size: sizes.vocab_size,
            hidden_size: self.hidden_size,
            prefix: 0,
            puzzle_emb_ndim: 0,
            num_puzzle_ids: sizes.num_puzzle_ids,
            segments: 1,
            ignores_pad: false,
        }
    }

    fn build(&self, device: &Device, sizes: Sizes, compute: Compute) -> Result<Box<dyn Model>> {
        Ok(Box::new(Transformer::new(device, self.clone(), sizes, compute)?))
    }

    fn onnx(&self, graph: &mut Graph, dims: &Dims) -> std::result::Result<(), String> {
        onnx::build(graph, self, dims)
    }
}
