//! Gradient norm, clip factor and the guard that optimizer steps obey.
//!
//! ```text
//!   guard[0] = sqrt(sum g^2)
//!   guard[1] = max_norm > 0 ? min(1, max_norm / (norm + 1e-6)) : 1
//!   guard[2] = 1 if norm and every entry of `losses` are finite, else 0: optimizers do nothing
//! ```
//!
//! g any shape f32; losses f32; guard (3) f32. Sums in f64 over a fixed partition.
//! Reference: `torch.nn.utils.clip_grad_norm_`.

mod cpu;
mod cuda;
pub mod reference;

use super::{dispatch, traffic};
use crate::Result;
use crate::dtype::DType;
use crate::tensor::Tensor;

pub const GUARD: usize = 3;

pub fn guard(g: &Tensor, losses: &Tensor, max_norm: f32, guard: &Tensor) -> Result<()> {
    check("global_norm", guard)?;
    g.expect_dtype("global_norm g", DType::F32)?;
    losses.expect_dtype("global_norm losses", DType::F32)?;
    dispatch(
        g.device(),
        traffic(g.bytes() + losses.bytes()),
        || {
            // Losses and guard may share a buffer.
            let losses = losses.download()?;
            cpu::guard(&g.read()?, &losses, max_norm, &mut guard.write()?);
            Ok(())
        },
        |cost| cuda::guard(cost, g, losses, max_norm, guard),
    )
}

/// Whether `op` was given a guard.
pub(super) fn check(op: &str, guard: &Tensor) -> Result<()> {
    guard.expect_dims(&format!("{op} guard (3)"), &[GUARD])?;
    guard.expect_dtype(&format!("{op} guard (3)"), DType::F32)
}
