//! y\[b,c,t\] = x\[b,t,c\]: positions and channels change places, so that a linear layer over the
//! last dimension mixes positions.
//!
//! x (B, T, C), y (B, C, T), f32 or bf16; a copy, nothing is rounded. Backward is the same the
//! other way round: dx\[b,t,c\] = dy\[b,c,t\]. Nothing is saved.

mod cpu;
mod cuda;
pub mod reference;

use super::{by_float, dispatch, traffic, written};
use crate::Result;
use crate::backend::Mode;
use crate::tape::{Grads, Rule, Tape, Var, VarId};
use crate::tensor::Tensor;

/// Rows and columns of the matrices that are read, one for each of `b`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dims {
    pub b: usize,
    pub rows: usize,
    pub cols: usize,
}

pub fn forward(tape: &mut Tape, x: &Var) -> Result<Var> {
    let [b, t, c] = x.tensor.dims("transpose x (B, T, C)")?;
    let y = tape.alloc(x.tensor.dtype(), [b, c, t])?;
    run(Dims { b, rows: t, cols: c }, &x.tensor, &y, Mode::Set)?;
    tape.output("transpose", y, &[x], |y| {
        Box::new(Backward { y, x: x.id, dims: Dims { b, rows: c, cols: t } })
    })
}

/// y (C, R) = x (R, C) transposed, without a tape.
pub fn matrix(x: &Tensor, y: &Tensor) -> Result<()> {
    let [rows, cols] = x.dims("transpose x (R, C)")?;
    y.expect_dims("transpose y (C, R)", &[cols, rows])?;
    y.expect_dtype("transpose y", x.dtype())?;
    run(Dims { b: 1, rows, cols }, x, y, Mode::Set)
}

fn run(d: Dims, x: &Tensor, y: &Tensor, mode: Mode) -> Result<()> {
    dispatch(
        x.device(),
        traffic(x.bytes() + written(y, mode)),
        || {
            by_float!(x.dtype(), "transpose", E => {
                cpu::run::<E>(d, &x.read()?, &mut y.write()?, mode);
                Ok(())
            })
        },
        |cost| cuda::run(cost, d, x, y, mode),
    )
}

struct Backward {
    y: VarId,
    x: Option<VarId>,
    dims: Dims, // of dy: rows C, cols T
}

impl Rule for Backward {
    fn backward(&self, grads: &mut Grads) -> Result<()> {
        let Some(dy) = grads.take(self.y)? else { return Ok(()) };
        let Dims { b, rows, cols } = self.dims;
        let slot = grads.slot(self.x, dy.dtype(), &[b, cols, rows].into())?;
        let Some((dx, mode)) = slot else { return Ok(()) };
        run(self.dims, &dy, &dx, mode)
    }
}
