//! y\[b,c\] = x\[b,0,c\]: the first position of each sequence, which the Q head reads.
//!
//! x (B, T, C), y (B, C). Backward adds dy to position 0 of dx and nothing elsewhere.

mod cpu;
mod cuda;
pub mod reference;

use super::{by_float, dispatch, traffic};
use crate::Result;
use crate::backend::Mode;
use crate::shape::Shape;
use crate::tape::{Grads, Rule, Tape, Var, VarId};

pub fn forward(tape: &mut Tape, x: &Var) -> Result<Var> {
    let [b, t, c] = x.tensor.dims("take_first x (B, T, C)")?;
    let y = tape.alloc(x.tensor.dtype(), [b, c])?;
    dispatch(
        tape.device(),
        traffic(2 * y.bytes()),
        || {
            by_float!(y.dtype(), "take_first", E => {
                cpu::forward::<E>(&x.tensor.read()?, t, c, &mut y.write()?);
                Ok(())
            })
        },
        |cost| cuda::forward(cost, &x.tensor, t, c, &y),
    )?;
    tape.output("take_first", y, &[x], |y| {
        Box::new(Backward { y, x: x.id, shape: *x.tensor.shape() })
    })
}

struct Backward {
    y: VarId,
    x: Option<VarId>,
    shape: Shape, // (B, T, C)
}

impl Rule for Backward {
    fn backward(&self, grads: &mut Grads) -> Result<()> {
        let Some(dy) = grads.take(self.y)? else { return Ok(()) };
        let Some((dx, mode)) = grads.slot(self.x, dy.dtype(), &self.shape)? else { return Ok(()) };
        let [_, t, c] = self.shape.bind("take_first x (B, T, C)")?;
        // All of dx, or the first position of each row twice.
        let moved = if mode == Mode::Set { dx.bytes() } else { 2 * dy.bytes() };
        dispatch(
            dy.device(),
            traffic(dy.bytes() + moved),
            || {
                by_float!(dy.dtype(), "take_first", E => {
                    cpu::backward::<E>(&dy.read()?, t, c, &mut dx.write()?, mode);
                    Ok(())
                })
            },
            |cost| cuda::backward(cost, &dy, t, c, &dx, mode),
        )
    }
}
