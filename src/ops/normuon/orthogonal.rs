//! Newton-Schulz: a matrix whose singular values are driven to about 1.
//!
//! The same on both devices: products of `matmul`, and one pass of our own between them.

use super::{cpu, cuda};
use crate::Result;
use crate::ops::{by_float, dispatch, matmul, traffic, transpose};
use crate::tensor::Tensor;

const STEPS: usize = 5;
/// X becomes (a I + b A + c A A) X.
pub const COEFFICIENTS: [f32; 3] = [3.4445, -4.7750, 2.0315];

/// One of x and `spare` (R, K), which holds x orthogonalised; x has norm 1 at most. `grams` are
/// two (n, n), n the smaller of R and K.
pub fn of<'a>(x: &'a Tensor, spare: &'a Tensor, grams: &[Tensor; 2]) -> Result<&'a Tensor> {
    let [r, k] = x.dims("normuon x (R, K)")?;
    let is_tall = r > k;
    let (mut from, mut to) = (x, spare);
    if is_tall {
        transpose::matrix(from, &to.reshape([k, r])?)?;
        (from, to) = (to, from);
    }
    let wide = [r.min(k), r.max(k)];
    let [a, polynomial] = grams;
    for _ in 0..STEPS {
        let (x, y) = (from.reshape(wide)?, to.reshape(wide)?);
        matmul::product_nt(&x, &x, a)?;
        matmul::product_nt(a, a, polynomial)?;
        combine(polynomial, a)?;
        matmul::product_nn(polynomial, &x, &y)?;
        (from, to) = (to, from);
    }
    if is_tall {
        transpose::matrix(&from.reshape(wide)?, to)?;
        from = to;
    }
    Ok(from)
}

/// squared = a I + b A + c squared, A symmetric.
fn combine(squared: &Tensor, a: &Tensor) -> Result<()> {
    let n = a.shape().last();
    dispatch(
        a.device(),
        traffic(a.bytes() + 2 * squared.bytes()),
        || {
            by_float!(a.dtype(), "normuon", E => {
                cpu::combine(&mut squared.write::<E>()?, &a.read::<E>()?, n, COEFFICIENTS);
                Ok(())
            })
        },
        |cost| cuda::combine(cost, squared, a, COEFFICIENTS),
    )
}
