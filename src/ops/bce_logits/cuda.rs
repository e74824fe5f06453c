use crate::Result;
use crate::backend::{Cost, Kernel, Mode, by_dtype, kernel_pair};
use crate::ops::launch::On;
use crate::tensor::Tensor;

const FWD: [Kernel; 2] = kernel_pair!("bce_logits", "bce_logits_fwd", [Out, In, In, U32]);
const BWD: [Kernel; 2] = kernel_pair!("bce_logits", "bce_logits_bwd", [Out, In, In, In, U32, U32]);

pub fn forward(cost: Cost, q: &Tensor, targets: &Tensor, rows: &Tensor) -> Result<()> {
    let on = On { device: q.device(), kernel: by_dtype(q.dtype(), &FWD)?, cost };
    on.pieces(q.elems(), 1, &[rows.into(), q.into(), targets.into(), q.elems().into()])
}

pub fn backward(
    cost: Cost,
    q: &Tensor,
    targets: &Tensor,
    drows: &Tensor,
    dq: &Tensor,
    mode: Mode,
) -> Result<()> {
    let on = On { device: q.device(), kernel: by_dtype(q.dtype(), &BWD)?, cost };
    let n = q.elems();
    let args = [dq.into(), q.into(), targets.into(), drows.into(), n.into(), mode.into()];
    on.pieces(n, 1, &args)
}
