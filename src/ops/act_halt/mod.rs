//! Adaptive computation time: admit new rows into halted slots, decide who halts, Q targets,
//! metrics.
//!
//! Slots carry `steps` (B) i32 and `halted` (B) u8. All functions work in place on the carry.
//!
//! ```text
//!   admit     dst[i] = src[i] where halted[b]     for the elements i of slot b
//!   reset     z[n]   = init   where halted[b]     for its positions n   (never a product with a
//!                                                 mask: the old content may be anything)
//!   decide    s = (halted[b] ? 0 : steps[b]) + 1;  last = s >= halt_max;  halted = last
//!             training and halt_max > 1:  halted |= q_halt > q_continue    (q_halt > 0 without it)
//!                                         halted &= s >= min_steps[b]
//!             min_steps = uniform{2..halt_max} with probability p, else 0
//!   targets   [answer right, sigmoid(last ? nq_halt : max(nq_halt, nq_continue))]
//!   metrics   sums over slots that halted in this step and have valid labels
//! ```
//!
//! The exploration draw of row b is Philox(seed, [b, Halting, number]); words 0 and 1.
//! Reference: `HierarchicalReasoningModel_ACTV1.forward` and `ACTLossHead` of the official HRM.

mod cpu;
mod cuda;
pub mod reference;

use super::draw::Draw;
use super::layout::{Bounds, Layout};
use super::{by_float, dispatch, expect_same_shape, refuse, traffic};
use crate::Result;
use crate::dtype::DType;
use crate::ops::cross_entropy;
use crate::tensor::Tensor;

/// How halting is decided.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Halting {
    pub max_steps: i32,
    /// Evaluation always runs `max_steps`.
    pub training: bool,
    /// Whether the Q head's second output takes part.
    pub q_continue: bool,
    pub exploration_prob: f32,
}

/// Entries of the metrics vector, all sums over rows.
pub mod metric {
    pub const COUNT: usize = 0;
    pub const ACCURACY: usize = 1;
    pub const EXACT_ACCURACY: usize = 2;
    pub const Q_HALT_ACCURACY: usize = 3;
    pub const STEPS: usize = 4;
    pub const LM_LOSS: usize = 5;
    pub const Q_HALT_LOSS: usize = 6;
    pub const Q_CONTINUE_LOSS: usize = 7;
    pub const LEN: usize = 8;
}

/// What one row that halted after `steps` steps adds to the metrics: of its `cross_entropy` row,
/// its Q logits and their losses.
pub fn metrics_of_row(row: &[f32], q: [f32; 2], q_row: [f32; 2], steps: i32) -> [f64; metric::LEN] {
    let (valid, right, exact) = (row[1] as f64, row[2] as f64, row[3] as f64);
    let mut sums = [0.0; metric::LEN];
    sums[metric::LM_LOSS] = row[0] as f64;
    sums[metric::Q_HALT_LOSS] = q_row[0] as f64;
    sums[metric::Q_CONTINUE_LOSS] = q_row[1] as f64;
    if valid > 0.0 {
        let thinks_right = (q[0] >= 0.0) as u32 as f64;
        sums[metric::COUNT] = 1.0;
        sums[metric::ACCURACY] = right / valid;
        sums[metric::EXACT_ACCURACY] = exact;
        sums[metric::Q_HALT_ACCURACY] = (thinks_right == exact) as u32 as f64;
        sums[metric::STEPS] = steps as f64;
    }
    sums
}

/// dst = src in the slots that halted; any dtype, `bounds` say where each slot's elements are.
pub fn admit(halted: &Tensor, bounds: &Bounds, src: &Tensor, dst: &Tensor) -> Result<()> {
    expect_same_shape("act_halt src", dst, src)?;
    check_slots(bounds.slots(), None, halted)?;
    if dst.elems() != bounds.total() {
        let (shape, total) = (dst.shape(), bounds.total());
        return Err(refuse("act_halt dst", format!("{shape} is not {total} elements in slots")));
    }
    dispatch(
        dst.device(),
        traffic(halted.bytes() + src.bytes() + dst.bytes()),
        || {
            cpu::admit(&halted.read()?, bounds, &src.read_bytes()?, &mut dst.write_bytes()?);
            Ok(())
        },
        |cost| cuda::admit(cost, halted, bounds, src, dst),
    )
}

/// z\[n\] = init at the positions of slots that halted: z (N, C), init (C).
pub fn reset(halted: &Tensor, init: &Tensor, z: &Tensor, layout: &Layout) -> Result<()> {
    let c = layout.width("act_halt z (N, C)", z)?;
    check_slots(layout.rows(), None, halted)?;
    init.expect_dims("act_halt init (C)", &[c])?;
    init.expect_dtype("act_halt init", z.dtype())?;
    dispatch(
        z.device(),
        traffic(halted.bytes() + init.bytes() + z.bytes()),
        || {
            by_float!(z.dtype(), "act_halt", E => {
                cpu::reset::<E>(&halted.read()?, &init.read()?, layout.positions(), &mut z.write()?);
                Ok(())
            })
        },
        |cost| cuda::reset(cost, halted, init, z, layout),
    )
}

