//! y\[n\] = x\[n\] + table\[pick(ids\[r\])\] for every position n of row r: what all positions of a
//! row are told of it.
//!
//! ```text
//!   pick(id)   = id / stride mod K, so that one id can name a row of several tables
//!   dx         = dy
//!   dtable[k]  = sum over rows r with pick(ids[r]) = k of sum over positions n of r of dy[n]
//! ```
//!
//! x, y (N, C) in a [`Layout`], table (K, C) in x's dtype, ids (R) i32, not negative. dtable is
//! an f32 sum in a fixed order; filling has no share in it.

mod cpu;
mod cuda;
pub mod reference;

use super::layout::Layout;
use super::{add, by_float, dispatch, refuse, traffic, written};
use crate::Result;
use crate::dtype::DType;
use crate::tape::{Grads, Rule, Tape, Var, VarId};
use crate::tensor::Tensor;

/// Which row of a table each row of the batch takes.
#[derive(Clone)]
struct Call {
    layout: Layout,
    ids: Tensor, // (R)
    stride: usize,
    /// K
    rows: usize,
    c: usize,
}

pub fn forward(
    tape: &mut Tape,
    x: &Var,
    table: &Var,
    ids: &Tensor,
    stride: usize,
    layout: &Layout,
) -> Result<Var> {
    let c = layout.width("row_embedding x (N, C)", &x.tensor)?;
    let [rows, _] = table.tensor.dims("row_embedding table (K, C)")?;
    table.tensor.expect_dims("row_embedding table (K, C)", &[rows, c])?;
    table.tensor.expect_dtype("row_embedding table", x.tensor.dtype())?;
    ids.expect_dims("row_embedding ids (R)", &[layout.rows()])?;
    ids.expect_dtype("row_embedding ids", DType::I32)?;
    if stride == 0 || rows == 0 {
        return Err(refuse("row_embedding", format!("a table of {rows} rows by stride {stride}")));
    }
    let call = Call { layout: layout.clone(), ids: ids.clone(), stride, rows, c };
    let y = tape.alloc(x.tensor.dtype(), *x.tensor.shape())?;
    dispatch(
        tape.device(),
        traffic(2 * y.bytes() + layout.rows() * c * y.dtype().size_bytes()),
        || {
            by_float!(y.dtype(), "row_embedding", E => {
                cpu::forward::<E>(&call, &x.tensor.read()?, &table.tensor.read()?, &mut y.write()?)
            })
        },
        |cost| cuda::forward(cost, &call, &x.tensor, &table.tensor, &y),
    )?;
    tape.output("row_embedding", y, &[x, table], |y| {
        Box::new(Backward { y, x: x.id, table: table.id, call })
    })
}

struct Backward {
    y: VarId,
    x: Option<VarId>,
    table: Option<VarId>,
    call: Call,
}

impl Rule for Backward {
    fn backward(&self, grads: &mut Grads) -> Result<()> {
        let Some(dy) = grads.take(self.y)? else { return Ok(()) };
        let Call { rows, c, .. } = self.call;
        if let Some((to, mode)) = grads.slot(self.table, DType::F32, &[rows, c].into())? {
            dispatch(
                dy.device(),
                traffic(dy.bytes() + written(&to, mode)),
                || {
                    by_float!(dy.dtype(), "row_embedding", E => {
                        cpu::backward_table::<E>(&self.call, &dy.read()?, &mut to.write()?, mode)
                    })
                },
                |cost| cuda::backward_table(cost, &self.call, &dy, &to, mode),
            )?;
        }
        add::pass(grads, self.x, &dy)
    }
}
