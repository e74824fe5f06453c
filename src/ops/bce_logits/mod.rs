//! Binary cross-entropy on the two Q logits: q_halt against "the answer is right", q_continue
//! against its bootstrapped target.
//!
//! ```text
//!   rows[b,i] = max(q,0) - q*t + ln(1 + exp(-|q|)),  q = q[b,i],  t = target[b,i]
//! ```
//!
//! q (B, 2) f32 or bf16 (computed in f32), targets (B, 2) f32, rows (B, 2) f32. A target that is
//! negative switches its entry off: loss and gradient 0 (`model.q_continue=false`).
//! dq = (sigmoid(q) - t) * drows. Saved: q, targets.

mod cpu;
mod cuda;
pub mod reference;

use super::{by_float, dispatch, traffic, written};
use crate::Result;
use crate::dtype::DType;
use crate::tape::{Grads, Rule, Tape, Var, VarId};
use crate::tensor::Tensor;

/// Marks an entry without a target.
pub const NO_TARGET: f32 = -1.0;

pub fn forward(tape: &mut Tape, q: &Var, targets: &Tensor) -> Result<Var> {
    let [b, _] = q.tensor.dims("bce_logits q (B, 2)")?;
    q.tensor.expect_dims("bce_logits q (B, 2)", &[b, 2])?;
    targets.expect_dims("bce_logits targets (B, 2)", &[b, 2])?;
    targets.expect_dtype("bce_logits targets", DType::F32)?;
    let rows = tape.alloc(DType::F32, *targets.shape())?;
    dispatch(
        tape.device(),
        traffic(q.tensor.bytes() + targets.bytes() + rows.bytes()),
        || {
            by_float!(q.tensor.dtype(), "bce_logits", E => {
                cpu::forward::<E>(&q.tensor.read()?, &targets.read()?, &mut rows.write()?);
                Ok(())
            })
        },
        |cost| cuda::forward(cost, &q.tensor, targets, &rows),
    )?;
    tape.output("bce_logits", rows, &[q], |rows| {
        Box::new(Backward { rows, q: q.tensor.clone(), targets: targets.clone(), id: q.id })
    })
}

struct Backward {
    rows: VarId,
    q: Tensor,       // (B, 2)
    targets: Tensor, // (B, 2)
    id: Option<VarId>,
}

impl Rule for Backward {
    fn backward(&self, grads: &mut Grads) -> Result<()> {
        let Some(drows) = grads.take(self.rows)? else { return Ok(()) };
        let q = &self.q;
        let Some((dq, mode)) = grads.slot(self.id, q.dtype(), q.shape())? else { return Ok(()) };
        dispatch(
            q.device(),
            traffic(q.bytes() + self.targets.bytes() + drows.bytes() + written(&dq, mode)),
            || {
                by_float!(q.dtype(), "bce_logits", E => {
                    let (q, t) = (q.read()?, self.targets.read()?);
                    cpu::backward::<E>(&q, &t, &drows.read()?, &mut dq.write()?, mode);
                    Ok(())
                })
            },
            |cost| cuda::backward(cost, q, &self.targets, &drows, &dq, mode),
        )
    }
}
