//! Elements under another shape; the gradient goes back under the old one. No memory
//! moves, so there is no kernel.

use super::add;
use crate::Result;
use crate::shape::Shape;
use crate::tape::{Grads, Rule, Tape, Var, VarId};

pub fn forward(tape: &mut Tape, x: &Var, shape: impl Into<Shape>) -> Result<Var> {
    let y = x.tensor.reshape(shape)?;
    let (from, x_id) = (*x.tensor.shape(), x.id);
    tape.output("reshape", y, &[x], |y| Box::new(Backward { y, x: x_id, from }))
}

struct Backward {
    y: VarId,
    x: Option<VarId>,
    from: Shape,
}

impl Rule for Backward {
    fn backward(&self, grads: &mut Grads) -> Result<()> {
        let Some(dy) = grads.take(self.y)? else { return Ok(()) };
        add::pass(grads, self.x, &dy.reshape(self.from)?)
    }
}
