//! Sparse sign-SGD with decoupled decay on the rows of a table that a batch touched.
//!
//! ```text
//!   for each distinct id:  G = sum of g[r] over r with ids[r] = id
//!                          table[id] = table[id] (1 - lr wd) - lr sign(G),   sign(0) = 0
//! ```
//!
//! table (NP, D), g (R, D) f32, ids (R) i32. Rows not named stay as they are; a named row whose
//! gradients cancel still decays. Nothing happens if the guard is down.
//! Reference: `CastedSparseEmbeddingSignSGD_Distributed` of the official HRM.

mod cpu;
mod cuda;
pub mod reference;

use super::{dispatch, global_norm, traffic};
use crate::Result;
use crate::dtype::DType;
use crate::tensor::Tensor;

/// lr and 1 - lr wd, computed in f64 and rounded once: the factors that [`step`] reads from device
/// memory, since they change with every step.
pub fn factors(lr: f64, weight_decay: f64) -> [f32; FACTORS] {
    [lr as f32, (1.0 - lr * weight_decay) as f32]
}

pub const FACTORS: usize = 2;

/// `guard` is `global_norm`'s, `factors` (2) f32.
pub fn step(
    table: &Tensor,
    ids: &Tensor,
    g: &Tensor,
    guard: &Tensor,
    factors: &Tensor,
) -> Result<()> {
    let [_, d] = table.dims("sign_sgd_rows table (NP, D)")?;
    let [r] = ids.dims("sign_sgd_rows ids (R)")?;
    g.expect_dims("sign_sgd_rows g (R, D)", &[r, d])?;
    ids.expect_dtype("sign_sgd_rows ids", DType::I32)?;
    g.expect_dtype("sign_sgd_rows g", DType::F32)?;
    table.expect_dtype("sign_sgd_rows table", DType::F32)?;
    global_norm::check("sign_sgd_rows", guard)?;
    factors.expect_dims("sign_sgd_rows factors (2)", &[FACTORS])?;
    factors.expect_dtype("sign_sgd_rows factors (2)", DType::F32)?;
    dispatch(
        table.device(),
        traffic(ids.bytes() + 3 * g.bytes()),
        || {
            if guard.read::<f32>()?[2] == 0.0 {
                return Ok(());
            }
            let (ids, g, factors) = (ids.read()?, g.read()?, factors.read::<f32>()?);
            cpu::step(&mut table.write()?, &ids, &g, d, factors[0], factors[1]);
            Ok(())
        },
        |cost| cuda::step(cost, table, ids, g, guard, factors),
    )
}
