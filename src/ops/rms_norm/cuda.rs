use crate::Result;
use crate::backend::{Cost, Kernel, by_dtype, kernel_pair};
use crate::ops::launch::{On, by_width};
use crate::tensor::Tensor;

const FWD: [Kernel; 2] =
    kernel_pair!("rms_norm", "rms_norm_fwd", [Out, Out, In, In, U32, U32, F32]);
const FWD_WIDE: [Kernel; 2] =
    kernel_pair!("rms_norm", "rms_norm_fwd_wide", [Out, Out, In, In, U32, U32, F32]);
const BWD: [Kernel; 2] = kernel_pair!("rms_norm", "rms_norm_bwd", [Out, In, In, U32, U32]);
const BWD_WIDE: [Kernel; 2] =
    kernel_pair!("rms_norm", "rms_norm_bwd_wide", [Out, In, In, U32, U32]);

/// `r`: none where x alone is normed.
pub fn forward(
    cost: Cost,
    x: &Tensor,
    r: Option<&Tensor>,
    eps: f32,
    y: &Tensor,
    rstd: &Tensor,
) -> Result<()> {
    let (n, c) = (y.shape().rows(), y.shape().last());
    let kernel = by_dtype(y.dtype(), by_width(c, &FWD, &FWD_WIDE))?;
    let on = On { device: y.device(), kernel, cost };
    let args = [y.into(), rstd.into(), x.into(), r.into(), n.into(), c.into(), eps.into()];
    on.rows(n, &args)
}

/// dy becomes ds.
pub fn backward(cost: Cost, dy: &Tensor, y: &Tensor, rstd: &Tensor) -> Result<()> {
    let (n, c) = (y.shape().rows(), y.shape().last());
    let kernel = by_dtype(y.dtype(), by_width(c, &BWD, &BWD_WIDE))?;
    let on = On { device: y.device(), kernel, cost };
    on.rows(n, &[dy.into(), y.into(), rstd.into(), n.into(), c.into()])
}
