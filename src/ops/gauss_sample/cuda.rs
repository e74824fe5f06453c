use crate::Result;
use crate::backend::{Cost, Kernel, Mode, kernel};
use crate::ops::draw::NORMALS;
use crate::ops::launch::On;
use crate::tensor::Tensor;

const FWD: Kernel = kernel!("gauss_sample", "gauss_sample_fwd", [Out, In, In, In, U32]);
const BWD: Kernel = kernel!("gauss_sample", "gauss_sample_bwd", [Out, In, In, In, U32, U32]);
const DRAW: Kernel = kernel!("gauss_sample", "gauss_sample_draw", [Out, In, U32, U32]);

pub fn forward(cost: Cost, mu: &Tensor, log_var: &Tensor, eps: &Tensor, z: &Tensor) -> Result<()> {
    let on = On { device: z.device(), kernel: &FWD, cost };
    let args = [z.into(), mu.into(), log_var.into(), eps.into(), z.elems().into()];
    on.pieces(z.elems(), 1, &args)
}

pub fn backward(
    cost: Cost,
    dz: &Tensor,
    log_var: &Tensor,
    eps: &Tensor,
    dlog_var: &Tensor,
    mode: Mode,
) -> Result<()> {
    let on = On { device: dz.device(), kernel: &BWD, cost };
    let n = dz.elems();
    let args = [dlog_var.into(), dz.into(), log_var.into(), eps.into(), n.into(), mode.into()];
    on.pieces(n, 1, &args)
}

pub fn draw(cost: Cost, eps: &Tensor, stream: u32, draw: &Tensor) -> Result<()> {
    let on = On { device: eps.device(), kernel: &DRAW, cost };
    let n = eps.elems();
    on.pieces(n, NORMALS, &[eps.into(), draw.into(), n.into(), stream.into()])
}
