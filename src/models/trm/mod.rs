//! The Tiny Recursive Model, as the official implementation computes it
//! (SamsungSAILMontreal/TinyRecursiveModels, `trm.py`). Beside [`hrm`](super::hrm): one network for
//! both states; gradients through all passes of the last H cycle; halting on q_halt > 0 without a
//! second forward; a puzzle prefix of a fixed length; and, in the variant `mlp_t`, a SwiGLU over
//! the sequence in place of attention.
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
use super::{Compute, Configuration, Dims, Model, RowForm, Sizes, check, io};
use crate::backend::Device;
use crate::formats::onnx::Graph;
use crate::nn::rope;
use crate::ops::attention::Rope;
use crate::{Error, Result};

impl Configuration for Config {
    fn validate(&self) -> Result<()> {
        check::positive(&[
            ("hidden_size", self.hidden_size),
            ("num_heads", self.num_heads),
            ("l_layers", self.layers),
            ("h_cycles", self.h_cycles),
            ("l_cycles", self.l_cycles),
            ("halt_max_steps", self.halt_max_steps),
        ])?;
        match (self.mlp_t, self.pos_encodings) {
            (false, _) => check::heads(self.hidden_size, self.num_heads)?,
            (true, PosEncodings::Rope) => check::refuse(
                "pos_encodings",
                "rope",
                "must be none or learned: model.mlp_t has no attention to rotate for",
            )?,
            (true, _) => {}
        }
        check::probability("halt_exploration_prob", self.halt_exploration_prob)?;
        check::deviation("start_noise", self.start_noise)?;
        check::expansion(self.expansion)?;
        if self.puzzle_emb_ndim > self.prefix().saturating_mul(self.hidden_size) {
            return Err(Error::invalid(format!(
                "model.puzzle_emb_ndim={} does not fit model.puzzle_emb_len={} tokens of \
                 model.hidden_size={}; 0 takes as many tokens as it needs",
                self.puzzle_emb_ndim, self.puzzle_emb_len, self.hidden_size
            )));
        }
        Ok(())
    }

    fn dims(&self, sizes: Sizes) -> Dims {
        Dims {
            prefix: self.prefix(),
            puzzle_emb_ndim: self.puzzle_emb_ndim,
            segments: self.halt_max_steps,
            ignores_pad: true,
            form: self.form(),
            ..Dims::plain(sizes, self.hidden_size)
        }
    }

    /// `mlp_t` has a weight for each position of the canvas.
    fn form(&self) -> RowForm {
        if self.mlp_t { RowForm::Canvas } else { RowForm::Cells }
    }

    fn build(&self, device: &Device, sizes: Sizes, compute: Compute) -> Result<Box<dyn Model>> {
        Ok(Box::new(Trm::new(device, self.clone(), sizes, compute)?))
    }

    fn onnx(&self, graph: &mut Graph, dims: &Dims) -> std::result::Result<(), String> {
        onnx::build(graph, self, dims)
    }
}

pub struct Trm {
    pub config: Config,
    dims: Dims,
    recompute: Recompute,
    pub store: Store,
    rope: Option<Rope>,
}

impl Trm {
    /// Memory and initial values.
    pub fn new(device: &Device, config: Config, sizes: Sizes, compute: Compute) -> Result<Self> {
        config.validate()?;
        let dims = config.dims(sizes);
        let level = names::level(&config, dims.positions());
        let specs = io::specs(dims, config.pos_encodings, level);
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
