use super::Halting;
use crate::Result;
use crate::backend::{Cost, Kernel, MAX_BLOCKS_Y, by_dtype, kernel, kernel_pair};
use crate::dtype::DType;
use crate::ops::launch::{On, PIECE_BYTES, THREADS};
use crate::ops::layout::{Bounds, Layout};
use crate::tensor::Tensor;

const ADMIT: Kernel = kernel!("act_halt", "act_halt_admit", [Out, In, In, In, U32]);
const RESET: [Kernel; 2] = kernel_pair!("act_halt", "act_halt_reset", [Out, In, In, In, U32]);
const DECIDE: [Kernel; 2] =
    kernel_pair!("act_halt", "act_halt_decide", [Out, Out, In, In, U32, U32, U32, U32, F32]);
const TARGETS: [Kernel; 2] =
    kernel_pair!("act_halt", "act_halt_targets", [Out, In, In, In, U32, U32]);
const METRICS: [Kernel; 2] =
    kernel_pair!("act_halt", "act_halt_metrics", [Out, In, In, In, In, In, U32]);

/// A slot along x, its elements of `bytes` each along y.
fn slot_grid(bounds: &Bounds, bytes: usize) -> [usize; 3] {
    let blocks = (bounds.largest() * bytes).div_ceil(PIECE_BYTES * THREADS);
    [bounds.slots(), blocks.min(MAX_BLOCKS_Y), 1]
}

pub fn admit(
    cost: Cost,
    halted: &Tensor,
    bounds: &Bounds,
    src: &Tensor,
    dst: &Tensor,
) -> Result<()> {
    let on = On { device: dst.device(), kernel: &ADMIT, cost };
    let bytes = dst.dtype().size_bytes();
    let args = [dst.into(), halted.into(), src.into(), (&bounds.device).into(), bytes.into()];
    on.blocks(slot_grid(bounds, bytes), THREADS, &args)
}

pub fn reset(
    cost: Cost,
    halted: &Tensor,
    init: &Tensor,
    z: &Tensor,
    layout: &Layout,
) -> Result<()> {
    let on = On { device: z.device(), kernel: by_dtype(z.dtype(), &RESET)?, cost };
    let positions = layout.positions();
    let args =
        [z.into(), halted.into(), init.into(), (&positions.device).into(), init.elems().into()];
    on.blocks(slot_grid(positions, init.bytes()), THREADS, &args)
}

pub fn decide(
    cost: Cost,
    q: &Tensor,
    how: Halting,
    draw: Option<&Tensor>,
    steps: &Tensor,
    halted: &Tensor,
) -> Result<()> {
    let on = On { device: q.device(), kernel: by_dtype(q.dtype(), &DECIDE)?, cost };
    let b = steps.elems();
    let args = [
        steps.into(),
        halted.into(),
        q.into(),
        draw.into(),
        b.into(),
        (how.max_steps as u32).into(),
        (how.training as u32).into(),
        (how.q_continue as u32).into(),
        how.exploration_prob.into(),
    ];
    on.pieces(b, 1, &args)
}

pub fn targets(
    cost: Cost,
    rows: &Tensor,
    next_q: Option<&Tensor>,
    steps: &Tensor,
    max_steps: i32,
    targets: &Tensor,
) -> Result<()> {
    let dtype = next_q.map_or(DType::F32, Tensor::dtype);
    let on = On { device: targets.device(), kernel: by_dtype(dtype, &TARGETS)?, cost };
    let b = steps.elems();
    let args = [
        targets.into(),
        rows.into(),
        next_q.into(),
        steps.into(),
        b.into(),
        (max_steps as u32).into(),
    ];
    on.pieces(b, 1, &args)
}

pub fn metrics(
    cost: Cost,
    rows: &Tensor,
    q: &Tensor,
    q_rows: &Tensor,
    steps: &Tensor,
    halted: &Tensor,
    metrics: &Tensor,
) -> Result<()> {
    let on = On { device: q.device(), kernel: by_dtype(q.dtype(), &METRICS)?, cost };
    let args = [
        metrics.into(),
        rows.into(),
        q.into(),
        q_rows.into(),
        steps.into(),
        halted.into(),
        halted.elems().into(),
    ];
    on.blocks([1; 3], THREADS, &args)
}
