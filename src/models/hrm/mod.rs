//! The Hierarchical Reasoning Model with adaptive computation time, as the official implementation
//! computes it (sapientinc/HRM, `hrm_act_v1.py`): two recurrent levels, one-step gradient, Q-learned
//! halting with a bootstrapped target from a second forward.
//!
//! `config.rs` shapes · `names.rs` official parameter names · `carry.rs` what runs on between
//! segments · `inner.rs` one segment's forward · `act.rs` a training or evaluation segment.

mod act;
mod carry;
mod config;
mod inner;
pub mod names;

pub use act::{Segment, Workspace};
pub use carry::{Carry, DeviceBatch};
pub use config::{Config, Loss, PosEncodings, Recompute};

use crate::Result;
use crate::backend::{Device, Purpose};
use crate::dtype::DType;
use crate::nn::init::Init;
use crate::nn::params::Params;
use crate::nn::rope;
use crate::ops::attention::Rope;
use crate::ops::cast;
use crate::tensor::Tensor;

/// Streams of the initialiser that are not parameters; far from any parameter's number.
const H_INIT_STREAM: u64 = 1 << 32;
const L_INIT_STREAM: u64 = H_INIT_STREAM + 1;

pub struct Hrm {
    pub config: Config,
    pub params: Params,
    /// Puzzle embeddings (NP, D) f32, trained by `sign_sgd_rows`; absent when D is 0.
    pub puzzle_table: Option<Tensor>,
    /// Initial states (C) f32; fixed, not trained.
    pub h_init: Tensor,
    pub l_init: Tensor,
    /// The same in the forward dtype.
    h_start: Tensor,
    l_start: Tensor,
    rope: Option<Rope>,
    device: Device,
}

impl Hrm {
    /// Memory and initial values. `dtype` is what forward computes in: f32 or bf16.
    pub fn new(device: &Device, config: Config, dtype: DType, seed: u64) -> Result<Self> {
        config.validate()?;
        let c = config.hidden_size;
        let params = Params::new(device, &names::specs(&config), dtype, seed)?;
        let puzzle_table = match config.puzzle_emb_ndim {
            0 => None,
            d => Some(Tensor::zeros(
                device,
                DType::F32,
                [config.num_puzzle_ids, d],
                Purpose::Weights,
            )?),
        };
        let state = |stream| {
            let values = Init::TruncatedNormal { std: 1.0 }.values(c, seed, stream);
            Tensor::from_slice(device, &values, [c], Purpose::Weights)
        };
        let rope = match config.pos_encodings {
            PosEncodings::Rope => Some(rope::tables(
                device,
                config.positions(),
                config.head_dim(),
                config.rope_theta,
            )?),
            PosEncodings::Learned => None,
        };
        let model = Self {
            h_init: state(H_INIT_STREAM)?,
            l_init: state(L_INIT_STREAM)?,
            h_start: Tensor::uninit(device, dtype, [c], Purpose::Weights)?,
            l_start: Tensor::uninit(device, dtype, [c], Purpose::Weights)?,
            config,
            params,
            puzzle_table,
            rope,
            device: device.clone(),
        };
        model.refresh()?;
        Ok(model)
    }

    /// Bring the working copies up to date after weights were loaded.
    pub fn refresh(&self) -> Result<()> {
        cast::from_f32(&self.h_init, &self.h_start)?;
        cast::from_f32(&self.l_init, &self.l_start)?;
        self.params.refresh()
    }

    pub fn device(&self) -> &Device {
        &self.device
    }

    pub fn dtype(&self) -> DType {
        self.params.work.dtype()
    }

    /// Trainable numbers, puzzle embeddings included.
    pub fn trainable_elems(&self) -> usize {
        self.params.elems() + self.puzzle_table.as_ref().map_or(0, Tensor::elems)
    }

    /// Everything that is the model, under its official names: trained weights (f32 master), puzzle
    /// table, fixed initial states. After writing to one, call [`refresh`](Self::refresh).
    pub fn tensors(&self) -> Result<Vec<(String, Tensor)>> {
        let mut all = vec![
            (names::H_INIT.to_owned(), self.h_init.clone()),
            (names::L_INIT.to_owned(), self.l_init.clone()),
        ];
        all.extend(self.puzzle_table.iter().map(|t| (names::PUZZLE_TABLE.to_owned(), t.clone())));
        for name in self.params.names() {
            all.push((name.to_owned(), self.params.part(&self.params.master, name)?));
        }
        Ok(all.into_iter().map(|(name, t)| (format!("{}{name}", names::PREFIX), t)).collect())
    }

    pub fn rope(&self) -> Option<&Rope> {
        self.rope.as_ref()
    }
}
