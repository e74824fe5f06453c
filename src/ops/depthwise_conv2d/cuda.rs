use super::Dims;
use crate::Result;
use crate::backend::{Arg, Cost, Kernel, Mode, kernel};
use crate::ops::launch::{On, THREADS};
use crate::tensor::Tensor;

const FWD: Kernel = kernel!(
    "depthwise_conv2d",
    "depthwise_conv2d_fwd",
    [Out, In, In, In, U32, U32, U32, U32, U32, U32, U32, U32, U32]
);
const BWD_X: Kernel = kernel!(
    "depthwise_conv2d",
    "depthwise_conv2d_bwd_x",
    [Out, In, In, U32, U32, U32, U32, U32, U32, U32, U32, U32, U32]
);
const BWD_W: Kernel = kernel!(
    "depthwise_conv2d",
    "depthwise_conv2d_bwd_w",
    [Out, Out, In, In, U32, U32, U32, U32, U32, U32, U32, U32, U32, U32, U32]
);

/// C, H, W, OH, OW, K, stride, padding: what every kernel is told in this order.
fn sizes(d: Dims) -> [Arg<'static>; 8] {
    [d.c, d.h, d.w, d.oh(), d.ow(), d.k, d.stride, d.padding].map(Arg::from)
}

pub fn forward(
    cost: Cost,
    d: Dims,
    x: &Tensor,
    w: &Tensor,
    bias: &Tensor,
    y: &Tensor,
) -> Result<()> {
    let on = On { device: y.device(), kernel: &FWD, cost };
    let mut args = vec![y.into(), x.into(), w.into(), bias.into(), y.elems().into()];
    args.extend(sizes(d));
    on.pieces(y.elems(), 1, &args)
}

pub fn backward_x(
    cost: Cost,
    d: Dims,
    dy: &Tensor,
    w: &Tensor,
    dx: &Tensor,
    mode: Mode,
) -> Result<()> {
    let on = On { device: dx.device(), kernel: &BWD_X, cost };
    let mut args = vec![dx.into(), dy.into(), w.into(), dx.elems().into()];
    args.extend(sizes(d));
    args.push(mode.into());
    on.pieces(dx.elems(), 1, &args)
}

/// Gradients of w and bias, where wanted.
pub fn backward_w(
    cost: Cost,
    d: Dims,
    x: &Tensor,
    dy: &Tensor,
    [dw, dbias]: [Option<&(Tensor, Mode)>; 2],
) -> Result<()> {
    let on = On { device: dy.device(), kernel: &BWD_W, cost };
    let mode = |slot: Option<&(Tensor, Mode)>| slot.map_or(Mode::Set, |(_, mode)| *mode);
    let mut args = vec![
        dw.map(|(t, _)| t).into(),
        dbias.map(|(t, _)| t).into(),
        x.into(),
        dy.into(),
        d.b.into(),
    ];
    args.extend(sizes(d));
    args.push(mode(dw).into());
    args.push(mode(dbias).into());
    on.blocks([d.k * d.k + 1, d.c, 1], THREADS, &args)
}
