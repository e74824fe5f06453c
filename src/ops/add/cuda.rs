use crate::Result;
use crate::backend::{Cost, Kernel, by_dtype, kernel_pair};
use crate::ops::launch::{On, width};
use crate::ops::refuse;
use crate::tape::Var;
use crate::tensor::Tensor;

const FWD: [Kernel; 2] = kernel_pair!("add", "add_fwd", [Out, In, In, In, U32]);

pub fn forward(cost: Cost, terms: &[&Var], y: &Tensor) -> Result<()> {
    match terms {
        [a, b] => sum(cost, &a.tensor, &b.tensor, None, y),
        [a, b, c] => sum(cost, &a.tensor, &b.tensor, Some(&c.tensor), y),
        _ => Err(refuse("add", format!("2 or 3 terms, not {}", terms.len()))),
    }
}

/// y += x.
pub fn accumulate(cost: Cost, y: &Tensor, x: &Tensor) -> Result<()> {
    sum(cost, y, x, None, y)
}

/// y may be one of the terms.
fn sum(cost: Cost, a: &Tensor, b: &Tensor, c: Option<&Tensor>, y: &Tensor) -> Result<()> {
    let on = On { device: y.device(), kernel: by_dtype(y.dtype(), &FWD)?, cost };
    let n = y.elems();
    on.pieces(n, width(y.dtype()), &[y.into(), a.into(), b.into(), c.into(), n.into()])
}
