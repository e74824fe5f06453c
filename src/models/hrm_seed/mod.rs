//! A simplified HRM with full back-propagation through its cycles; preset `arc-full`.
//! Differences from [`hrm`](super::hrm):
//!
//! - layers are `nn.TransformerEncoderLayer`: biases, ReLU, LayerNorm with gain; sinusoidal
//!   positions
//! - a cycle runs the H layers, then the L layers; linear maps carry H to L and L back to H
//! - the answer is the L state's; no puzzle embeddings; nothing is carried from batch to batch
//! - the whole batch halts at once, from the second cycle on, when its mean halting probability is
//!   above 0.9 (so that a row's answer depends on the rows beside it, as in the reference)
//! - the loss counts every token, PAD included, plus 0.01 x the mean halting probability
//! - the gradient flows through all cycles
//!
//! `config.rs` settings · `names.rs` parameter names · `inner.rs` forward · `foreign.rs` recognised
//! in files of others · `onnx.rs` as a graph.

mod config;
mod foreign;
mod inner;
pub mod names;
mod onnx;

pub use config::{Config, Recompute};
pub use foreign::Kind;
pub use inner::HALT_ABOVE;

use super::{
    Carry, Compute, Configuration, DeviceBatch, Dims, Model, RowForm, Segment, Sizes, Workspace,
    check, one_pass,
};
use crate::backend::Device;
use crate::formats::onnx::Graph;
use crate::nn::encoder::Noise;
use crate::nn::params::Params;
use crate::nn::sinusoids;
use crate::tape::{Mode, Tape};
use crate::tensor::Tensor;
use crate::{Error, Result};

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
        Dims { form: self.form(), ..Dims::plain(sizes, self.hidden_size) }
    }

    /// The halting head takes the mean over all positions.
    fn form(&self) -> RowForm {
        RowForm::Canvas
    }

    fn build(&self, device: &Device, sizes: Sizes, compute: Compute) -> Result<Box<dyn Model>> {
        Ok(Box::new(HrmSeed::new(device, self.clone(), sizes, compute)?))
    }

    fn onnx(&self, graph: &mut Graph, dims: &Dims) -> std::result::Result<(), String> {
        onnx::build(graph, self, dims)
    }
}

pub struct HrmSeed {
    pub config: Config,
    dims: Dims,
    recompute: Recompute,
    params: Params,
    /// In the forward dtype.
    positions: Tensor, // (T, C)
}

impl HrmSeed {
    /// Memory and initial values (PyTorch's defaults).
    pub fn new(device: &Device, config: Config, sizes: Sizes, compute: Compute) -> Result<Self> {
        config.validate()?;
        let Compute { dtype, recompute, seed, frozen } = compute;
        let dims = config.dims(sizes);
        let specs = names::specs(&config, dims.vocab_size);
        let params = Params::new(device, &specs, dtype, seed)?.frozen(frozen);
        let positions = sinusoids::tensor(device, dims.seq_len, dims.hidden_size, dtype)?;
        Ok(Self { config, dims, recompute, params, positions })
    }
}

impl Model for HrmSeed {
    fn dims(&self) -> Dims {
        self.dims
    }

    fn params(&self) -> &Params {
        &self.params
    }

    fn halting_cycles(&self) -> usize {
        self.config.max_cycles
    }

    fn rows_halt_together(&self) -> bool {
        true
    }

    /// The number of cycles is read back.
    fn is_recordable(&self) -> bool {
        false
    }

    /// `q`: logit and probability of the last cycle.
    fn would_halt(&self, q: [f32; 2]) -> bool {
        q[1] > HALT_ABOVE
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
        let (tokens, layout) = (&carry.current.inputs, &carry.layout);
        one_pass::train(self, tape, (carry, batch, space), mode, |tape, bound| {
            self.forward(tape, bound, tokens, layout, noise.as_ref())
        })
    }

    fn eval_segment(
        &self,
        carry: &Carry,
        batch: &DeviceBatch,
        space: &Workspace,
    ) -> Result<Segment> {
        let (tokens, layout) = (&carry.current.inputs, &carry.layout);
        one_pass::evaluate(self, (carry, batch, space), |tape, bound| {
            self.forward(tape, bound, tokens, layout, None)
        })
    }
}
