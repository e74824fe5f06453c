//! Residual add and RMSNorm: s = x + r, y\[n,c\] = s\[n,c\] * rstd\[n\],
//! rstd\[n\] = 1 / sqrt(mean_c(s\[n,c\]^2) + eps). No gain (HRM's norm has none).
//!
//! [`alone`] has no r: s is x itself.
//! x, r, y (.., C) f32 or bf16. The sum s is rounded to the dtype, the norm is computed in f32 and
//! y rounded once. Saved: y and rstd (N) f32; s is not needed:
//! ds = rstd * (dy - y * mean_c(dy * y)), and ds is the gradient of both x and r.

mod cpu;
mod cuda;
pub mod reference;

use super::{add, by_float, dispatch, expect_same_shape, traffic};
use crate::Result;
use crate::dtype::DType;
use crate::tape::{Grads, Rule, Tape, Var, VarId};
use crate::tensor::Tensor;

pub fn forward(tape: &mut Tape, x: &Var, residual: &Var, eps: f32) -> Result<Var> {
    expect_same_shape("rms_norm residual (.., C)", &x.tensor, &residual.tensor)?;
    norm(tape, x, Some(residual), eps)
}

/// RMSNorm without a residual.
pub fn alone(tape: &mut Tape, x: &Var, eps: f32) -> Result<Var> {
    norm(tape, x, None, eps)
}

fn norm(tape: &mut Tape, x: &Var, residual: Option<&Var>, eps: f32) -> Result<Var> {
    let (xt, rt) = (&x.tensor, residual.map(|r| &r.tensor));
    let c = xt.shape().last();
    let y = tape.alloc(xt.dtype(), *xt.shape())?;
    let rstd = tape.alloc(DType::F32, [xt.shape().rows()])?;
    dispatch(
        tape.device(),
        traffic((2 + rt.is_some() as usize) * y.bytes() + rstd.bytes()),
        || {
            by_float!(y.dtype(), "rms_norm", E => {
                let r = rt.map(|r| r.read::<E>()).transpose()?;
                cpu::forward::<E>(&xt.read()?, r.as_deref(), c, eps, &mut y.write()?, &mut rstd.write()?);
                Ok(())
            })
        },
        |cost| cuda::forward(cost, xt, rt, eps, &y, &rstd),
    )?;
    let saved_y = y.clone();
    let inputs: Vec<&Var> = [x].into_iter().chain(residual).collect();
    tape.output("rms_norm", y, &inputs, |id| {
        Box::new(Backward { id, y: saved_y, rstd, x: x.id, r: residual.and_then(|r| r.id) })
    })
}

struct Backward {
    id: VarId,
    y: Tensor,    // (.., C)
    rstd: Tensor, // (N)
    x: Option<VarId>,
    r: Option<VarId>,
}

impl Rule for Backward {
    fn backward(&self, grads: &mut Grads) -> Result<()> {
        let Some(dy) = grads.take(self.id)? else { return Ok(()) };
        let ds = grads.into_own(dy)?;
        let c = ds.shape().last();
        dispatch(
            ds.device(),
            traffic(3 * ds.bytes() + self.rstd.bytes()),
            || {
                by_float!(ds.dtype(), "rms_norm", E => {
                    cpu::backward::<E>(&mut ds.write()?, &self.y.read()?, &self.rstd.read()?, c);
                    Ok(())
                })
            },
            |cost| cuda::backward(cost, &ds, &self.y, &self.rstd),
        )?;
        add::pass(grads, self.x, &ds)?;
        add::pass(grads, self.r, &ds)
    }
}
