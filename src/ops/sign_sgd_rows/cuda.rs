use crate::Result;
use crate::backend::{Cost, Kernel, kernel};
use crate::ops::launch::{On, width};
use crate::tensor::Tensor;

const STEP: Kernel =
    kernel!("sign_sgd_rows", "sign_sgd_rows_step", [Out, In, In, In, In, U32, U32, U32]);

const ROW_THREADS: usize = 128;

pub fn step(
    cost: Cost,
    table: &Tensor,
    ids: &Tensor,
    g: &Tensor,
    guard: &Tensor,
    factors: &Tensor,
) -> Result<()> {
    let on = On { device: table.device(), kernel: &STEP, cost };
    let (r, np, d) = (ids.elems(), table.shape().rows(), table.shape().last());
    let args = [
        table.into(),
        ids.into(),
        g.into(),
        guard.into(),
        factors.into(),
        r.into(),
        d.into(),
        np.into(),
    ];
    on.blocks([r, d.div_ceil(width(g.dtype()) * ROW_THREADS), 1], ROW_THREADS, &args)
}
