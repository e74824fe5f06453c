use super::Dims;
use crate::Result;
use crate::backend::{Cost, Kernel, Mode, kernel};
use crate::ops::launch::On;
use crate::tensor::Tensor;

const FWD: Kernel = kernel!("max_pool2d", "max_pool2d_fwd", [Out, In, U32, U32, U32]);
const BWD: Kernel = kernel!("max_pool2d", "max_pool2d_bwd", [Out, In, In, U32, U32, U32, U32]);

pub fn forward(cost: Cost, d: Dims, x: &Tensor, y: &Tensor) -> Result<()> {
    let args = [y.into(), x.into(), y.elems().into(), d.height.into(), d.width.into()];
    On { device: y.device(), kernel: &FWD, cost }.pieces(y.elems(), 1, &args)
}

pub fn backward(
    cost: Cost,
    d: Dims,
    x: &Tensor,
    dy: &Tensor,
    dx: &Tensor,
    mode: Mode,
) -> Result<()> {
    let args = [
        dx.into(),
        x.into(),
        dy.into(),
        dx.elems().into(),
        d.height.into(),
        d.width.into(),
        mode.into(),
    ];
    On { device: dx.device(), kernel: &BWD, cost }.pieces(dx.elems(), 1, &args)
}
