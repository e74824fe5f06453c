//! y\[n,c\] = max(0, x\[n,c\] + bias\[c\]): the activation of a plain MLP, on a product without
//! bias; with dropout y\[n,c\] = kept(n,c) ? scale * max(0, x\[n,c\] + bias\[c\]) : 0, by the mask
//! of that op.
//!
//! x, y (.., C), bias (C), all f32 or all bf16; sum and product are f32, y rounded once. NaN stays
//! NaN where it is kept. Saved: y. dx = y > 0 ? scale * dy : 0, since what is dropped is 0 like
//! what relu cuts, so that backward needs no mask; dbias = sum_n dx, an f32 sum in a fixed order.
//! Reference: `linear1`, `relu` and `dropout` of `torch.nn.TransformerEncoderLayer`.

mod cpu;
mod cuda;
pub mod reference;

use super::dropout::Site;
use super::{add, by_float, dispatch, traffic, written_if};
use crate::Result;
use crate::dtype::DType;
use crate::tape::{Grads, Rule, Tape, Var, VarId};
use crate::tensor::Tensor;

pub fn forward(tape: &mut Tape, x: &Var, bias: &Var) -> Result<Var> {
    with_dropout(tape, x, bias, None)
}

/// `dropout`: where, and the words (4) of the draw.
pub fn with_dropout(
    tape: &mut Tape,
    x: &Var,
    bias: &Var,
    dropout: Option<(Site, &Tensor)>,
) -> Result<Var> {
    if let Some((site, draw)) = dropout {
        site.check("bias_relu", draw)?;
    }
    let (xt, bt) = (&x.tensor, &bias.tensor);
    bt.expect_dims("bias_relu bias (C)", &[xt.shape().last()])?;
    bt.expect_dtype("bias_relu bias (C)", xt.dtype())?;
    let y = tape.alloc(xt.dtype(), *xt.shape())?;
    dispatch(
        tape.device(),
        traffic(xt.bytes() + bt.bytes() + y.bytes()),
        || {
            by_float!(y.dtype(), "bias_relu", E => {
                let mask = dropout.map(|(site, draw)| site.mask(draw)).transpose()?;
                cpu::forward::<E>(&xt.read()?, &bt.read()?, mask, &mut y.write()?);
                Ok(())
            })
        },
        |cost| cuda::forward(cost, xt, bt, dropout, &y),
    )?;
    let saved_y = y.clone();
    let scale = dropout.map_or(1.0, |(site, _)| site.scale());
    tape.output("bias_relu", y, &[x, bias], |id| {
        Box::new(Backward { id, y: saved_y, scale, x: x.id, bias: bias.id })
    })
}

struct Backward {
    id: VarId,
    y: Tensor, // (.., C)
    scale: f32,
    x: Option<VarId>,
    bias: Option<VarId>,
}

impl Rule for Backward {
    fn backward(&self, grads: &mut Grads) -> Result<()> {
        let Some(dy) = grads.take(self.id)? else { return Ok(()) };
        let dx = grads.into_own(dy)?;
        let dbias = grads.slot(self.bias, DType::F32, &[self.y.shape().last()].into())?;
        dispatch(
            dx.device(),
            traffic(self.y.bytes() + 2 * dx.bytes() + written_if(dbias.as_ref())),
            || {
                by_float!(dx.dtype(), "bias_relu", E => {
                    let c = self.y.shape().last();
                    let sums = cpu::backward::<E>(&mut dx.write()?, &self.y.read()?, self.scale, c);
                    if let Some((dbias, mode)) = &dbias {
                        cpu::put(&sums, &mut dbias.write()?, *mode);
                    }
                    Ok(())
                })
            },
            |cost| cuda::backward(cost, &dx, &self.y, self.scale, dbias.as_ref()),
        )?;
        add::pass(grads, self.x, &dx)
    }
}
