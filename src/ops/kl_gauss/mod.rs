//! Divergence of N(mu, exp(log_var)) from N(0, 1), mean over all elements (not a sum over latents):
//!
//!   y = -1/2 mean(1 + log_var - mu^2 - exp(log_var))
//!
//! mu, log_var the same shape, f32; y (1) f32, the sum in parts of fixed size. Saved: mu, log_var.
//! dmu = mu / n * dy,  dlog_var = (exp(log_var) - 1) / (2 n) * dy.

mod cpu;
mod cuda;
pub mod reference;

use super::{dispatch, expect_same_shape, traffic, written_if};
use crate::Result;
use crate::dtype::DType;
use crate::tape::{Grads, Rule, Tape, Var, VarId};
use crate::tensor::Tensor;

pub fn forward(tape: &mut Tape, mu: &Var, log_var: &Var) -> Result<Var> {
    let (mt, vt) = (&mu.tensor, &log_var.tensor);
    mt.expect_dtype("kl_gauss mu", DType::F32)?;
    expect_same_shape("kl_gauss log_var", mt, vt)?;
    let y = tape.alloc(DType::F32, [1])?;
    dispatch(
        tape.device(),
        traffic(2 * mt.bytes()),
        || {
            y.write()?[0] = cpu::forward(&mt.read()?, &vt.read()?);
            Ok(())
        },
        |cost| cuda::forward(cost, mt, vt, &y),
    )?;
    tape.output("kl_gauss", y, &[mu, log_var], |y| {
        Box::new(Backward { y, mu: (mt.clone(), mu.id), log_var: (vt.clone(), log_var.id) })
    })
}

struct Backward {
    y: VarId,
    mu: (Tensor, Option<VarId>),
    log_var: (Tensor, Option<VarId>),
}

impl Rule for Backward {
    fn backward(&self, grads: &mut Grads) -> Result<()> {
        let Some(dy) = grads.take(self.y)? else { return Ok(()) };
        let ((mu, mu_id), (log_var, log_var_id)) = (&self.mu, &self.log_var);
        let dmu = grads.slot(*mu_id, DType::F32, mu.shape())?;
        let dlog_var = grads.slot(*log_var_id, DType::F32, mu.shape())?;
        let scale = 1.0 / mu.elems() as f32;
        dispatch(
            dy.device(),
            traffic(2 * mu.bytes() + written_if(dmu.as_ref()) + written_if(dlog_var.as_ref())),
            || {
                let factor = scale * dy.read::<f32>()?[0];
                if let Some((d, mode)) = &dmu {
                    cpu::backward_mu(&mu.read()?, factor, &mut d.write()?, *mode);
                }
                if let Some((d, mode)) = &dlog_var {
                    cpu::backward_log_var(&log_var.read()?, factor, &mut d.write()?, *mode);
                }
                Ok(())
            },
            |cost| cuda::backward(cost, mu, log_var, &dy, scale, [dmu.as_ref(), dlog_var.as_ref()]),
        )
    }
}
