//! y = max(0, x): the activation of a convolution that no normalisation follows.
//!
//! x, y any shape, f32. NaN stays NaN. Saved: y. dx = dy where y > 0, else 0.
//! Reference: `torch.nn.functional.relu`.

mod cpu;
mod cuda;
pub mod reference;

use super::pointwise::Pointwise;
use crate::Result;
use crate::tape::{Tape, Var};

static OP: Pointwise = Pointwise {
    name: "relu",
    forward: cpu::forward,
    backward: cpu::backward,
    kernels: cuda::KERNELS,
};

pub fn forward(tape: &mut Tape, x: &Var) -> Result<Var> {
    OP.run(tape, x)
}
