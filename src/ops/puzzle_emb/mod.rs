//! rows\[b\] = table[ids\[b\]]: the puzzle embeddings of a batch, gathered in f32.
//!
//! table (NP, D) f32, ids (B) i32, rows (B, D) f32. The table is not on the tape: only the gathered
//! rows are, and `sign_sgd_rows` applies their gradients (sparse embedding of the official HRM).
//! An id outside the table is an error; on CUDA, where nobody waits to hear of it, it makes its row
//! NaN and the guard refuses the step.

mod cpu;
mod cuda;
pub mod reference;

use super::{dispatch, refuse, traffic};
use crate::Result;
use crate::dtype::DType;
use crate::tensor::Tensor;

pub fn gather(table: &Tensor, ids: &Tensor, rows: &Tensor) -> Result<()> {
    let [np, d] = table.dims("puzzle_emb table (NP, D)")?;
    let [b] = ids.dims("puzzle_emb ids (B)")?;
    rows.expect_dims("puzzle_emb rows (B, D)", &[b, d])?;
    for (what, t, dtype) in [
        ("puzzle_emb table", table, DType::F32),
        ("puzzle_emb ids", ids, DType::I32),
        ("puzzle_emb rows", rows, DType::F32),
    ] {
        t.expect_dtype(what, dtype)?;
    }
    dispatch(
        table.device(),
        traffic(ids.bytes() + 2 * rows.bytes()),
        || match cpu::gather(&table.read()?, &ids.read()?, d, &mut rows.write()?) {
            Ok(()) => Ok(()),
            Err(id) => {
                Err(refuse("puzzle_emb", format!("puzzle id {id} is outside the table of {np}")))
            }
        },
        |cost| cuda::gather(cost, table, ids, np, d, rows),
    )
}
