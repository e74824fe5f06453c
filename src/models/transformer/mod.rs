//! A plain encoder, the baseline beside the recursive models: embedding + sinusoids, `layers` times
//! `nn.TransformerEncoderLayer`, a linear head. The loss counts every token, PAD included, like
//! `hrm_seed`'s, whose layers these are.
//!
//! `config.rs` settings · `names.rs` parameter names · `foreign.rs` recognised in files of others ·
//! `onnx.rs` as a graph.

mod config;
mod foreign;
pub mod names;
mod onnx;

pub use config::{Config, Recompute};
pub use foreign::Kind;

use super::{
    Carry, Compute, Configuration, DeviceBatch, Dims, Model, Segment, Sizes, Workspace, check,
    one_pass,
};
use crate::Result;
use crate::backend::Device;
use crate::formats::onnx::Graph;
use crate::models::one_pass::Answer;
use crate::nn::encoder::{EncoderLayer, Linear, Noise, SITES_PER_LAYER};
use crate::nn::params::{Bound, Params};
use crate::nn::sinusoids;
use crate::ops::embedding;
use crate::ops::layout::Layout;
use crate::tape::{Mode, Tape, Var};
use crate::tensor::Tensor;

impl Configuration for Config {
    fn validate(&self) -> Result<()> {
        let mlp = (self.expansion, self.mlp_width());
        check::layers(self.layers, self.hidden_size, self.num_heads, mlp, self.dropout)
    }

    fn dims(&self, sizes: Sizes) -> Dims {
        Dims::plain(sizes, self.hidden_size)
    }

    fn build(&self, device: &Device, sizes: Sizes, compute: Compute) -> Result<Box<dyn Model>> {
        Ok(Box::new(Transformer::new(device, self.clone(), sizes, compute)?))
    }

    fn onnx(&self, graph: &mut Graph, dims: &Dims) -> std::result::Result<(), String> {
        onnx::build(graph, self, dims)
    }
}

pub struct Transformer {
    pub config: Config,
    dims: Dims,
    recompute: Recompute,
    params: Params,
    /// In the forward dtype.
    positions: Tensor, // (T, C)
}

impl Transformer {
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

    fn forward(
        &self,
        tape: &mut Tape,
        bound: Bound,
        tokens: &Tensor,
        layout: &Layout,
        noise: Option<&Noise>,
    ) -> Result<Answer> {
        let positions = Var::constant(self.positions.clone());
        let table = bound.get(names::TOKEN_EMBEDDING)?;
        let e = embedding::with_positions(tape, tokens, &table, &positions, layout)?;
        let mut x = Noise::apply(noise, tape, e, 0)?;
        for i in 0..self.config.layers {
            let name = names::layer(i);
            let layer = EncoderLayer::bind(&bound, &name, self.config.num_heads, layout)?;
            let site = 1 + i as u32 * SITES_PER_LAYER;
            let again = self.recompute == Recompute::Layer;
            x = tape.scope(name, |tape| layer.run(tape, x, noise, site, again))?;
        }
        let logits = Linear::bind(&bound, names::OUTPUT)?.forward(tape, &x)?;
        Ok(Answer { logits, halts: vec![] })
    }
}

impl Model for Transformer {
    fn dims(&self) -> Dims {
        self.dims
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
