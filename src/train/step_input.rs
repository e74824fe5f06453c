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
    /// Those of each slot for each state, where rows start with noise.
    pub starts: Vec<Tensor>, // (B, 4) i32 each
}

/// Every part starts on this boundary, as tensors of their own would: kernels may load vectors.
const ALIGN_ELEMS: usize = 64;

impl StepInput {
    /// For micro-batches that enter slots like those of `carry`, with draws for so many `starts`.
    pub fn new(device: &Device, carry: &Carry, grad_accum: usize, starts: usize) -> Result<Self> {
        let (layout, packed) = (&carry.layout, carry.is_packed());
        let (cells, b) = (layout.cells_shape(), layout.rows());
        let mut parts: Vec<Shape> = vec![];
        for _ in 0..grad_accum {
            parts.extend([cells, cells, [b].into(), Shape::from([Draw::WORDS])]);
            parts.extend(vec![Shape::from([b, Draw::WORDS]); starts]);
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
                let starts = (0..starts).map(|_| next()).collect::<Result<_>>()?;
                let placed = match packed {
                    true => Some(Placed { lengths: next()?, places: next()? }),
                    false => None,
                };
                let batch = DeviceBatch { inputs, labels, puzzle_ids, placed };
                Ok(MicroBatch { batch, draw, starts })
            })
            .collect::<Result<_>>()?;
        let factors = StepFactors::over(&next()?.as_dtype(DType::F32)?)?;
        let upload = Upload::new(flat.clone())?;
        Ok(Self { upload, micro_batches, factors, layout: layout.clone() })
    }

    /// Queue the input of one step: a batch and a draw for each micro-batch. What slot b of B draws
    /// for state s of S has the number (number * B + b) * S + s.
    pub fn send(
        &mut self,
        batches: &[Batch],
        draws: &[Draw],
        factors: [f32; FACTORS],
    ) -> Result<()> {
        let factors = factors.map(|x| x.to_bits() as i32);
        let words: Vec<_> = draws.iter().map(|draw| draw.words()).collect();
        let starts: Vec<_> = draws.iter().map(|&draw| self.starts(draw)).collect();
        let placed: Vec<_> = batches.iter().map(|batch| placed(batch, &self.layout)).collect();
        let mut parts: Vec<&[i32]> = vec![];
        let drawn = words.iter().zip(&starts);
        for ((batch, (words, starts)), placed) in batches.iter().zip(drawn).zip(&placed) {
            parts.extend([&batch.inputs[..], &batch.labels, &batch.puzzle_ids, words]);
            parts.extend(starts.iter().map(Vec::as_slice));
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

impl StepInput {
    /// Words of each slot's draw, for each state that starts with noise.
    fn starts(&self, Draw { seed, number }: Draw) -> Vec<Vec<i32>> {
        let (b, states) = (self.layout.rows() as u64, self.micro_batches[0].starts.len() as u64);
        let of_slot =
            |slot, state| Draw { seed, number: (number * b + slot) * states + state }.words();
        (0..states).map(|state| (0..b).flat_map(|slot| of_slot(slot, state)).collect()).collect()
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

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::models::tests::models_with_states;

    #[test]
    fn no_slot_draws_what_another_did() {
        for model in models_with_states() {
            let (carry, states) = (Carry::new(&*model).unwrap(), model.states().len());
            let input = StepInput::new(model.device(), &carry, 2, states).unwrap();
            let drawn: Vec<Vec<i32>> = (0..10)
                .flat_map(|number| input.starts(Draw { seed: 1, number }))
                .flat_map(|words| {
                    words.chunks(Draw::WORDS).map(<[i32]>::to_vec).collect::<Vec<_>>()
                })
                .collect();
            assert_eq!(drawn.len(), 10 * 3 * states);
            assert_eq!(drawn.iter().collect::<HashSet<_>>().len(), drawn.len());
        }
    }
}
