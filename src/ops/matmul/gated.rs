//! A SwiGLU MLP as two products with the gate in their epilogues, forward and backward: CUDA, bf16,
//! large shapes. It is used whoever computes the other products, and spares traffic: see
//! kernels/matmul.cu. Bit for bit what three ops give on our kernels.

use super::{Dims, cuda, record};
use crate::Result;
use crate::backend::{DeviceKind, Mode};
use crate::dtype::DType;
use crate::ops::written;
use crate::tape::{Grads, Rule, Tape, Var, VarId};
use crate::tensor::Tensor;

/// y = swiglu(x w^T) v^T: x (.., K), w (2F, K), v (O, F), y (.., O). None where there is no kernel
/// for it, or where the shape is better served by three ops.
pub fn gated_mlp(tape: &mut Tape, x: &Var, w: &Var, v: &Var) -> Result<Option<Var>> {
    let (xt, wt, vt) = (&x.tensor, &w.tensor, &v.tensor);
    let [o, f] = vt.dims("matmul v (O, F)")?;
    let d = Dims { m: xt.shape().rows(), n: 2 * f, k: xt.shape().last() };
    wt.expect_dims("matmul w (2F, K)", &[d.n, d.k])?;
    if tape.device().kind() != DeviceKind::Cuda || !cuda::gated_suits(d, [xt, wt, vt]) {
        return Ok(None);
    }
    let inner = tape.alloc(DType::Bf16, xt.shape().with_last(f))?;
    let gate_up = match tape.wants_grad(&[x, w, v]) {
        true => Some(tape.alloc(DType::Bf16, xt.shape().with_last(d.n))?),
        false => None,
    };
    let written = inner.bytes() + gate_up.as_ref().map_or(0, Tensor::bytes);
    let cost = d.cost(xt.bytes() + wt.bytes() + written);
    cuda::gated(cost, d, xt, wt, gate_up.as_ref(), &inner)?;
    let gate_up = gate_up.map(|t| record(tape, d, x, w, None, t)).transpose()?;
    let inner = tape.output("swiglu", inner, &[], |_| unreachable!("no inputs, no rule"))?.tensor;

    let d = Dims { m: d.m, n: o, k: f };
    let y = tape.alloc(DType::Bf16, xt.shape().with_last(o))?;
    let cost = d.cost(inner.bytes() + vt.bytes() + y.bytes());
    cuda::forward(cost, d, &inner, vt, None, &y)?;
    let Some(gate_up) = gate_up else {
        return tape
            .output("matmul", y, &[x, w, v], |_| unreachable!("no gradient wanted"))
            .map(Some);
    };
    tape.output("matmul", y, &[&gate_up, v], |y| {
        Box::new(Backward {
            y,
            d,
            inner,
            gate_up: (gate_up.tensor.clone(), gate_up.id),
            v: (vt.clone(), v.id),
        })
    })
    .map(Some)
}

/// Rule of the second product and the gate.
struct Backward {
    y: VarId,
    d: Dims,                          // m = N, n = O, k = F
    inner: Tensor,                    // (.., F)
    gate_up: (Tensor, Option<VarId>), // (.., 2F)
    v: (Tensor, Option<VarId>),       // (O, F)
}

impl Rule for Backward {
    fn backward(&self, grads: &mut Grads) -> Result<()> {
        let Some(dy) = grads.take(self.y)? else { return Ok(()) };
        let ((gate_up, gate_up_id), (v, v_id)) = (&self.gate_up, &self.v);
        let Dims { m, n, k } = self.d;
        if let Some((dv, mode)) = grads.slot(*v_id, DType::F32, v.shape())? {
            let d = Dims { m: n, n: k, k: m };
            let cost = d.cost(dy.bytes() + self.inner.bytes() + written(&dv, mode));
            cuda::backward_w(cost, d, &dy, &self.inner, &dv, mode)?;
        }
        if let Some((dgu, mode)) = grads.slot(*gate_up_id, DType::Bf16, gate_up.shape())? {
            assert_eq!(mode, Mode::Set, "nothing else reads gate and up");
            let d = Dims { m, n: k, k: n };
            let cost = d.cost(dy.bytes() + v.bytes() + gate_up.bytes() + dgu.bytes());
            cuda::gated_backward(cost, d, &dy, v, gate_up, &dgu)?;
        }
        Ok(())
    }
}
