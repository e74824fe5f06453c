use crate::Result;
use crate::backend::{Kernel, kernel};
use crate::ops::launch::{On, width};
use crate::ops::traffic;
use crate::tensor::Tensor;

const STEP: Kernel = kernel!("ema", "ema_step", [Out, In, In, U32, F32]);

pub fn step(ema: &Tensor, p: &Tensor, guard: &Tensor, decay: f32) -> Result<()> {
    let on = On { device: p.device(), kernel: &STEP, cost: traffic(3 * p.bytes()) };
    let n = p.elems();
    on.pieces(n, width(p.dtype()), &[ema.into(), p.into(), guard.into(), n.into(), decay.into()])
}
