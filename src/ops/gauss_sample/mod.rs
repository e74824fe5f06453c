//! z = mu + eps * exp(log_var / 2): a latent drawn so that gradients reach mu and log_var.
//!
//! mu, log_var, eps, z the same shape, f32. dmu = dz, dlog_var = dz * eps * exp(log_var / 2) / 2;
//! no gradient flows to eps. Saved: log_var, eps.
//!
//! [`draw`] fills eps with standard normal numbers, the same bits on every device. Elements 4k and
//! 4k + 1 come from words 0 and 1 of Philox(seed, [k, Noise + 256 * site, number]), 4k + 2 and 4k +
//! 3 from words 2 and 3: radius sqrt(-2 ln u) with u = ((word >> 8) + 1) / 2^24, an angle of 24
//! bits. Seed and number are a [`Draw`] in device memory; `site` tells the draws of one step apart.

mod cpu;
mod cuda;
pub mod reference;

use super::draw::Draw;
use super::{add, dispatch, expect_same_shape, refuse, traffic, written};
use crate::Result;
use crate::dtype::DType;
use crate::rng::Stream;
use crate::tape::{Grads, Rule, Tape, Var, VarId};
use crate::tensor::Tensor;

pub fn forward(tape: &mut Tape, mu: &Var, log_var: &Var, eps: &Tensor) -> Result<Var> {
    let (mt, vt) = (&mu.tensor, &log_var.tensor);
    mt.expect_dtype("gauss_sample mu", DType::F32)?;
    expect_same_shape("gauss_sample log_var", mt, vt)?;
    expect_same_shape("gauss_sample eps", mt, eps)?;
    let z = tape.alloc(DType::F32, *mt.shape())?;
    dispatch(
        tape.device(),
        traffic(4 * z.bytes()),
        || {
            cpu::forward(&mt.read()?, &vt.read()?, &eps.read()?, &mut z.write()?);
            Ok(())
        },
        |cost| cuda::forward(cost, mt, vt, eps, &z),
    )?;
    tape.output("gauss_sample", z, &[mu, log_var], |z| {
        let (eps, log_var) = (eps.clone(), (vt.clone(), log_var.id));
        Box::new(Backward { z, mu: mu.id, log_var, eps })
    })
}

/// Fill `eps`; `draw` (4) i32 holds [`Draw::words`]. `site` is below 2^24.
pub fn draw(eps: &Tensor, site: u32, draw: &Tensor) -> Result<()> {
    if site >= 1 << 24 {
        return Err(refuse("gauss_sample", format!("site {site} is not below 2^24")));
    }
    eps.expect_dtype("gauss_sample eps", DType::F32)?;
    Draw::check("gauss_sample", draw)?;
    let stream = Stream::Noise as u32 + (site << 8);
    dispatch(
        eps.device(),
        traffic(eps.bytes()),
        || {
            cpu::draw(&mut eps.write()?, stream, Draw::read(draw)?);
            Ok(())
        },
        |cost| cuda::draw(cost, eps, stream, draw),
    )
}

struct Backward {
    z: VarId,
    mu: Option<VarId>,
    log_var: (Tensor, Option<VarId>),
    eps: Tensor,
}

impl Rule for Backward {
    fn backward(&self, grads: &mut Grads) -> Result<()> {
        let Some(dz) = grads.take(self.z)? else { return Ok(()) };
        let (log_var, id) = &self.log_var;
        if let Some((d, mode)) = grads.slot(*id, DType::F32, log_var.shape())? {
            dispatch(
                dz.device(),
                traffic(3 * dz.bytes() + written(&d, mode)),
                || {
                    let (dz, v, eps) = (dz.read()?, log_var.read()?, self.eps.read()?);
                    cpu::backward(&dz, &v, &eps, &mut d.write()?, mode);
                    Ok(())
                },
                |cost| cuda::backward(cost, &dz, log_var, &self.eps, &d, mode),
            )?;
        }
        add::pass(grads, self.mu, &dz)
    }
}
