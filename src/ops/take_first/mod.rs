//! y\[r,c\] = x\[starts\[r\],c\]: the first position of each row, which the Q head reads.
//!
//! x (N, C) in a [`Layout`], y (R, C). Backward adds dy to the first positions of dx and nothing
//! elsewhere.

mod cpu;
mod cuda;
pub mod reference;

use super::layout::Layout;
use super::{by_float, dispatch, traffic};
use crate::Result;
use crate::backend::Mode;
use crate::shape::Shape;
use crate::tape::{Grads, Rule, Tape, Var, VarId};

pub fn forward(tape: &mut Tape, x: &Var, layout: &Layout) -> Result<Var> {
    let c = layout.width("take_first x (N, C)", &x.tensor)?;
    let y = tape.alloc(x.tensor.dtype(), [layout.rows(), c])?;
    dispatch(
        tape.device(),
        traffic(2 * y.bytes()),
        || {
            by_float!(y.dtype(), "take_first", E => {
                cpu::forward::<E>(&x.tensor.read()?, layout.positions(), c, &mut y.write()?);
                Ok(())
            })
        },
        |cost| cuda::forward(cost, &x.tensor, layout, &y),
    )?;
    tape.output("take_first", y, &[x], |y| {
        Box::new(Backward { y, x: x.id, shape: *x.tensor.shape(), layout: layout.clone() })
    })
}

struct Backward {
    y: VarId,
    x: Option<VarId>,
    shape: Shape, // (N, C)
    layout: Layout,
}

impl Rule for Backward {
    fn backward(&self, grads: &mut Grads) -> Result<()> {
        let Some(dy) = grads.take(self.y)? else { return Ok(()) };
        let Some((dx, mode)) = grads.slot(self.x, dy.dtype(), &self.shape)? else { return Ok(()) };
        let c = self.shape.last();
        // All of dx, or the first position of each row twice.
        let moved = if mode == Mode::Set { dx.bytes() } else { 2 * dy.bytes() };
        dispatch(
            dy.device(),
            traffic(dy.bytes() + moved),
            || {
                by_float!(dy.dtype(), "take_first", E => {
                    cpu::backward::<E>(&dy.read()?, self.layout.positions(), c, &mut dx.write()?, mode);
                    Ok(())
                })
            },
            |cost| cuda::backward(cost, &dy, &self.layout, &dx, mode),
        )
    }
}
