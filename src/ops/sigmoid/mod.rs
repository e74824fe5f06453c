//! y = 1 / (1 + exp(-x)): what brings a decoder's output into (0, 1).
//!
//! x, y any shape, f32. Saved: y. dx = dy * y * (1 - y).
//! Reference: `torch.sigmoid`.

mod cpu;
mod cuda;
pub mod reference;

use super::pointwise::Pointwise;
use crate::Result;
use crate::tape::{Tape, Var};

static OP: Pointwise = Pointwise {
    name: "sigmoid",
    forward: cpu::forward,
    backward: cpu::backward,
    kernels: cuda::KERNELS,
};

pub fn forward(tape: &mut Tape, x: &Var) -> Result<Var> {
    OP.run(tape, x)
}
