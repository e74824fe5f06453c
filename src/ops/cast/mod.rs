//! y = x in another floating-point dtype, rounded to nearest even: f32 to f32 or bf16.
//! Refreshes the bf16 copy of the weights after an optimizer step.

mod cpu;
mod cuda;
pub mod reference;

use super::{by_float, dispatch, traffic};
use crate::Result;
use crate::dtype::DType;
use crate::tensor::Tensor;

pub fn from_f32(x: &Tensor, y: &Tensor) -> Result<()> {
    y.expect_dims("cast y", x.shape().dims())?;
    x.expect_dtype("cast x", DType::F32)?;
    dispatch(
        x.device(),
        traffic(x.bytes() + y.bytes()),
        || {
            by_float!(y.dtype(), "cast", E => {
                cpu::from_f32::<E>(&x.read()?, &mut y.write()?);
                Ok(())
            })
        },
        |cost| cuda::from_f32(cost, x, y),
    )
}
