//! Recomputation: keep a block's inputs, not its insides, and run it again in backward.

use super::{Grads, Rule, Tape, Var, VarId};
use crate::Result;

/// `f(inputs)` without keeping what its backward needs; backward calls `f` a second time. Gradients
/// reach `inputs` (which must list every tracked variable that `f` uses) exactly as if `f` had been
/// recorded, in the same order.
pub fn checkpoint(
    tape: &mut Tape,
    inputs: &[&Var],
    f: impl Fn(&mut Tape) -> Result<Var> + 'static,
) -> Result<Var> {
    let out = tape.paused(&f)?;
    if out.id.is_some() {
        return Ok(out); // one of the inputs as it is: nothing to run again
    }
    tape.output("checkpoint", out.tensor, inputs, |y| Box::new(Recompute { y, f: Box::new(f) }))
}

type Block = Box<dyn Fn(&mut Tape) -> Result<Var>>;

struct Recompute {
    y: VarId,
    f: Block,
}

impl Rule for Recompute {
    fn name(&self) -> &'static str {
        "checkpoint"
    }

    fn backward(&self, grads: &mut Grads) -> Result<()> {
        let Some(dy) = grads.take(self.y)? else { return Ok(()) };
        let mut tape = Tape::starting_at(grads.device(), grads.ids());
        let out = (self.f)(&mut tape)?;
        grads.grow(tape.next_id);
        if let Some(id) = out.id {
            grads.share(id, &dy);
        }
        drop((out, dy));
        super::run(tape.rules, grads)
    }
}
