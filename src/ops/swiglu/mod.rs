//! SwiGLU: y\[n,f\] = silu(g\[n,f\]) * u\[n,f\], where gate_up (.., 2F) holds g in columns 0..F and
//! u in F..2F; silu(g) = g * sigmoid(g). f32 or bf16, computed in f32, rounded once.
//!
//! Saved: gate_up. dg = dy * u * sig * (1 + g * (1 - sig)), du = dy * silu(g).

mod cpu;
mod cuda;
pub mod reference;

use super::{by_float, dispatch, refuse, traffic, written};
use crate::Result;
use crate::tape::{Grads, Rule, Tape, Var, VarId};
use crate::tensor::Tensor;

pub fn forward(tape: &mut Tape, gate_up: &Var) -> Result<Var> {
    let x = &gate_up.tensor;
    let c = x.shape().last();
    if !c.is_multiple_of(2) {
        return Err(refuse(
            "swiglu",
            format!("gate_up is {}, its last dimension is odd", x.shape()),
        ));
    }
    let y = tape.alloc(x.dtype(), x.shape().with_last(c / 2))?;
    dispatch(
        tape.device(),
        traffic(x.bytes() + y.bytes()),
        || {
            by_float!(x.dtype(), "swiglu", E => {
                cpu::forward::<E>(&x.read()?, c / 2, &mut y.write()?);
                Ok(())
            })
        },
        |cost| cuda::forward(cost, x, c / 2, &y),
    )?;
    record(tape, gate_up, y)
}

/// y, which was computed from gate_up.
pub(super) fn record(tape: &mut Tape, gate_up: &Var, y: Tensor) -> Result<Var> {
    tape.output("swiglu", y, &[gate_up], |y| {
        Box::new(Backward { y, gate_up: gate_up.tensor.clone(), id: gate_up.id })
    })
}

struct Backward {
    y: VarId,
    gate_up: Tensor, // (.., 2F)
    id: Option<VarId>,
}

impl Rule for Backward {
    fn backward(&self, grads: &mut Grads) -> Result<()> {
        let Some(dy) = grads.take(self.y)? else { return Ok(()) };
        let x = &self.gate_up;
        let Some((dx, mode)) = grads.slot(self.id, x.dtype(), x.shape())? else { return Ok(()) };
        dispatch(
            dy.device(),
            traffic(x.bytes() + dy.bytes() + written(&dx, mode)),
            || {
                by_float!(x.dtype(), "swiglu", E => {
                    let f = dy.shape().last();
                    cpu::backward::<E>(&x.read()?, &dy.read()?, f, &mut dx.write()?, mode);
                    Ok(())
                })
            },
            |cost| cuda::backward(cost, x, &dy, dy.shape().last(), &dx, mode),
        )
    }
}
