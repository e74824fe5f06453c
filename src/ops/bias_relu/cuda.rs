use crate::Result;
use crate::backend::{Cost, Kernel, Mode, Purpose, by_dtype, kernel, kernel_pair};
use crate::dtype::DType;
use crate::ops::dropout::Site;
use crate::ops::launch::{self, On, width};
use crate::ops::traffic;
use crate::tensor::Tensor;

const FWD: [Kernel; 2] =
    kernel_pair!("bias_relu", "bias_relu_fwd", [Out, In, In, In, U32, U32, U32, F32, F32]);
const BWD: [Kernel; 2] = kernel_pair!("bias_relu", "bias_relu_bwd", [Out, Out, In, U32, U32, F32]);
const SUM: Kernel = kernel!("bias_relu", "bias_relu_sum", [Out, In, U32, U32, U32]);

pub fn forward(
    cost: Cost,
    x: &Tensor,
    bias: &Tensor,
    dropout: Option<(Site, &Tensor)>,
    y: &Tensor,
) -> Result<()> {
    let on = On { device: y.device(), kernel: by_dtype(y.dtype(), &FWD)?, cost };
    let (n, c) = (y.elems(), y.shape().last());
    let (stream, prob, scale) =
        dropout.map_or((0, 0.0, 1.0), |(site, _)| (site.stream(), site.prob, site.scale()));
    let args = [
        y.into(),
        x.into(),
        bias.into(),
        dropout.map(|(_, draw)| draw).into(),
        n.into(),
        c.into(),
        stream.into(),
        prob.into(),
        scale.into(),
    ];
    on.pieces(n, width(y.dtype()), &args)
}

/// dy becomes dx.
pub fn backward(
    cost: Cost,
    dy: &Tensor,
    y: &Tensor,
    scale: f32,
    dbias: Option<&(Tensor, Mode)>,
) -> Result<()> {
    let (device, n, c) = (dy.device(), dy.shape().rows(), dy.shape().last());
    let count = launch::parts(n);
    let parts = Tensor::uninit(device, DType::F32, [count, c], Purpose::Workspace)?;
    let cost = cost.and_bytes(parts.bytes());
    let args = [dy.into(), (&parts).into(), y.into(), n.into(), c.into(), scale.into()];
    On { device, kernel: by_dtype(dy.dtype(), &BWD)?, cost }.parts(n, c, 1, &args)?;
    let Some((dbias, mode)) = dbias else { return Ok(()) };
    let args = [dbias.into(), (&parts).into(), count.into(), c.into(), (*mode).into()];
    On { device, kernel: &SUM, cost: traffic(parts.bytes()) }.column_sum(c, &args)
}
