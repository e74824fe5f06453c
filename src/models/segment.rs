//! What a segment works in and gives out.

use super::Model;
use crate::Result;
use crate::backend::Purpose;
use crate::dtype::DType;
use crate::ops::act_halt::metric;
use crate::ops::{cross_entropy, halt_head};
use crate::tensor::Tensor;

/// Weight of each Q loss in the total.
const Q_LOSS_WEIGHT: f32 = 0.5;
/// Weight of the mean halting probability, where a model is trained to halt by it.
pub const HALT_LOSS_WEIGHT: f32 = 0.01;

/// Buffers that every segment reuses, and the constants of its loss.
pub struct Workspace {
    /// Puzzle rows of the batch and their gradient, (B, D) f32.
    pub puzzle_rows: Option<(Tensor, Tensor)>,
    /// Sums of this segment, (8) f32; see [`metric`].
    pub metrics: Tensor,
    /// Targets of the two Q logits, (B, 2) f32.
    pub q_targets: Tensor,
    /// Gradient of the total with respect to cross_entropy's rows.
    pub d_rows: Tensor, // (B, 4)
    pub d_q_rows: Tensor, // (B, 2)
    /// Gradient with respect to halt_head's rows, after n cycles in block n - 1.
    pub d_halt: Option<Tensor>, // (cycles, B, 2)
}

/// What a segment gives out.
pub struct Segment {
    pub logits: Tensor, // (N, V), prefix positions included
    pub q: Tensor,      // (B, 2)
    /// Loss and hits of each row, see [`cross_entropy`].
    pub rows: Tensor, // (B, 4)
    /// Losses of the two Q logits.
    pub q_rows: Tensor, // (B, 2)
}

impl Workspace {
    /// For the model's own batch. `global_batch` divides the gradient: rows of one optimizer step
    /// over all micro-batches.
    pub fn new(model: &dyn Model, global_batch: usize) -> Result<Self> {
        Self::of_rows(model, model.dims().batch_size, global_batch)
    }

    /// For a batch of `b` rows.
    pub fn of_rows(model: &dyn Model, b: usize, global_batch: usize) -> Result<Self> {
        let (device, dims) = (model.device(), model.dims());
        let f32s = |shape: &[usize]| Tensor::zeros(device, DType::F32, shape, Purpose::Workspace);
        let scale = 1.0 / global_batch as f32;
        let d_rows: Vec<f32> = (0..b).flat_map(|_| [scale, 0.0, 0.0, 0.0]).collect();
        let d_q_rows = vec![Q_LOSS_WEIGHT * scale; 2 * b];
        let puzzle_rows = match dims.puzzle_emb_ndim {
            0 => None,
            d => Some((f32s(&[b, d])?, f32s(&[b, d])?)),
        };
        let cycles = model.halting_cycles();
        let d_halt: Vec<f32> = (1..=cycles)
            .flat_map(|n| vec![HALT_LOSS_WEIGHT * scale / n as f32; b])
            .flat_map(|d_probability| [0.0, d_probability])
            .collect();
        let d_halt = match cycles {
            0 => None,
            _ => {
                let shape = [cycles, b, halt_head::ROW];
                Some(Tensor::from_slice(device, &d_halt, shape, Purpose::Workspace)?)
            }
        };
        let row = [b, cross_entropy::ROW];
        Ok(Self {
            puzzle_rows,
            metrics: f32s(&[metric::LEN])?,
            q_targets: f32s(&[b, 2])?,
            d_rows: Tensor::from_slice(device, &d_rows, row, Purpose::Workspace)?,
            d_q_rows: Tensor::from_slice(device, &d_q_rows, [b, 2], Purpose::Workspace)?,
            d_halt,
        })
    }
}
