//! A causal transformer over grids as sequences (`crate::sequence`): pre-norm, rotary positions in
//! three dimensions, SwiGLU, an untied head, no biases and no gains. Every token is told its task
//! and the transform of its variant by an embedding each. An answer is written token by token; the
//! loss is of output tokens alone, a row's mean.
//!
//! ```text
//!   x      = tokens[t] + task[condition / 8] + turn[condition mod 8]
//!   x      = x + o(attention(norm(x)))
//!   x      = x + down(silu(gate) up),  (gate, up) = gate_up(norm(x))
//!   logits = head(norm(x))
//! ```
//!
//! `config.rs` settings · `names.rs` parameter names · `layer.rs` a layer · `foreign.rs` recognised
//! in files of others · `onnx.rs` as a graph. After the description of mdlARC (2025).

mod config;
mod foreign;
mod layer;
pub mod names;
mod onnx;

pub use config::{Config, Recompute};
pub use foreign::Kind;

use self::layer::{GridLayer, SITES_PER_LAYER};
use super::decode::{Decoder, Decoding, Next};
use super::{
    Carry, Compute, Configuration, DeviceBatch, Dims, Model, RowForm, Segment, Sizes, Workspace,
    check, one_pass,
};
use crate::Result;
use crate::backend::Device;
use crate::formats::onnx::Graph;
use crate::models::one_pass::Answer;
use crate::nn::block::RMS_NORM_EPS;
use crate::nn::encoder::Noise;
use crate::nn::params::{Bound, Params};
use crate::nn::rope;
use crate::ops::attention::Rope;
use crate::ops::attention_cached::Cache;
use crate::ops::layout::Layout;
use crate::ops::{embedding, matmul, rms_norm, row_embedding};
use crate::sequence::{CANVAS_VOCABULARY, TURNS, longest};
use crate::tape::{Mode, Tape, Var};
use crate::tensor::Tensor;

impl Configuration for Config {
    fn validate(&self) -> Result<()> {
        let mlp = (self.expansion, self.mlp_width());
        check::layers(self.layers, self.hidden_size, self.num_heads, mlp, self.dropout)
    }

    fn dims(&self, sizes: Sizes) -> Dims {
        let (vocab_size, form) = (CANVAS_VOCABULARY, self.form());
        Dims { vocab_size, form, ..Dims::plain(sizes, self.hidden_size) }
    }

    fn form(&self) -> RowForm {
        RowForm::Sequence
    }

    fn build(&self, device: &Device, sizes: Sizes, compute: Compute) -> Result<Box<dyn Model>> {
        Ok(Box::new(GridLm::new(device, self.clone(), sizes, compute)?))
    }

    fn onnx(&self, graph: &mut Graph, dims: &Dims) -> std::result::Result<(), String> {
        onnx::build(graph, self, dims)
    }
}

pub struct GridLm {
    pub config: Config,
    dims: Dims,
    recompute: Recompute,
    params: Params,
    /// Tables of all places.
    rope: Rope,
}

impl GridLm {
    /// Memory and initial values.
    pub fn new(device: &Device, config: Config, sizes: Sizes, compute: Compute) -> Result<Self> {
        config.validate()?;
        let Compute { dtype, recompute, seed, frozen } = compute;
        let dims = config.dims(sizes);
        let tasks = dims.num_puzzle_ids.div_ceil(TURNS);
        let specs = names::specs(&config, tasks);
        let params = Params::new(device, &specs, dtype, seed)?.frozen(frozen);
        let rope = rope::grid_tables(device, dims.side(), config.head_dim(), rope::THETA)?;
        Ok(Self { config, dims, recompute, params, rope })
    }

    /// The sum of a position's embeddings, (N, C).
    fn embed(
        &self,
        tape: &mut Tape,
        bound: &Bound,
        tokens: &Tensor,
        conditions: &Tensor, // (R)
        layout: &Layout,
    ) -> Result<Var> {
        let table = bound.get(names::TOKENS)?;
        let mut x = embedding::forward(tape, tokens, &table, None, None, 1.0, layout)?;
        for (name, stride) in [(names::TASKS, TURNS), (names::TURN, 1)] {
            x = row_embedding::forward(tape, &x, &bound.get(name)?, conditions, stride, layout)?;
        }
        Ok(x)
    }

    /// Logits (N, V) of what follows each position.
    fn logits(&self, tape: &mut Tape, bound: &Bound, x: &Var) -> Result<Var> {
        let x = rms_norm::alone(tape, x, RMS_NORM_EPS)?;
        matmul::linear(tape, &x, &bound.get(names::HEAD)?, None)
    }

    fn forward(
        &self,
        tape: &mut Tape,
        bound: &Bound,
        carry: &Carry,
        noise: Option<&Noise>,
    ) -> Result<Answer> {
        let (current, layout) = (&carry.current, &carry.layout);
        let e = self.embed(tape, bound, &current.inputs, &current.puzzle_ids, layout)?;
        let mut x = Noise::apply(noise, tape, e, 0)?;
        let again = self.recompute == Recompute::Layer;
        for i in 0..self.config.layers {
            let name = names::layer(i);
            let layer = GridLayer::bind(bound, &name, self.config.num_heads)?;
            let site = 1 + i as u32 * SITES_PER_LAYER;
            x = tape
                .scope(name, |tape| layer.run(tape, x, &self.rope, layout, noise, site, again))?;
        }
        Ok(Answer { logits: self.logits(tape, bound, &x)?, halts: vec![] })
    }
}

impl Model for GridLm {
    fn dims(&self) -> Dims {
        self.dims
    }

    fn params(&self) -> &Params {
        &self.params
    }

    fn task_table(&self) -> Option<&'static str> {
        Some(names::TASKS)
    }

    /// There is one pass: it is always the last.
    fn would_halt(&self, _: [f32; 2]) -> bool {
        true
    }

    fn decoder(&self) -> Option<&dyn Decoder> {
        Some(self)
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
        one_pass::train(self, tape, (carry, batch, space), mode, |tape, bound| {
            self.forward(tape, &bound, carry, noise.as_ref())
        })
    }

    fn eval_segment(
        &self,
        carry: &Carry,
        batch: &DeviceBatch,
        space: &Workspace,
    ) -> Result<Segment> {
        one_pass::evaluate(self, (carry, batch, space), |tape, bound| {
            self.forward(tape, &bound, carry, None)
        })
    }
}

impl Decoder for GridLm {
    fn memory(&self, rows: usize) -> Result<Decoding> {
        let (device, c) = (self.device(), self.config.hidden_size);
        let room = longest(self.dims.side());
        let layer = |_| Cache::new(device, self.dtype(), rows, room, c);
        Decoding::new(device, rows, (0..self.config.layers).map(layer).collect::<Result<_>>()?)
    }

    fn read(&self, decoding: &Decoding, next: &Next) -> Result<Tensor> {
        decoding.upload(next)?;
        let Decoding { layout, tokens, conditions, layers, .. } = decoding;
        let (mut tape, bound) = (Tape::no_grad(self.device()), self.params.constants()?);
        let tape = &mut tape;
        let mut x = self.embed(tape, &bound, tokens, conditions, layout)?;
        for (i, cache) in layers.iter().enumerate() {
            let layer = GridLayer::bind(&bound, &names::layer(i), self.config.num_heads)?;
            x = layer.read(tape, &x, &self.rope, cache, &layout.places)?;
        }
        Ok(self.logits(tape, &bound, &x)?.tensor)
    }
}
