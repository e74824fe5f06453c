//! Shape and behaviour of an `hrm_seed`; the letters in brackets are the crate's glossary.

use serde::{Deserialize, Serialize};

use super::{HrmSeed, onnx};
use crate::backend::Device;
use crate::formats::onnx::Graph;
use crate::models::{Compute, Configuration, Dims, Model, Sizes, check};
use crate::{Error, Result};

pub use crate::nn::level::Recompute;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Width of the states (C).
    pub hidden_size: usize,
    /// Heads of attention (NH).
    pub num_heads: usize,
    /// Layers that a cycle runs first.
    pub h_layers: usize,
    /// Layers that a cycle runs after them.
    pub l_layers: usize,
    /// Inner width of the MLP over C.
    pub expansion: f64,
    /// Probability that an element is dropped in training; not of attention's probabilities.
    pub dropout: f64,
    /// Most cycles; the batch halts together, by its mean.
    pub max_cycles: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            hidden_size: 512,
            num_heads: 8,
            h_layers: 4,
            l_layers: 4,
            expansion: 4.0,
            dropout: 0.0,
            max_cycles: 8,
        }
    }
}

impl Config {
    /// F
    pub fn mlp_width(&self) -> usize {
        (self.expansion * self.hidden_size as f64).round() as usize
    }

    /// Layers of a cycle.
    pub fn layers(&self) -> usize {
        self.h_layers + self.l_layers
    }
}

impl Configuration for Config {
    fn validate(&self) -> Result<()> {
        check::expansion(self.expansion)?;
        check::positive(&[
            ("hidden_size", self.hidden_size),
            ("num_heads", self.num_heads),
            ("h_layers", self.h_layers),
            ("l_layers", self.l_layers),
            ("max_cycles", self.max_cycles),
            ("expansion * hidden_size", self.mlp_width()),
        ])?;
        check::heads(self.hidden_size, self.num_heads)?;
        check::dropout(self.dropout)?;
        // Sites of dropout are numbered below 2^24.
        if self.max_cycles.saturating_mul(self.layers()) > 1 << 20 {
            return Err(Error::invalid(format!(
                "model.max_cycles={} of {} layers each are absurdly many",
                self.max_cycles,
                self.layers()
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
            prefix: 0,
            puzzle_emb_ndim: 0,
            num_puzzle_ids: sizes.num_puzzle_ids,
            segments: 1,
            ignores_pad: false,
        }
    }

    fn build(&self, device: &Device, sizes: Sizes, compute: Compute) -> Result<Box<dyn Model>> {
        Ok(Box::new(HrmSeed::new(device, self.clone(), sizes, compute)?))
    }

    fn onnx(&self, graph: &mut Graph, dims: &Dims) -> std::result::Result<(), String> {
        onnx::build(graph, self, dims)
    }
}
