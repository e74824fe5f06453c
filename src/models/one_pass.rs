//! Segments of models that answer in one pass and carry no state: `hrm_seed`, `transformer`. Every
//! batch enters all slots, every row counts.
//!
//! The loss of a row is its cross-entropy plus, where there is a halting head, [`HALT_LOSS_WEIGHT`]
//! times its mean halting probability. In the metrics ACT steps are the cycles that were run,
//! `q_halt_loss` is the mean halting probability, and the halting logit stands where the Q logit of
//! others does.
//!
//! [`HALT_LOSS_WEIGHT`]: super::HALT_LOSS_WEIGHT

use super::{Carry, DeviceBatch, Model, Segment, Workspace};
use crate::Result;
use crate::backend::Purpose;
use crate::dtype::DType;
use crate::nn::params::Bound;
use crate::ops::act_halt::{self, Halting};
use crate::ops::cross_entropy::{self, Kind};
use crate::ops::halt_head;
use crate::tape::{Mode, Tape, Var};
use crate::tensor::Tensor;

/// The only step is the last one.
const ONE_STEP: Halting =
    Halting { max_steps: 1, training: false, q_continue: false, exploration_prob: 0.0 };

pub struct Answer {
    pub logits: Var, // (N, V)
    /// (B, 2) of each cycle, see [`halt_head`]; empty: the model has none.
    pub halts: Vec<Var>,
}

/// Forward, losses, backward.
pub fn train(
    model: &dyn Model,
    mut tape: Tape,
    (carry, batch, space): (&Carry, &DeviceBatch, &Workspace),
    mode: Mode,
    forward: impl FnOnce(&mut Tape, Bound) -> Result<Answer>,
) -> Result<Segment> {
    carry.admit(batch)?;
    let bound = model.params().bind(&mut tape, mode)?;
    let Answer { logits, halts } = forward(&mut tape, bound)?;
    let labels = &carry.current.labels;
    let rows = cross_entropy::forward(&mut tape, Kind::Softmax, &logits, labels, &carry.layout)?;
    let logits = logits.tensor;
    let q = losses(&rows.tensor, &halts, carry, space)?;
    let mut seeds = vec![(&rows, space.d_rows.clone())];
    if let Some(d_halt) = &space.d_halt {
        let len = carry.steps.elems() * halt_head::ROW;
        let of_cycle =
            d_halt.view((halts.len() - 1) * len, [carry.steps.elems(), halt_head::ROW])?;
        seeds.extend(halts.iter().map(|halt| (halt, of_cycle.clone())));
    }
    tape.backward(&seeds)?;
    Ok(Segment { logits, q, rows: rows.tensor, q_rows: space.q_targets.clone() })
}

/// Run the model without a gradient.
pub fn evaluate(
    model: &dyn Model,
    (carry, batch, space): (&Carry, &DeviceBatch, &Workspace),
    forward: impl FnOnce(&mut Tape, Bound) -> Result<Answer>,
) -> Result<Segment> {
    let mut tape = Tape::no_grad(model.device());
    carry.admit(batch)?;
    let Answer { logits, halts } = forward(&mut tape, model.params().constants()?)?;
    let labels = &carry.current.labels;
    let rows = cross_entropy::forward(&mut tape, Kind::Softmax, &logits, labels, &carry.layout)?;
    let q = losses(&rows.tensor, &halts, carry, space)?;
    let q_rows = space.q_targets.clone();
    Ok(Segment { logits: logits.tensor, q, rows: rows.tensor, q_rows })
}

/// Halting probabilities (B) of a cycle; `None`: nothing runs on this device.
pub fn probabilities(halt: &Var) -> Result<Option<Vec<f32>>> {
    if halt.tensor.device().is_shape_only() {
        return Ok(None);
    }
    let rows = halt.tensor.read::<f32>()?;
    Ok(Some(rows.chunks_exact(halt_head::ROW).map(|row| row[1]).collect()))
}

/// The segment's sums; what stands for Q logits (B, 2).
fn losses(rows: &Tensor, halts: &[Var], carry: &Carry, space: &Workspace) -> Result<Tensor> {
    let b = carry.steps.elems();
    let q = match halts.last() {
        Some(halt) => {
            let mut losses = vec![0.0_f32; 2 * b];
            for halt in halts {
                let p = probabilities(halt)?;
                for (loss, p) in losses.chunks_exact_mut(2).zip(p.iter().flatten()) {
                    loss[0] += p / halts.len() as f32;
                }
            }
            space.q_targets.upload(&losses)?;
            carry.steps.upload(&vec![halts.len() as i32; b])?;
            halt.tensor.clone()
        }
        // Nothing goes between host and device: such a step may be recorded. The losses stay 0.
        None => {
            let q = Tensor::zeros(rows.device(), DType::F32, [b, 2], Purpose::Activations)?;
            act_halt::decide(&q, ONE_STEP, None, &carry.steps, &carry.halted)?;
            q
        }
    };
    let (losses, metrics) = (&space.q_targets, &space.metrics);
    act_halt::metrics(rows, &q, losses, &carry.steps, &carry.halted, metrics)?;
    Ok(q)
}
