//! Token cross-entropy with its metrics in one pass, softmax or stablemax.
//!
//! ```text
//!   p[b,t] = s(x) / sum_v s(x)     softmax:    s(x) = exp(x)
//!                                  stablemax:  s(x) = x + 1, x >= 0; 1 / (1 - x), x < 0
//!   rows[b,0] = sum over valid t of -log p[b,t][label] / max(1, valid tokens of b)     (the loss)
//!   rows[b,1] = valid tokens of b
//!   rows[b,2] = valid tokens of b whose argmax is the label
//!   rows[b,3] = 1 if rows[b,2] == rows[b,1]: the whole answer is right (also when none is valid)
//! ```
//!
//! logits (N, V) f32 or bf16 in a [`Layout`], whose prefix positions take no part; labels i32, one
//! for each of its cells, [`IGNORE`] where not valid; rows (R, 4) f32. The reference computes
//! stablemax in f64; here s is f32, and a token's log is f64 of the ratio on a CPU, log1p of what
//! the other classes weigh on CUDA: both stay within the goldens' tolerance. Any other label is an
//! error; on CUDA, where nobody waits to hear of it, it makes the loss NaN and the guard refuses
//! the step. Backward reads d rows\[b,0\]; the metrics carry no gradient. Saved: logits, rows.
//! Reference: `stablemax_cross_entropy`, `softmax_cross_entropy`, `ACTLossHead` of the official
//! HRM.

mod cpu;
mod cuda;
pub mod reference;

use serde::{Deserialize, Serialize};

use super::layout::Layout;
use super::{by_float, dispatch, refuse, traffic, written};
use crate::Result;
use crate::dtype::DType;
use crate::tape::{Grads, Rule, Tape, Var, VarId};
use crate::tensor::Tensor;

/// The label of a cell that is not scored.
pub const IGNORE: i32 = -100;
/// Width of a row of results; the letters of the contract.
pub const ROW: usize = 4;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Stablemax,
    Softmax,
}

pub fn forward(
    tape: &mut Tape,
    kind: Kind,
    logits: &Var,
    labels: &Tensor,
    layout: &Layout,
) -> Result<Var> {
    let v = layout.width("cross_entropy logits (N, V)", &logits.tensor)?;
    layout.expect_cells("cross_entropy labels (B, S)", labels)?;
    let rows = tape.alloc(DType::F32, [layout.rows(), ROW])?;
    dispatch(
        tape.device(),
        traffic(logits.tensor.bytes() + labels.bytes() + rows.bytes()),
        || {
            let labels = labels.read::<i32>()?;
            if let Some(bad) = labels.iter().find(|&&l| l != IGNORE && (l < 0 || l as usize >= v)) {
                return Err(refuse(
                    "cross_entropy",
                    format!("label {bad} is outside the vocabulary of {v}"),
                ));
            }
            by_float!(logits.tensor.dtype(), "cross_entropy", E => {
                cpu::forward::<E>(layout, kind, &logits.tensor.read()?, &labels, &mut rows.write()?);
                Ok(())
            })
        },
        |cost| cuda::forward(cost, layout, kind, &logits.tensor, labels, &rows),
    )?;
    let of_rows = rows.clone();
    tape.output("cross_entropy", rows, &[logits], |rows| {
        Box::new(Backward {
            rows,
            kind,
            layout: layout.clone(),
            logits: logits.tensor.clone(),
            labels: labels.clone(),
            of_rows,
            id: logits.id,
        })
    })
}

struct Backward {
    rows: VarId,
    kind: Kind,
    layout: Layout,
    logits: Tensor,  // (N, V)
    labels: Tensor,  // a label to each cell
    of_rows: Tensor, // (R, 4)
    id: Option<VarId>,
}

impl Rule for Backward {
    fn backward(&self, grads: &mut Grads) -> Result<()> {
        let Some(drows) = grads.take(self.rows)? else { return Ok(()) };
        let x = &self.logits;
        let Some((dx, mode)) = grads.slot(self.id, x.dtype(), x.shape())? else { return Ok(()) };
        dispatch(
            x.device(),
            traffic(
                x.bytes()
                    + self.labels.bytes()
                    + self.of_rows.bytes()
                    + drows.bytes()
                    + written(&dx, mode),
            ),
            || {
                by_float!(x.dtype(), "cross_entropy", E => {
                    cpu::backward::<E>(
                        &self.layout,
                        self.kind,
                        &x.read()?,
                        &self.labels.read()?,
                        &drows.read()?,
                        &mut dx.write()?,
                        mode,
                    );
                    Ok(())
                })
            },
            |cost| {
                let saved = cuda::Saved { logits: x, labels: &self.labels, rows: &self.of_rows };
                cuda::backward(cost, &self.layout, self.kind, saved, &drows, &dx, mode)
            },
        )
    }
}
