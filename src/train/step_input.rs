//! All that changes from step to step: batches, random draws, optimizer factors. It is one buffer
//! on the device and one copy per step, so that the rest of a step can be recorded and replayed.

use super::optimizer::{FACTORS, StepFactors};
use crate::backend::{Device, Purpose};
use crate::data::Batch;
use crate::dtype::DType;
use crate::models::{Carry, DeviceBatch, Dims, Placed};
use crate::ops::cross_entropy::IGNORE;
use crate::ops::draw::Draw;
use crate::ops::layout::Layout;
use crate::shape::Shape;
use crate::tensor::{Tensor, Upload};
use crate::{Error, Result};

pub struct StepInput {
    upload: Upload,
    pub micro_batches: Vec<MicroBatch>,
    pub factors: StepFactors,
    layout: Layout,
}

/// What one micro-batch of the step reads.
pub struct MicroBatch {
    pub batch: DeviceBatch,
    /// Words of a [`Draw`].
    pub draw: Tensor, // (4) i32
}

/// Every part starts on this boundary, as tensors of their own would: kernels may load vectors.
const ALIGN_ELEMS: usize = 64;

impl StepInput {
    /// For micro-batches that enter slots like those of `carry`.
    pub fn new(device: &Device, carry: &Carry, grad_accum: usize) -> Result<Self> {
        let (layout, packed) = (&carry.layout, carry.is_packed());
        let (cells, b) = (layout.cells_shape(), layout.rows());
        let mut parts: Vec<Shape> = vec![];
        for _ in 0..grad_accum {
            parts.extend([cells, cells, [b].into(), Shape::from([Draw::WORDS])]);
            if packed {
                parts.extend([Shape::from([b]), [layout.positions().total()].into()]);
            }
        }
        parts.push([FACTORS].into());
        let padded = |shape: &Shape| shape.elems().next_multiple_of(ALIGN_ELEMS);
        let elems = parts.iter().map(padded).sum::<usize>();
        let flat = Tensor::zeros(device, DType::I32, [elems], Purpose::Carry)?;
        let mut start = 0;
        let mut views = parts.iter().map(|shape| {
            start += padded(shape);
            flat.view(start - padded(shape), *shape)
        });
        let mut next = || views.next().expect("a view for each part");
        let micro_batches = (0..grad_accum)
            .map(|_| {
                let (inputs, labels, puzzle_ids) = (next()?, next()?, next()?);
                let draw = next()?;
                let placed = match packed {
                    true => Some(Placed { lengths: next()?, places: next()? }),
                    false => None,
                };
                let batch = DeviceBatch { inputs, labels, puzzle_ids, placed };
                Ok(MicroBatch { batch, draw })
            })
            .collect::<Result<_>>()?;
        let factors = StepFactors::over(&next()?.as_dtype(DType::F32)?)?;
        let upload = Upload::new(flat.clone())?;
        Ok(Self { upload, micro_batches, factors, layout: layout.clone() })
    }

    /// Queue the input of one step: a batch and a draw for each micro-batch.
    pub fn send(
        &mut self,
        batches: &[Batch],
        draws: &[Draw],
        factors: [f32; FACTORS],
    ) -> Result<()> {
        let factors = factors.map(|x| x.to_bits() as i32);
        let words: Vec<_> = draws.iter().map(|draw| draw.words()).collect();
        let placed: Vec<_> = batches.iter().map(|batch| placed(batch, &self.layout)).collect();
        let mut parts: Vec<&[i32]> = vec![];
        for ((batch, words), placed) in batches.iter().zip(&words).zip(&placed) {
            parts.extend([&batch.inputs[..], &batch.labels, &batch.puzzle_ids, words]);
            if let Some((lengths, places)) = placed {
                parts.extend([&lengths[..], &places[..]]);
            }
        }
        parts.push(&factors);
        self.upload.send(|flat| {
            let mut rest = flat;
            for part in parts {
                let (own, next) = rest.split_at_mut(part.len().next_multiple_of(ALIGN_ELEMS));
                own[..part.len()].copy_from_slice(part);
                own[part.len()..].fill(0);
                rest = next;
            }
        })
    }
}

/// Positions of each row of a packed batch, and the place of each position.
fn placed(batch: &Batch, layout: &Layout) -> Option<(Vec<i32>, Vec<i32>)> {
    if batch.lengths.is_empty() {
        return None;
    }
    let prefix = layout.prefix() as i32;
    let lengths = batch.lengths.iter().map(|cells| prefix + cells).collect();
    Some((lengths, layout.places_of(&batch.cells)))
}

/// What kernels take for granted, asked where the data still is on the host.
pub fn check(dims: &Dims, carry: &Carry, batches: &[Batch], grad_accum: usize) -> Result<()> {
    if batches.len() != grad_accum {
        return Err(Error::invalid(format!(
            "a step needs {grad_accum} micro-batches, got {}",
            batches.len()
        )));
    }
    let layout = &carry.layout;
    let (b, cells) = (layout.rows(), layout.cells().total());
    let placed = if carry.is_packed() { (b, cells) } else { (0, 0) };
    for batch in batches {
        if (batch.lengths.len(), batch.cells.len()) != placed {
            return Err(Error::invalid("batch: packed rows for padded slots, or the other way"));
        }
        let mut rooms = layout.cells().sizes().zip(&batch.lengths);
        if let Some((room, cells)) = rooms.find(|(room, n)| !(0..=*room as i32).contains(*n)) {
            return Err(Error::invalid(format!("batch: {cells} cells in a slot of {room}")));
        }
        let labels: Vec<i32> = batch.labels.iter().copied().filter(|l| *l != IGNORE).collect();
        for (what, count, expected, values, end) in [
            ("tokens", batch.inputs.len(), cells, &batch.inputs, dims.tokens()),
            ("places", batch.cells.len(), placed.1, &batch.cells, dims.places()),
            ("puzzle ids", batch.puzzle_ids.len(), b, &batch.puzzle_ids, dims.num_puzzle_ids),
            ("labels", batch.labels.len(), cells, &labels, dims.tokens()),
        ] {
            if count != expected {
                let what = format!("batch: {count} {what}, expected {expected}");
                return Err(Error::invalid(what));
            }
            if let Some(bad) = values.iter().find(|&&v| v < 0 || v as usize >= end) {
                return Err(Error::invalid(format!("batch: {what} {bad} is not below {end}")));
            }
        }
    }
    Ok(())
}
