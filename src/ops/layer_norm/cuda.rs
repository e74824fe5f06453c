use super::Saved;
use crate::Result;
use crate::backend::{Cost, Kernel, Mode, Purpose, by_dtype, kernel, kernel_pair};
use crate::dtype::DType;
use crate::ops::launch::{self, On, by_width};
use crate::ops::traffic;
use crate::tensor::Tensor;

const FWD: [Kernel; 2] = kernel_pair!(
    "layer_norm",
    "layer_norm_fwd",
    [Out, Out, Out, Out, In, In, In, In, U32, U32, F32]
);
const BWD: [Kernel; 2] =
    kernel_pair!("layer_norm", "layer_norm_bwd", [Out, In, In, In, In, U32, U32]);
const FWD_WIDE: [Kernel; 2] = kernel_pair!(
    "layer_norm",
    "layer_norm_fwd_wide",
    [Out, Out, Out, Out, In, In, In, In, U32, U32, F32]
);
const BWD_WIDE: [Kernel; 2] =
    kernel_pair!("layer_norm", "layer_norm_bwd_wide", [Out, In, In, In, In, U32, U32]);
const PART: [Kernel; 2] =
    kernel_pair!("layer_norm", "layer_norm_part", [Out, Out, In, In, In, In, U32, U32]);
const SUM: Kernel = kernel!("layer_norm", "layer_norm_sum", [Out, In, U32, U32, U32]);

/// `r`: none where `saved.s` is x.
pub fn forward(
    cost: Cost,
    x: &Tensor,
    r: Option<&Tensor>,
    [gain, bias]: [&Tensor; 2],
    eps: f32,
    y: &Tensor,
    saved: &Saved,
) -> Result<()> {
    let (n, c) = (y.shape().rows(), y.shape().last());
    let kernel = by_dtype(y.dtype(), by_width(c, &FWD, &FWD_WIDE))?;
    let on = On { device: y.device(), kernel, cost };
    let args = [
        y.into(),
        r.map(|_| &saved.s).into(),
        (&saved.mean).into(),
        (&saved.rstd).into(),
        x.into(),
        r.into(),
        gain.into(),
        bias.into(),
        n.into(),
        c.into(),
        eps.into(),
    ];
    on.rows(n, &args)
}

/// dy becomes ds; `affine`: dgain and dbias, where wanted.
pub fn backward(
    cost: Cost,
    dy: &Tensor,
    Saved { s, mean, rstd }: &Saved,
    gain: &Tensor,
    affine: [Option<&(Tensor, Mode)>; 2],
) -> Result<()> {
    let (device, dtype) = (dy.device(), dy.dtype());
    let (n, c) = (dy.shape().rows(), dy.shape().last());
    if affine.iter().any(Option::is_some) {
        let count = launch::parts(n);
        let parts = || Tensor::uninit(device, DType::F32, [count, c], Purpose::Workspace);
        let parts = [parts()?, parts()?];
        let [of_gain, of_bias] = &parts;
        // dy and s once more than the contract counts them.
        let again = 2 * dy.bytes() + mean.bytes() + rstd.bytes();
        let cost = traffic(again + of_gain.bytes() + of_bias.bytes());
        let args = [
            of_gain.into(),
            of_bias.into(),
            dy.into(),
            s.into(),
            mean.into(),
            rstd.into(),
            n.into(),
            c.into(),
        ];
        On { device, kernel: by_dtype(dtype, &PART)?, cost }.parts(n, c, 1, &args)?;
        for (parts, slot) in parts.iter().zip(affine) {
            let Some((to, mode)) = slot else { continue };
            let args = [to.into(), parts.into(), count.into(), c.into(), (*mode).into()];
            On { device, kernel: &SUM, cost: traffic(parts.bytes()) }.column_sum(c, &args)?;
        }
    }
    let args = [dy.into(), s.into(), mean.into(), rstd.into(), gain.into(), n.into(), c.into()];
    let kernel = by_dtype(dtype, by_width(c, &BWD, &BWD_WIDE))?;
    On { device, kernel, cost }.rows(n, &args)
}
