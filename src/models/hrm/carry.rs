//! What runs on from one segment to the next, and the rows offered to it.

use super::Hrm;
use crate::Result;
use crate::backend::{Device, Purpose};
use crate::dtype::DType;
use crate::tensor::Tensor;

/// One slot per batch row: states, counters and the data being worked on. All slots start halted,
/// so the first batch enters every one; what is in them before is never read.
pub struct Carry {
    pub z_h: Tensor,    // (B, T, C)
    pub z_l: Tensor,    // (B, T, C)
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
    pub fn new(model: &Hrm) -> Result<Self> {
        let (device, config) = (model.device(), &model.config);
        let (b, t, c) = (config.batch_size, config.positions(), config.hidden_size);
        let carry = Self {
            z_h: Tensor::zeros(device, model.dtype(), [b, t, c], Purpose::Carry)?,
            z_l: Tensor::zeros(device, model.dtype(), [b, t, c], Purpose::Carry)?,
            steps: Tensor::zeros(device, DType::I32, [b], Purpose::Carry)?,
            halted: Tensor::zeros(device, DType::U8, [b], Purpose::Carry)?,
            current: DeviceBatch::new(device, b, config.seq_len)?,
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
            crate::ops::act_halt::admit(&self.halted, src, dst)?;
        }
        Ok(())
    }

    /// Everything a bit-exact continuation needs, by name.
    pub fn tensors(&self) -> [(&'static str, &Tensor); 7] {
        [
            ("z_H", &self.z_h),
            ("z_L", &self.z_l),
            ("steps", &self.steps),
            ("halted", &self.halted),
            ("inputs", &self.current.inputs),
            ("labels", &self.current.labels),
            ("puzzle_identifiers", &self.current.puzzle_ids),
        ]
    }
}
