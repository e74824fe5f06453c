//! z\[n, c\] += sigma\[b\] * N(0, 1) for the positions n of slot b: what makes trajectories of one
//! question differ.
//!
//! z (N, C) f32 or bf16, draws (B, 4) i32, sigma (B) f32; in place, no gradient. Slots whose sigma
//! is 0 stay as they are, bit for bit. Number i of a slot (from its first position, channels within
//! positions) is number i of the stream that [`gauss_sample::draw`](super::gauss_sample::draw) has
//! for the slot's own [`Draw`]: what a row gets depends on its draw alone, never on the batch
//! around it. The same bits on every device.
//!
//! Reference: noise before each segment as in "Probabilistic Tiny Recursive Model"
//! (arXiv 2605.19943).

mod cpu;
mod cuda;
pub mod reference;

use super::draw::Draw;
use super::layout::Layout;
use super::{by_float, dispatch, traffic};
use crate::Result;
use crate::dtype::DType;
use crate::tensor::Tensor;

/// Add noise to the slots of `z`; `draws` has [`Draw::words`] of each.
pub fn add(z: &Tensor, draws: &Tensor, sigma: &Tensor, layout: &Layout) -> Result<()> {
    let c = layout.width("state_noise z (N, C)", z)?;
    let b = layout.rows();
    draws.expect_dims("state_noise draws (B, 4)", &[b, Draw::WORDS])?;
    draws.expect_dtype("state_noise draws", DType::I32)?;
    sigma.expect_dims("state_noise sigma (B)", &[b])?;
    sigma.expect_dtype("state_noise sigma", DType::F32)?;
    dispatch(
        z.device(),
        traffic(2 * z.bytes() + draws.bytes() + sigma.bytes()),
        || {
            by_float!(z.dtype(), "state_noise", E => {
                let (draws, sigma) = (draws.read()?, sigma.read()?);
                cpu::add::<E>(&mut z.write()?, &draws, &sigma, layout.positions(), c);
                Ok(())
            })
        },
        |cost| cuda::add(cost, z, draws, sigma, layout),
    )
}
