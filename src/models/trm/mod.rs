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
use super::{Compute, Configuration, Dims, Sizes, io};
use crate::Result;
use crate::backend::Device;
use crate::nn::rope;
use crate::ops::attention::Rope;

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
