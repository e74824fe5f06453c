//! AdamW: decoupled decay, then Adam with both bias corrections.
//!
//!   g = guard.scale * g;  m = b1 m + (1-b1) g;  v = b2 v + (1-b2) g^2
//!   p = p (1 - lr wd) - lr / (1 - b1^t) * m / (sqrt(v) / sqrt(1 - b2^t) + eps)
//!
//! p, g, m, v the same number of f32 elements; t counts from 1. Nothing happens if the guard is down.
//! Reference: `torch.optim.AdamW` (eps 1e-8).

mod cpu;
pub mod reference;

use super::{
    adam_atan2::{self, Factors, Moments},
    dispatch, global_norm, traffic,
};
use crate::Result;
use crate::tensor::Tensor;

pub const EPS: f32 = 1e-8;

pub use super::adam_atan2::Hyper;

/// One step over flat storage; `guard` is `global_norm`'s, `factors` (5) f32 are [`Factors`].
pub fn step(
    p: &Tensor,
    g: &Tensor,
    moments: &Moments,
    guard: &Tensor,
    factors: &Tensor,
) -> Result<()> {
    moments.check("adamw", p, g)?;
    adam_atan2::check_factors("adamw", factors)?;
    global_norm::check("adamw", guard)?;
    dispatch(
        p.device(),
        traffic(7 * p.bytes()),
        || {
            let guard = guard.read::<f32>()?;
            if guard[2] == 0.0 {
                return Ok(());
            }
            let (mut m, mut v) = (moments.m.write()?, moments.v.write()?);
            cpu::step(
                &mut p.write()?,
                &g.read()?,
                &mut m,
                &mut v,
                guard[1],
                Factors::read(factors)?,
            );
            Ok(())
        },
        || super::no_kernel("adamw"),
    )
}
