use crate::Result;
use crate::backend::{Kernel, kernel};
use crate::ops::launch::{On, width};
use crate::ops::traffic;
use crate::tensor::Tensor;

const FWD: Kernel = kernel!("sigmoid", "sigmoid_fwd", [Out, In, U32]);
const BWD: Kernel = kernel!("sigmoid", "sigmoid_bwd", [Out, In, U32]);

pub fn forward(x: &Tensor, y: &Tensor) -> Result<()> {
    let on = On { device: y.device(), kernel: &FWD, cost: traffic(2 * y.bytes()) };
    on.pieces(y.elems(), width(y.dtype()), &[y.into(), x.into(), y.elems().into()])
}

/// dy becomes dx.
pub fn backward(dy: &Tensor, y: &Tensor) -> Result<()> {
    let on = On { device: dy.device(), kernel: &BWD, cost: traffic(3 * dy.bytes()) };
    on.pieces(dy.elems(), width(dy.dtype()), &[dy.into(), y.into(), dy.elems().into()])
}
