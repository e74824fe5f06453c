//! y[n,c] = max(0, x[n,c] + bias[c]): the activation of a plain MLP, on a product without bias.
//!
//! x, y (.., C), bias (C), all f32 or all bf16; the sum is f32, y rounded once. NaN stays NaN.
//! Saved: y. dx = dy where y > 0, else 0; dbias = sum_n dx, an f32 sum in a fixed order.
//! Reference: `linear1` and `relu` of `torch.nn.TransformerEncoderLayer`.

mod cpu;
mod cuda;
pub mod reference;

use super::{add, by_float, dispatch, traffic};
use crate::Result;
use crate::dtype::DType;
use crate::tape::{Grads, Rule, Tape, Var, VarId};
use crate::tensor::Tensor;

pub fn forward(tape: &mut Tape, x: &Var, bias: &Var) -> Result<Var> {
    let (xt, bt) = (&x.tensor, &bias.tensor);
    bt.expect_dims("bias_relu bias (C)", &[xt.shape().last()])?;
    bt.expect_dtype("bias_relu bias (C)", xt.dtype())?;
    let y = tape.alloc(xt.dtype(), *xt.shape())?;
    dispatch(
        tape.device(),
        traffic(2 * y.bytes()),
        || {
            by_float!(y.dtype(), "bias_relu", E => {
                cpu::forward::<E>(&xt.read()?, &bt.read()?, &mut y.write()?);
                Ok(())
            })
        },
        || cuda::forward(xt, bt, &y),
    )?;
    let saved_y = y.clone();
    tape.output("bias_relu", y, &[x, bias], |id| {
        Box::new(Backward { id, y: saved_y, x: x.id, bias: bias.id })
    })
}

struct Backward {
    id: VarId,
    y: Tensor, // (.., C)
    x: Option<VarId>,
    bias: Option<VarId>,
}

impl Rule for Backward {
    fn name(&self) -> &'static str {
        "bias_relu"
    }

    fn backward(&self, grads: &mut Grads) -> Result<()> {
        let Some(dy) = grads.take(self.id)? else { return Ok(()) };
        let dx = grads.into_own(dy)?;
        let dbias = grads.slot(self.bias, DType::F32, &[self.y.shape().last()].into())?;
        dispatch(
            dx.device(),
            traffic(3 * dx.bytes()),
            || {
                by_float!(dx.dtype(), "bias_relu", E => {
                    let sums = cpu::backward::<E>(&mut dx.write()?, &self.y.read()?, self.y.shape().last());
                    if let Some((dbias, mode)) = &dbias {
                        cpu::put(&sums, &mut dbias.write()?, *mode);
                    }
                    Ok(())
                })
            },
            || cuda::backward(&dx, &self.y, dbias.as_ref()),
        )?;
        add::pass(grads, self.x, &dx)
    }
}
