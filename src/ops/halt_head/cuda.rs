use super::Dims;
use crate::Result;
use crate::backend::{Cost, Kernel, Mode, by_dtype, kernel, kernel_pair};
use crate::ops::launch::{On, THREADS, width};
use crate::ops::traffic;
use crate::tensor::Tensor;

const POOL: [Kernel; 2] = kernel_pair!("halt_head", "halt_head_pool", [Out, In, In, U32, U32]);
const ROWS: [Kernel; 2] = kernel_pair!("halt_head", "halt_head_fwd", [Out, In, In, In, U32, U32]);
const PARAMS: Kernel =
    kernel!("halt_head", "halt_head_bwd_params", [Out, Out, In, In, In, U32, U32, U32, U32]);
const STATE: [Kernel; 2] =
    kernel_pair!("halt_head", "halt_head_bwd", [Out, In, In, In, U32, U32, U32, U32]);

/// halt_head.cu: POOL_THREADS, a column of one sequence each.
const POOL_THREADS: usize = 128;

pub fn forward(
    cost: Cost,
    d: Dims,
    [h, l]: [&Tensor; 2],
    w: &Tensor,
    bias: &Tensor,
    pooled: &Tensor,
    rows: &Tensor,
) -> Result<()> {
    let (device, dtype) = (h.device(), h.dtype());
    let Dims { b, t, c } = d;
    let args = [pooled.into(), h.into(), l.into(), t.into(), c.into()];
    On { device, kernel: by_dtype(dtype, &POOL)?, cost }.blocks(
        [(2 * c).div_ceil(POOL_THREADS), b, 1],
        POOL_THREADS,
        &args,
    )?;
    let cost = traffic(pooled.bytes());
    let args = [rows.into(), pooled.into(), w.into(), bias.into(), b.into(), (2 * c).into()];
    On { device, kernel: by_dtype(dtype, &ROWS)?, cost }.rows(b, &args)
}

/// `slots`: dw and dbias, where wanted.
pub fn backward_params(
    cost: Cost,
    d: Dims,
    pooled: &Tensor,
    rows: &Tensor,
    drows: &Tensor,
    slots: [Option<&(Tensor, Mode)>; 2],
) -> Result<()> {
    if slots.iter().all(Option::is_none) {
        return Ok(());
    }
    let on = On { device: pooled.device(), kernel: &PARAMS, cost };
    let [dw, dbias] = slots;
    let mode = |slot: Option<&(Tensor, Mode)>| slot.map_or(Mode::Set, |(_, mode)| *mode);
    let args = [
        dw.map(|(t, _)| t).into(),
        dbias.map(|(t, _)| t).into(),
        pooled.into(),
        rows.into(),
        drows.into(),
        d.b.into(),
        (2 * d.c).into(),
        mode(dw).into(),
        mode(dbias).into(),
    ];
    on.blocks([(2 * d.c + 1).div_ceil(THREADS), 1, 1], THREADS, &args)
}

/// dx of one level, whose part of w is given.
pub fn backward_state(
    cost: Cost,
    d: Dims,
    w: &Tensor,
    rows: &Tensor,
    drows: &Tensor,
    dx: &Tensor,
    mode: Mode,
) -> Result<()> {
    let on = On { device: dx.device(), kernel: by_dtype(dx.dtype(), &STATE)?, cost };
    let n = dx.elems();
    let args = [
        dx.into(),
        w.into(),
        rows.into(),
        drows.into(),
        n.into(),
        d.t.into(),
        d.c.into(),
        mode.into(),
    ];
    on.pieces(n, width(dx.dtype()), &args)
}
