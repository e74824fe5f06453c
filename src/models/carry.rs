//! What runs on from one segment to the next, and the rows offered to it.

use super::Model;
use crate::Result;
use crate::backend::{Device, Purpose};
use crate::dtype::DType;
use crate::ops::act_halt;
use crate::tensor::Tensor;

/// One slot per batch row: states, counters and the data being worked on. All slots start halted,
/// so the first batch enters every one; what is in them before is never read.
pub struct Carry {
    /// (B, T, C) each, in the order of [`Model::states`].
    pub states: Vec<(&'static str, Tensor)>,
    pub steps: Tensor,  // (B) i32
    pub halted: Tensor, // (B) u8
    pub current: DeviceBatch,
}

/// Rows on the device: tokens (B, S), labels (B, S), puzzle ids (B), all i32.
pub struct DeviceBatch {
    pub inputs: Tensor,
    pub labels: Tensor,
    pub puzzle_ids: Tensor,
}

impl DeviceBatch {
    pub fn new(device: &Device, b: usize, s: usize) -> Result<Self> {
        let zeros = |shape: &[usize]| Tensor::zeros(device, DType::I32, shape, Purpose::Carry);
        Ok(Self { inputs: zeros(&[b, s])?, labels: zeros(&[b, s])?, puzzle_ids: zeros(&[b])? })
    }

    pub fn upload(&self, inputs: &[i32], labels: &[i32], puzzle_ids: &[i32]) -> Result<()> {
        self.inputs.upload(inputs)?;
        self.labels.upload(labels)?;
        self.puzzle_ids.upload(puzzle_ids)
    }

    fn tensors(&self) -> [&Tensor; 3] {
        [&self.inputs, &self.labels, &self.puzzle_ids]
    }
}

impl Carry {
    /// For the model's own batch.
    pub fn new(model: &dyn Model) -> Result<Self> {
        Self::of_rows(model, model.dims().batch_size)
    }

    /// For a batch of `b` rows.
    pub fn of_rows(model: &dyn Model, b: usize) -> Result<Self> {
        let (device, dims) = (model.device(), model.dims());
        let (t, c) = (dims.positions(), dims.hidden_size);
        let state = |name: &&'static str| {
            Ok((*name, Tensor::zeros(device, model.dtype(), [b, t, c], Purpose::Carry)?))
        };
        let carry = Self {
            states: model.states().iter().map(state).collect::<Result<_>>()?,
            steps: Tensor::zeros(device, DType::I32, [b], Purpose::Carry)?,
            halted: Tensor::zeros(device, DType::U8, [b], Purpose::Carry)?,
            current: DeviceBatch::new(device, b, dims.seq_len)?,
        };
        carry.halt_all()?;
        Ok(carry)
    }

    /// The next batch enters every slot.
    pub fn halt_all(&self) -> Result<()> {
        self.halted.upload(&vec![1_u8; self.halted.elems()])
    }

    /// Rows of `batch` enter the halted slots; rows for running slots are discarded.
    pub(super) fn admit(&self, batch: &DeviceBatch) -> Result<()> {
        for (dst, src) in self.current.tensors().into_iter().zip(batch.tensors()) {
            act_halt::admit(&self.halted, src, dst)?;
        }
        Ok(())
    }

    /// Everything a bit-exact continuation needs, by name.
    pub fn tensors(&self) -> Vec<(&'static str, &Tensor)> {
        let mut all: Vec<_> = self.states.iter().map(|(name, state)| (*name, state)).collect();
        all.extend([("steps", &self.steps), ("halted", &self.halted)]);
        let names = ["inputs", "labels", "puzzle_identifiers"];
        all.extend(names.into_iter().zip(self.current.tensors()));
        all
    }
}
