//! Shape of a grid model; the letters in brackets are the crate's glossary.

use serde::{Deserialize, Serialize};

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
    /// Inner width of the SwiGLU over C.
    pub expansion: f64,
    /// Probability that an element is dropped in training: of embeddings, of what a layer adds, and
    /// of attention's probabilities.
    pub dropout: f64,
}

impl Default for Config {
    fn default() -> Self {
        Self { hidden_size: 768, num_heads: 12, layers: 8, expansion: 4.0, dropout: 0.1 }
    }
}

impl Config {
    /// F
    pub fn mlp_width(&self) -> usize {
        (self.expansion * self.hidden_size as f64).round() as usize
    }

    /// HD
    pub fn head_dim(&self) -> usize {
        self.hidden_size / self.num_heads
    }
}
