use crate::Result;
use crate::backend::{Kernel, by_dtype, kernel_pair};
use crate::ops::launch::On;
use crate::ops::traffic;
use crate::tensor::Tensor;

const FWD: [Kernel; 2] =
    kernel_pair!("rms_norm", "rms_norm_fwd", [Out, Out, In, In, U32, U32, F32]);
const BWD: [Kernel; 2] = kernel_pair!("rms_norm", "rms_norm_bwd", [Out, In, In, U32, U32]);

pub fn forward(x: &Tensor, r: &Tensor, eps: f32, y: &Tensor, rstd: &Tensor) -> Result<()> {
    let cost = traffic(3 * y.bytes() + rstd.bytes());
    let on = On { device: y.device(), kernel: by_dtype(y.dtype(), &FWD)?, cost };
    let (n, c) = (y.shape().rows(), y.shape().last());
    let args = [y.into(), rstd.into(), x.into(), r.into(), n.into(), c.into(), eps.into()];
    on.rows(n, &args)
}

/// dy becomes ds.
pub fn backward(dy: &Tensor, y: &Tensor, rstd: &Tensor) -> Result<()> {
    let cost = traffic(3 * y.bytes() + rstd.bytes());
    let on = On { device: y.device(), kernel: by_dtype(y.dtype(), &BWD)?, cost };
    let (n, c) = (y.shape().rows(), y.shape().last());
    on.rows(n, &[dy.into(), y.into(), rstd.into(), n.into(), c.into()])
}
