//! Shape and behaviour of an `hrm_seed`; the letters in brackets are the crate's glossary.

use crate::models::Dims;
use crate::{Error, Result};

/// What is computed again in backward instead of being kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Recompute {
    #[default]
    None,
    /// Each encoder layer.
    Layer,
    /// Each cycle: only the two states between cycles are kept.
    Cycle,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    pub batch_size: usize,     // B
    pub seq_len: usize,        // S
    pub vocab_size: usize,     // V
    pub num_puzzle_ids: usize, // NP; the model does not look at them
    pub hidden_size: usize,    // C
    pub num_heads: usize,      // NH
    pub h_layers: usize,
    pub l_layers: usize,
    /// F / C
    pub expansion: f64,
    pub max_cycles: usize,
    pub dropout: f64,
    pub recompute: Recompute,
}

impl Config {
    pub fn dims(&self) -> Dims {
        Dims {
            batch_size: self.batch_size,
            seq_len: self.seq_len,
            vocab_size: self.vocab_size,
            hidden_size: self.hidden_size,
            prefix: 0,
            puzzle_emb_ndim: 0,
            num_puzzle_ids: self.num_puzzle_ids,
            segments: 1,
            ignores_pad: false,
        }
    }

    /// F
    pub fn mlp_width(&self) -> usize {
        (self.expansion * self.hidden_size as f64).round() as usize
    }

    /// Layers of a cycle.
    pub fn layers(&self) -> usize {
        self.h_layers + self.l_layers
    }

    pub fn validate(&self) -> Result<()> {
        let positive = [
            ("batch_size", self.batch_size),
            ("seq_len", self.seq_len),
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("num_heads", self.num_heads),
            ("h_layers", self.h_layers),
            ("l_layers", self.l_layers),
            ("max_cycles", self.max_cycles),
            ("expansion * hidden_size", self.mlp_width()),
        ];
        if let Some((name, _)) = positive.iter().find(|(_, n)| *n == 0) {
            return Err(Error::invalid(format!("model.{name} is 0; it must be at least 1")));
        }
        let heads = self.num_heads;
        if !self.hidden_size.is_multiple_of(4 * heads) {
            return Err(Error::invalid(format!(
                "model.hidden_size={} does not divide into model.num_heads={heads} heads whose \
                 width is a multiple of 4",
                self.hidden_size
            )));
        }
        if !(0.0..1.0).contains(&self.dropout) {
            return Err(Error::invalid(format!(
                "model.dropout={} is not at least 0 and below 1",
                self.dropout
            )));
        }
        // Sites of dropout are numbered below 2^24.
        if self.max_cycles * self.layers() > 1 << 20 {
            return Err(Error::invalid(format!(
                "model.max_cycles={} of {} layers each are absurdly many",
                self.max_cycles,
                self.layers()
            )));
        }
        Ok(())
    }
}
