//! The Hierarchical Reasoning Model with adaptive computation time, as the official implementation
//! computes it (sapientinc/HRM, `hrm_act_v1.py`): two recurrent levels, one-step gradient,
//! Q-learned halting with a bootstrapped target from a second forward.
//!
//! `config.rs` settings · `names.rs` official parameter names · `inner.rs` one segment's forward ·
//! `foreign.rs` recognised in files of others ·
//! `onnx.rs` as a graph; halting and losses are those of [`act`](super::act).

mod config;
mod foreign;
mod inner;
pub mod names;
mod onnx;

pub use config::{Config, Loss, PosEncodings, Recompute};
pub use foreign::Kind;

use super::act::Store;
use super::{Compute, Configuration, Dims, Model, Sizes, check, io};
use crate::Result;
use crate::backend::Device;
use crate::formats::onnx::Graph;
use crate::nn::rope;
use crate::ops::attention::Rope;

impl Configuration for Config {
    fn validate(&self) -> Result<()> {
        check::positive(&[
            ("hidden_size", self.hidden_size),
            ("num_heads", self.num_heads),
            ("h_layers", self.h_layers),
            ("l_layers", self.l_layers),
            ("h_cycles", self.h_cycles),
            ("l_cycles", self.l_cycles),
            ("halt_max_steps", self.halt_max_steps),
        ])?;
        check::heads(self.hidden_size, self.num_heads)?;
        check::probability("halt_exploration_prob", self.halt_exploration_prob)?;
        check::deviation("start_noise", self.start_noise)?;
        check::expansion(self.expansion)?;
        check::seen_positions(self.pos_encodings)
    }

    fn dims(&self, sizes: Sizes) -> Dims {
        Dims {
            prefix: self.prefix(),
            puzzle_emb_ndim: self.puzzle_emb_ndim,
            segments: self.halt_max_steps,
            ignores_pad: true,
            ..Dims::plain(sizes, self.hidden_size)
        }
    }

    fn build(&self, device: &Device, sizes: Sizes, compute: Compute) -> Result<Box<dyn Model>> {
        Ok(Box::new(Hrm::new(device, self.clone(), sizes, compute)?))
    }

    fn onnx(&self, graph: &mut Graph, dims: &Dims) -> std::result::Result<(), String> {
        onnx::build(graph, self, dims)
    }
}

pub struct Hrm {
    pub config: Config,
    dims: Dims,
    recompute: Recompute,
    pub store: Store,
    rope: Option<Rope>,
}

impl Hrm {
    /// Memory and initial values.
    pub fn new(device: &Device, config: Config, sizes: Sizes, compute: Compute) -> Result<Self> {
        config.validate()?;
        let dims = config.dims(sizes);
        let specs = io::specs(dims, config.pos_encodings, names::levels(&config));
        let store = Store::new(device, &specs, dims, compute)?;
        let rope = (config.pos_encodings == PosEncodings::Rope)
            .then(|| rope::tables(device, dims.positions(), config.head_dim(), rope::THETA))
            .transpose()?;
        Ok(Self { config, dims, recompute: compute.recompute, store, rope })
    }

    pub fn rope(&self) -> Option<&Rope> {
        self.rope.as_ref()
    }
}
