//! The Hierarchical Reasoning Model with adaptive computation time, as the official implementation
//! computes it (sapientinc/HRM, `hrm_act_v1.py`): two recurrent levels, one-step gradient, Q-learned
//! halting with a bootstrapped target from a second forward.
//!
//! `config.rs` shapes · `names.rs` official parameter names · `inner.rs` one segment's forward; halting
//! and losses are those of [`act`](super::act).

mod config;
mod inner;
pub mod names;

pub use config::{Config, Loss, PosEncodings, Recompute};

use super::act::Store;
use super::io;
use crate::Result;
use crate::backend::Device;
use crate::dtype::DType;
use crate::nn::rope;
use crate::ops::attention::Rope;

pub struct Hrm {
    pub config: Config,
    pub store: Store,
    rope: Option<Rope>,
}

impl Hrm {
    /// Memory and initial values. `dtype` is what forward computes in: f32 or bf16.
    pub fn new(device: &Device, config: Config, dtype: DType, seed: u64) -> Result<Self> {
        config.validate()?;
        let dims = config.dims();
        let specs = io::specs(dims, config.pos_encodings, names::levels(&config));
        let store = Store::new(device, &specs, dims, dtype, seed)?;
        let rope = (config.pos_encodings == PosEncodings::Rope)
            .then(|| rope::tables(device, dims.positions(), config.head_dim(), config.rope_theta))
            .transpose()?;
        Ok(Self { config, store, rope })
    }

    pub fn rope(&self) -> Option<&Rope> {
        self.rope.as_ref()
    }
}
