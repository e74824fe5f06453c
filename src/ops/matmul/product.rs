//! Products without a gradient, of what is computed from weights; f32 or bf16, sums in f32.

use super::{Dims, cpu, cuda};
use crate::Result;
use crate::backend::Mode;
use crate::ops::{by_float, dispatch};
use crate::tensor::Tensor;

/// out = a b^T.  a (m, k), b (n, k), out (m, n).
pub fn product_nt(a: &Tensor, b: &Tensor, out: &Tensor) -> Result<()> {
    let [[m, k], [n, _]] = [a.dims("matmul a (M, K)")?, b.dims("matmul b (N, K)")?];
    b.expect_dims("matmul b (N, K)", &[n, k])?;
    let (d, bytes) = (Dims { m, n, k }, check(a, b, out, [m, n])?);
    dispatch(
        out.device(),
        d.cost(bytes),
        || {
            by_float!(a.dtype(), "matmul", E => {
                cpu::forward::<E>(d, &a.read()?, &b.read()?, None, &mut out.write()?);
                Ok(())
            })
        },
        |cost| cuda::forward(cost, d, a, b, None, out),
    )
}

/// out = a b.  a (m, k), b (k, n), out (m, n).
pub fn product_nn(a: &Tensor, b: &Tensor, out: &Tensor) -> Result<()> {
    let [[m, k], [_, n]] = [a.dims("matmul a (M, K)")?, b.dims("matmul b (K, N)")?];
    b.expect_dims("matmul b (K, N)", &[k, n])?;
    let (d, bytes) = (Dims { m, n, k }, check(a, b, out, [m, n])?);
    dispatch(
        out.device(),
        d.cost(bytes),
        || {
            by_float!(a.dtype(), "matmul", E => {
                let (a, b) = (a.read::<E>()?, b.read::<E>()?);
                cpu::backward_x::<E>(d, &a, &b, &mut out.write()?, Mode::Set);
                Ok(())
            })
        },
        |cost| cuda::backward_x(cost, d, a, b, out, Mode::Set),
    )
}

/// Bytes that are read and written.
fn check(a: &Tensor, b: &Tensor, out: &Tensor, dims: [usize; 2]) -> Result<usize> {
    out.expect_dims("matmul out (M, N)", &dims)?;
    b.expect_dtype("matmul b", a.dtype())?;
    out.expect_dtype("matmul out", a.dtype())?;
    Ok(a.bytes() + b.bytes() + out.bytes())
}
