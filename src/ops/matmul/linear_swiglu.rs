//! A linear layer and SwiGLU over what it gives. On a CPU in one pass, with gate and up in memory
//! only where a gradient needs them; elsewhere two ops. The bits are the same.

use super::{Dims, cpu, linear, record};
use crate::Result;
use crate::backend::DeviceKind;
use crate::backend::cpu::gemm::is_gated;
use crate::ops::{by_float, dispatch, swiglu};
use crate::tape::{Tape, Var};
use crate::tensor::Tensor;

/// y (.., F) = silu(g) * u, \[g | u\] = x w^T: x (.., K), w (2F, K), f32 or bf16.
pub fn linear_swiglu(tape: &mut Tape, x: &Var, w: &Var) -> Result<Var> {
    let (xt, wt) = (&x.tensor, &w.tensor);
    let [n, k] = wt.dims("matmul w (2F, K)")?;
    let f = n / 2;
    let in_one_pass = tape.device().kind() == DeviceKind::Cpu && n == 2 * f && is_gated(f, k);
    if !in_one_pass {
        let gate_up = linear(tape, x, w, None)?;
        return swiglu::forward(tape, &gate_up);
    }
    wt.expect_dtype("matmul w", xt.dtype())?;
    let d = Dims { m: xt.shape().rows(), n, k };
    xt.reshape([d.m, xt.shape().last()])?.expect_dims("matmul x (N, K)", &[d.m, k])?;
    let y = tape.alloc(xt.dtype(), xt.shape().with_last(f))?;
    let gate_up = match tape.wants_grad(&[x, w]) {
        true => Some(tape.alloc(xt.dtype(), xt.shape().with_last(n))?),
        false => None,
    };
    let written = y.bytes() + gate_up.as_ref().map_or(0, Tensor::bytes);
    dispatch(
        tape.device(),
        d.cost(xt.bytes() + wt.bytes() + written),
        || {
            by_float!(xt.dtype(), "matmul", E => {
                let mut gate_up = gate_up.as_ref().map(|t| t.write::<E>()).transpose()?;
                let gate_up = gate_up.as_deref_mut();
                cpu::gated::<E>(d, &xt.read()?, &wt.read()?, gate_up, &mut y.write()?);
                Ok(())
            })
        },
        |_| unreachable!("one pass on CPUs only"),
    )?;
    let Some(gate_up) = gate_up else {
        return tape.output("swiglu", y, &[x, w], |_| unreachable!("no gradient wanted"));
    };
    let gate_up = record(tape, d, x, w, None, gate_up)?;
    swiglu::record(tape, &gate_up, y)
}
