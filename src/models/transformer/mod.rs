//! A plain encoder, the baseline beside the recursive models: embedding + sinusoids, `layers` times
//! `nn.TransformerEncoderLayer`, a linear head. The loss counts every token, PAD included, like
//! [`hrm_seed`](super::hrm_seed)'s, whose layers these are.

pub mod names;

use super::{Carry, DeviceBatch, Dims, Model, Segment, Workspace, hrm_seed, one_pass};
use crate::Result;
use crate::backend::Device;
use crate::dtype::DType;
use crate::models::one_pass::Answer;
use crate::nn::encoder::{EncoderLayer, Linear, Noise, SITES_PER_LAYER};
use crate::nn::params::{Bound, Params};
use crate::ops::embedding;
use crate::tape::{Mode, Tape, Var};
use crate::tensor::Tensor;

/// The letters in brackets are the crate's glossary.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    pub batch_size: usize,     // B
    pub seq_len: usize,        // S
    pub vocab_size: usize,     // V
    pub num_puzzle_ids: usize, // NP; the model does not look at them
    pub hidden_size: usize,    // C
    pub num_heads: usize,      // NH
    pub layers: usize,
    /// F / C
    pub expansion: f64,
    pub dropout: f64,
    /// Compute each layer again in backward instead of keeping its insides.
    pub recompute_layers: bool,
}

impl Config {
    /// Sizes and checks are those of one `hrm_seed` cycle of as many layers.
    fn as_cycle(&self) -> hrm_seed::Config {
        hrm_seed::Config {
            batch_size: self.batch_size,
            seq_len: self.seq_len,
            vocab_size: self.vocab_size,
            num_puzzle_ids: self.num_puzzle_ids,
            hidden_size: self.hidden_size,
            num_heads: self.num_heads,
            h_layers: self.layers,
            l_layers: 1,
            expansion: self.expansion,
            max_cycles: 1,
            dropout: self.dropout,
            recompute: hrm_seed::Recompute::None,
        }
    }

    pub fn dims(&self) -> Dims {
        self.as_cycle().dims()
    }

    /// F
    pub fn mlp_width(&self) -> usize {
        self.as_cycle().mlp_width()
    }
}

pub struct Transformer {
    pub config: Config,
    params: Params,
    /// In the forward dtype.
    positions: Tensor, // (T, C)
}

impl Transformer {
    /// Memory and initial values (PyTorch's defaults).
    pub fn new(device: &Device, config: Config, dtype: DType, seed: u64) -> Result<Self> {
        config.as_cycle().validate()?;
        let params = Params::new(device, &names::specs(&config), dtype, seed)?;
        let positions = hrm_seed::positions(device, config.seq_len, config.hidden_size, dtype)?;
        Ok(Self { config, params, positions })
    }

    fn forward(
        &self,
        tape: &mut Tape,
        bound: Bound,
        tokens: &Tensor,
        noise: Option<&Noise>,
    ) -> Result<Answer> {
        let positions = Var::constant(self.positions.clone());
        let table = bound.get(names::TOKEN_EMBEDDING)?;
        let e = embedding::with_positions(tape, tokens, &table, &positions)?;
        let mut x = Noise::apply(noise, tape, e, 0)?;
        for i in 0..self.config.layers {
            let name = names::layer(i);
            let layer = EncoderLayer::bind(&bound, &name, self.config.num_heads)?;
            let site = 1 + i as u32 * SITES_PER_LAYER;
            let again = self.config.recompute_layers;
            x = tape.scope(name, |tape| layer.run(tape, x, noise, site, again))?;
        }
        let logits = Linear::bind(&bound, names::OUTPUT)?.forward(tape, &x)?;
        Ok(Answer { logits, halts: vec![] })
    }
}

impl Model for Transformer {
    fn dims(&self) -> Dims {
        self.config.dims()
    }

    fn params(&self) -> &Params {
        &self.params
    }

    /// There is one pass: it is always the last.
    fn would_halt(&self, _: [f32; 2]) -> bool {
        true
    }

    fn train_segment(
        &self,
        tape: Tape,
        carry: &Carry,
        batch: &DeviceBatch,
        space: &Workspace,
        draw: &Tensor,
        mode: Mode,
    ) -> Result<Segment> {
        let noise = Noise::new(draw, self.config.dropout);
        let tokens = &carry.current.inputs;
        one_pass::train(self, tape, (carry, batch, space), mode, |tape, bound| {
            self.forward(tape, bound, tokens, noise.as_ref())
        })
    }

    fn eval_segment(
        &self,
        carry: &Carry,
        batch: &DeviceBatch,
        space: &Workspace,
    ) -> Result<Segment> {
        let tokens = &carry.current.inputs;
        one_pass::evaluate(self, (carry, batch, space), |tape, bound| {
            self.forward(tape, bound, tokens, None)
        })
    }
}
