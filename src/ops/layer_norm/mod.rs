//! Residual add and LayerNorm: s = x + r, y\[n,c\] = xhat\[n,c\] * gain\[c\] + bias\[c\],
//! xhat\[n,c\] = (s\[n,c\] - mean\[n\]) * rstd\[n\], rstd\[n\] = 1 / sqrt(mean_c((s\[n,c\] -
//! mean\[n\])^2) + eps).
//!
//! [`alone`] has no r: s is x itself, and no copy of it is made.
//! x, r, y (.., C), gain, bias (C), all f32 or all bf16. The sum s is rounded to the dtype, the
//! norm is computed in f32 and y rounded once. Saved: s, mean and rstd (N) f32, gain. With g = dy *
//! gain, ds = rstd * (g - mean_c(g) - xhat * mean_c(g * xhat)) is the gradient of both x and r;
//! dgain = sum_n dy * xhat and dbias = sum_n dy are f32 sums in a fixed order. Reference: `norm1`,
//! `norm2` of `torch.nn.TransformerEncoderLayer` (post-norm, eps 1e-5).

mod cpu;
mod cuda;
pub mod reference;

use super::{add, by_float, dispatch, expect_same_shape, traffic, written_if};
use crate::Result;
use crate::dtype::DType;
use crate::tape::{Grads, Rule, Tape, Var, VarId};
use crate::tensor::Tensor;

/// PyTorch's default.
pub const EPS: f32 = 1e-5;

/// Gain and bias.
pub struct Affine<'a> {
    pub gain: &'a Var,
    pub bias: &'a Var,
}

/// What backward needs besides gain.
struct Saved {
    s: Tensor,    // (.., C)
    mean: Tensor, // (N)
    rstd: Tensor, // (N)
}

pub fn forward(tape: &mut Tape, x: &Var, residual: &Var, affine: Affine, eps: f32) -> Result<Var> {
    expect_same_shape("layer_norm residual (.., C)", &x.tensor, &residual.tensor)?;
    norm(tape, x, Some(residual), affine, eps)
}

/// LayerNorm without a residual.
pub fn alone(tape: &mut Tape, x: &Var, affine: Affine, eps: f32) -> Result<Var> {
    norm(tape, x, None, affine, eps)
}

fn norm(
    tape: &mut Tape,
    x: &Var,
    residual: Option<&Var>,
    Affine { gain, bias }: Affine,
    eps: f32,
) -> Result<Var> {
    let (xt, rt) = (&x.tensor, residual.map(|r| &r.tensor));
    let (n, c) = (xt.shape().rows(), xt.shape().last());
    for (what, t) in [("layer_norm gain (C)", gain), ("layer_norm bias (C)", bias)] {
        t.tensor.expect_dims(what, &[c])?;
        t.tensor.expect_dtype(what, xt.dtype())?;
    }
    let y = tape.alloc(xt.dtype(), *xt.shape())?;
    let s = rt.map_or(Ok(xt.clone()), |_| tape.alloc(xt.dtype(), *xt.shape()))?;
    let saved = Saved { s, mean: tape.alloc(DType::F32, [n])?, rstd: tape.alloc(DType::F32, [n])? };
    let (gt, bt) = (&gain.tensor, &bias.tensor);
    let tensors = if rt.is_some() { 4 } else { 2 };
    dispatch(
        tape.device(),
        traffic(tensors * y.bytes() + 2 * (gt.bytes() + saved.mean.bytes())),
        || {
            by_float!(y.dtype(), "layer_norm", E => {
                let Saved { s, mean, rstd } = &saved;
                if let Some(rt) = rt {
                    cpu::sum::<E>(&xt.read()?, &rt.read()?, &mut s.write()?);
                }
                let (s, mut mean, mut rstd) = (s.read()?, mean.write()?, rstd.write()?);
                cpu::forward::<E>(&s, &gt.read()?, &bt.read()?, eps, &mut y.write()?, &mut mean, &mut rstd);
                Ok(())
            })
        },
        |cost| cuda::forward(cost, xt, rt, [gt, bt], eps, &y, &saved),
    )?;
    let gain_tensor = gt.clone();
    let inputs: Vec<&Var> =
        [Some(x), residual, Some(gain), Some(bias)].into_iter().flatten().collect();
    tape.output("layer_norm", y, &inputs, |y| {
        Box::new(Backward {
            y,
            saved,
            gain: gain_tensor,
            inputs: [x.id, residual.and_then(|r| r.id)],
            affine: [gain.id, bias.id],
        })
    })
}

struct Backward {
    y: VarId,
    saved: Saved,
    gain: Tensor,               // (C)
    inputs: [Option<VarId>; 2], // x, r
    affine: [Option<VarId>; 2], // gain, bias
}

impl Rule for Backward {
    fn backward(&self, grads: &mut Grads) -> Result<()> {
        let Some(dy) = grads.take(self.y)? else { return Ok(()) };
        let dy = grads.into_own(dy)?;
        let [dgain, dbias] = [
            grads.slot(self.affine[0], DType::F32, self.gain.shape())?,
            grads.slot(self.affine[1], DType::F32, self.gain.shape())?,
        ];
        let of_affine = [dgain.as_ref(), dbias.as_ref()];
        dispatch(
            dy.device(),
            traffic(
                3 * dy.bytes()
                    + 2 * self.saved.mean.bytes()
                    + self.gain.bytes()
                    + written_if(dgain.as_ref())
                    + written_if(dbias.as_ref()),
            ),
            || {
                by_float!(dy.dtype(), "layer_norm", E => {
                    let Saved { s, mean, rstd } = &self.saved;
                    let (s, mean, rstd) = (s.read()?, mean.read()?, rstd.read()?);
                    let sums = cpu::backward::<E>(&mut dy.write()?, &s, &mean, &rstd, &self.gain.read()?);
                    for (slot, sums) in of_affine.into_iter().zip(&sums) {
                        if let Some((to, mode)) = slot {
                            cpu::put(sums, &mut to.write()?, *mode);
                        }
                    }
                    Ok(())
                })
            },
            |cost| cuda::backward(cost, &dy, &self.saved, &self.gain, of_affine),
        )?;
        add::pass(grads, self.inputs[0], &dy)?;
        add::pass(grads, self.inputs[1], &dy)
    }
}
