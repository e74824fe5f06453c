use crate::Result;
use crate::backend::{Cost, Kernel, Mode, by_dtype, kernel_pair};
use crate::ops::launch::{On, width};
use crate::tensor::Tensor;

const FWD: [Kernel; 2] = kernel_pair!("swiglu", "swiglu_fwd", [Out, In, U32, U32]);
const BWD: [Kernel; 2] = kernel_pair!("swiglu", "swiglu_bwd", [Out, In, In, U32, U32, U32]);

pub fn forward(cost: Cost, gate_up: &Tensor, f: usize, y: &Tensor) -> Result<()> {
    let on = On { device: y.device(), kernel: by_dtype(y.dtype(), &FWD)?, cost };
    let n = y.elems();
    on.pieces(n, width(y.dtype()), &[y.into(), gate_up.into(), n.into(), f.into()])
}

pub fn backward(
    cost: Cost,
    gate_up: &Tensor,
    dy: &Tensor,
    f: usize,
    dx: &Tensor,
    mode: Mode,
) -> Result<()> {
    let on = On { device: dy.device(), kernel: by_dtype(dy.dtype(), &BWD)?, cost };
    let n = dy.elems();
    let args = [dx.into(), gate_up.into(), dy.into(), n.into(), f.into(), mode.into()];
    on.pieces(n, width(dy.dtype()), &args)
}
