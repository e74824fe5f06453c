//! Shape and behaviour of an `hrm_seed`; the letters in brackets are the crate's glossary.

use serde::{Deserialize, Serialize};

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
    /// Probability that an element is dropped in training.
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
