use crate::Result;
use crate::backend::{Cost, Kernel, Mode, Purpose, kernel};
use crate::dtype::DType;
use crate::ops::launch::{self, On};
use crate::ops::traffic;
use crate::tensor::Tensor;

const PART: Kernel = kernel!("kl_gauss", "kl_gauss_part", [Out, In, In, U32]);
const MEAN: Kernel = kernel!("kl_gauss", "kl_gauss_mean", [Out, In, U32, U32]);
const BWD: Kernel = kernel!("kl_gauss", "kl_gauss_bwd", [Out, Out, In, In, In, U32, F32, U32, U32]);

pub fn forward(cost: Cost, mu: &Tensor, log_var: &Tensor, y: &Tensor) -> Result<()> {
    let (device, n) = (y.device(), mu.elems());
    let count = launch::mean_parts(n);
    let parts = Tensor::uninit(device, DType::F32, [count], Purpose::Workspace)?;
    let on = On { device, kernel: &PART, cost: cost.and_bytes(parts.bytes()) };
    on.mean_parts(n, &[(&parts).into(), mu.into(), log_var.into(), n.into()])?;
    let on = On { device, kernel: &MEAN, cost: traffic(parts.bytes()) };
    on.one_block(&[y.into(), (&parts).into(), count.into(), n.into()])
}

/// Gradients of mu and of log_var, where wanted.
pub fn backward(
    cost: Cost,
    mu: &Tensor,
    log_var: &Tensor,
    dy: &Tensor,
    scale: f32,
    [dmu, dlog_var]: [Option<&(Tensor, Mode)>; 2],
) -> Result<()> {
    let on = On { device: dy.device(), kernel: &BWD, cost };
    let mode = |slot: Option<&(Tensor, Mode)>| slot.map_or(Mode::Set, |(_, mode)| *mode);
    let args = [
        dmu.map(|(d, _)| d).into(),
        dlog_var.map(|(d, _)| d).into(),
        mu.into(),
        log_var.into(),
        dy.into(),
        mu.elems().into(),
        scale.into(),
        mode(dmu).into(),
        mode(dlog_var).into(),
    ];
    on.pieces(mu.elems(), 1, &args)
}
