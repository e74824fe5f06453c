//! Exponential moving average of weights: ema = decay ema + (1 - decay) p. f32, any shape.
//! Nothing happens if the guard is down, so that a refused step leaves no trace.

mod cpu;
mod cuda;
pub mod reference;

use super::{dispatch, expect_same_shape, global_norm, traffic};
use crate::Result;
use crate::dtype::DType;
use crate::tensor::Tensor;

pub fn step(ema: &Tensor, p: &Tensor, guard: &Tensor, decay: f64) -> Result<()> {
    expect_same_shape("ema p", ema, p)?;
    ema.expect_dtype("ema ema", DType::F32)?;
    global_norm::check("ema", guard)?;
    dispatch(
        ema.device(),
        traffic(3 * ema.bytes()),
        || {
            if guard.read::<f32>()?[2] != 0.0 {
                cpu::step(&mut ema.write()?, &p.read()?, decay as f32);
            }
            Ok(())
        },
        |cost| cuda::step(cost, ema, p, guard, decay as f32),
    )
}
