//! y = max(0, x): the activation of a convolution that no normalisation follows.
//!
//! x, y any shape, f32. NaN stays NaN. Saved: y. dx = dy where y > 0, else 0.
//! Reference: `torch.nn.functional.relu`.

mod cpu;
mod cuda;
pub mod reference;

use super::{add, dispatch, traffic};
use crate::Result;
use crate::dtype::DType;
use crate::tape::{Grads, Rule, Tape, Var, VarId};
use crate::tensor::Tensor;

pub fn forward(tape: &mut Tape, x: &Var) -> Result<Var> {
    let xt = &x.tensor;
    xt.expect_dtype("relu x", DType::F32)?;
    let y = tape.alloc(DType::F32, *xt.shape())?;
    dispatch(
        tape.device(),
        traffic(2 * y.bytes()),
        || {
            cpu::forward(&xt.read()?, &mut y.write()?);
            Ok(())
        },
        || cuda::forward(xt, &y),
    )?;
    let saved_y = y.clone();
    tape.output("relu", y, &[x], |id| Box::new(Backward { id, y: saved_y, x: x.id }))
}

struct Backward {
    id: VarId,
    y: Tensor,
    x: Option<VarId>,
}

impl Rule for Backward {
    fn name(&self) -> &'static str {
        "relu"
    }

    fn backward(&self, grads: &mut Grads) -> Result<()> {
        let Some(dy) = grads.take(self.id)? else { return Ok(()) };
        let dx = grads.into_own(dy)?;
        dispatch(
            dx.device(),
            traffic(3 * dx.bytes()),
            || {
                cpu::backward(&mut dx.write()?, &self.y.read()?);
                Ok(())
            },
            || cuda::backward(&dx, &self.y),
        )?;
        add::pass(grads, self.x, &dx)
    }
}
