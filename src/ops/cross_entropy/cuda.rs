use super::Kind;
use crate::Result;
use crate::backend::{Cost, Kernel, Mode, by_dtype, kernel_pair};
use crate::ops::launch::On;
use crate::ops::layout::Layout;
use crate::tensor::Tensor;

const FWD: [Kernel; 2] =
    kernel_pair!("cross_entropy", "cross_entropy_fwd", [Out, In, In, In, U32, U32, U32]);
const BWD: [Kernel; 2] = kernel_pair!(
    "cross_entropy",
    "cross_entropy_bwd",
    [Out, In, In, In, In, In, In, U32, U32, U32, U32, U32]
);

/// Threads that share a row, at most.
const TOKEN_THREADS: usize = 512;
const WARP: usize = 32;

fn code(kind: Kind) -> usize {
    (kind == Kind::Stablemax) as usize
}

pub fn forward(
    cost: Cost,
    layout: &Layout,
    kind: Kind,
    logits: &Tensor,
    labels: &Tensor,
    rows: &Tensor,
) -> Result<()> {
    let on = On { device: logits.device(), kernel: by_dtype(logits.dtype(), &FWD)?, cost };
    let (p, v) = (layout.prefix(), logits.shape().last());
    let args = [
        rows.into(),
        logits.into(),
        labels.into(),
        (&layout.positions().device).into(),
        p.into(),
        v.into(),
        code(kind).into(),
    ];
    let threads = layout.cells().largest().next_multiple_of(WARP).clamp(WARP, TOKEN_THREADS);
    on.blocks([layout.rows(), 1, 1], threads, &args)
}

/// What backward reads, besides its sizes.
pub struct Saved<'a> {
    pub logits: &'a Tensor,
    pub labels: &'a Tensor,
    pub rows: &'a Tensor,
}

pub fn backward(
    cost: Cost,
    layout: &Layout,
    kind: Kind,
    saved: Saved,
    drows: &Tensor,
    dx: &Tensor,
    mode: Mode,
) -> Result<()> {
    let Saved { logits, labels, rows } = saved;
    let cost = cost.and_bytes(layout.row_of().bytes());
    let on = On { device: logits.device(), kernel: by_dtype(logits.dtype(), &BWD)?, cost };
    let (p, v, n) = (layout.prefix(), logits.shape().last(), logits.shape().rows());
    let args = [
        dx.into(),
        logits.into(),
        labels.into(),
        rows.into(),
        drows.into(),
        (&layout.positions().device).into(),
        layout.row_of().into(),
        n.into(),
        p.into(),
        v.into(),
        code(kind).into(),
        mode.into(),
    ];
    on.pieces(n, 1, &args)
}
