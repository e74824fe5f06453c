use crate::Result;
use crate::backend::{Cost, Kernel, kernel};
use crate::ops::launch::{On, width};
use crate::tensor::Tensor;

const STEP: Kernel = kernel!("ema", "ema_step", [Out, In, In, U32, F32]);

pub fn step(cost: Cost, ema: &Tensor, p: &Tensor, guard: &Tensor, decay: f32) -> Result<()> {
    let on = On { device: p.device(), kernel: &STEP, cost };
    let n = p.elems();
    on.pieces(n, width(p.dtype()), &[ema.into(), p.into(), guard.into(), n.into(), decay.into()])
}