/// `draw` (4) i32 holds [`Draw::words`]; it is read only in training.
pub fn decide(
    q: &Tensor,
    how: Halting,
    draw: Option<&Tensor>,
    steps: &Tensor,
    halted: &Tensor,
) -> Result<()> {
    let [b, _] = q.dims("act_halt q (B, 2)")?;
    q.expect_dims("act_halt q (B, 2)", &[b, 2])?;
    check_slots(b, Some(steps), halted)?;
    match draw {
        Some(draw) => {
            Draw::check("act_halt", draw)?;
        }
        None if how.training => return Err(refuse("act_halt", "training needs a draw".into())),
        None => {}
    }
    dispatch(
        q.device(),
        traffic(q.bytes() + 2 * (steps.bytes() + halted.bytes())),
        || {
            by_float!(q.dtype(), "act_halt", E => {
                cpu::decide::<E>(&q.read()?, how, draw.map(Draw::read).transpose()?, &mut steps.write()?, &mut halted.write()?);
                Ok(())
            })
        },
        |cost| cuda::decide(cost, q, how, draw, steps, halted),
    )
}

/// targets (B, 2) for `bce_logits`. `rows` are `cross_entropy`'s; without `next_q` (B, 2) the
/// second target is switched off.
pub fn targets(
    rows: &Tensor,
    next_q: Option<&Tensor>,
    steps: &Tensor,
    max_steps: i32,
    targets: &Tensor,
) -> Result<()> {
    let [b, _] = targets.dims("act_halt targets (B, 2)")?;
    for (what, t, width) in [
        ("act_halt targets (B, 2)", targets, 2),
        ("act_halt rows (B, 4)", rows, cross_entropy::ROW),
    ] {
        t.expect_dims(what, &[b, width])?;
        t.expect_dtype(what, DType::F32)?;
    }
    check_steps(b, steps)?;
    if let Some(q) = next_q {
        q.expect_dims("act_halt next_q (B, 2)", &[b, 2])?;
    }
    dispatch(
        targets.device(),
        traffic(rows.bytes() + next_q.map_or(0, Tensor::bytes) + steps.bytes() + targets.bytes()),
        || {
            let next_q = next_q.map(Tensor::to_f32s).transpose()?;
            let (rows, steps) = (rows.read()?, steps.read()?);
            cpu::targets(&rows, next_q.as_deref(), &steps, max_steps, &mut targets.write()?);
            Ok(())
        },
        |cost| cuda::targets(cost, rows, next_q, steps, max_steps, targets),
    )
}

/// metrics (8) f32, see [`metric`]; overwritten.
pub fn metrics(
    rows: &Tensor,
    q: &Tensor,
    q_rows: &Tensor,
    steps: &Tensor,
    halted: &Tensor,
    metrics: &Tensor,
) -> Result<()> {
    let [b, _] = q.dims("act_halt q (B, 2)")?;
    q.expect_dims("act_halt q (B, 2)", &[b, 2])?;
    for (what, t, dims) in [
        ("act_halt metrics (8)", metrics, &[metric::LEN][..]),
        ("act_halt rows (B, 4)", rows, &[b, cross_entropy::ROW]),
        ("act_halt q_rows (B, 2)", q_rows, &[b, 2]),
    ] {
        t.expect_dims(what, dims)?;
        t.expect_dtype(what, DType::F32)?;
    }
    check_slots(b, Some(steps), halted)?;
    dispatch(
        q.device(),
        traffic([rows, q, q_rows, steps, halted, metrics].map(Tensor::bytes).iter().sum()),
        || {
            let (rows, q, q_rows) = (rows.read()?, q.to_f32s()?, q_rows.read()?);
            let (steps, halted) = (steps.read()?, halted.read()?);
            cpu::metrics(&rows, &q, &q_rows, &steps, &halted, &mut metrics.write()?);
            Ok(())
        },
        |cost| cuda::metrics(cost, rows, q, q_rows, steps, halted, metrics),
    )
}

fn check_slots(b: usize, steps: Option<&Tensor>, halted: &Tensor) -> Result<()> {
    halted.expect_dims("act_halt halted (B)", &[b])?;
    halted.expect_dtype("act_halt halted (B)", DType::U8)?;
    steps.map_or(Ok(()), |steps| check_steps(b, steps))
}

fn check_steps(b: usize, steps: &Tensor) -> Result<()> {
    steps.expect_dims("act_halt steps (B)", &[b])?;
    steps.expect_dtype("act_halt steps (B)", DType::I32)
}
