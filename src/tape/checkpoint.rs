//! Recomputation: keep a block's inputs, not its insides, and run it again in backward.

use super::{Grads, Rule, Tape, Var, VarId};
use crate::{Error, Result};

/// `f(inputs)` without keeping what its backward needs; backward calls `f` a second time. Gradients
/// reach `inputs` (which must list every tracked variable that `f` uses) exactly as if `f` had been
/// recorded, in the same order.
pub fn checkpoint(
    tape: &mut Tape,
    inputs: &[&Var],
    f: impl Fn(&mut Tape) -> Result<Var> + 'static,
) -> Result<Var> {
    let [out] = checkpoint_all(tape, inputs, move |tape| Ok([f(tape)?]))?;
    Ok(out)
}

/// [`checkpoint`] for a block with several outputs.
pub fn checkpoint_all<const N: usize>(
    tape: &mut Tape,
    inputs: &[&Var],
    f: impl Fn(&mut Tape) -> Result<[Var; N]> + 'static,
) -> Result<[Var; N]> {
    let outs = tape.paused(&f)?;
    if outs.iter().all(|out| out.id.is_some()) {
        return Ok(outs); // inputs as they are: nothing to run again
    }
    // Such an input among other outputs keeps its own variable.
    let own = outs.each_ref().map(|out| out.id.is_none());
    let names = outs.each_ref().map(|out| out.id);
    let tensors = outs.map(|out| out.tensor);
    let outs = tape.outputs("checkpoint", tensors, inputs, |ids| {
        let ids: Vec<_> = ids.into_iter().zip(own).map(|(id, own)| own.then_some(id)).collect();
        Box::new(Recompute { ids, f: Box::new(move |tape| f(tape).map(Vec::from)) })
    })?;
    let mut names = names.into_iter();
    Ok(outs.map(|out| Var { id: names.next().flatten().or(out.id), ..out }))
}

type Block = Box<dyn Fn(&mut Tape) -> Result<Vec<Var>>>;

struct Recompute {
    /// Variables of the outputs; none for an input that is handed on.
    ids: Vec<Option<VarId>>,
    f: Block,
}

impl Rule for Recompute {
    fn backward(&self, grads: &mut Grads) -> Result<()> {
        let mut of_outputs = vec![];
        for id in &self.ids {
            of_outputs.push(id.map_or(Ok(None), |id| grads.take(id))?);
        }
        if of_outputs.iter().all(Option::is_none) {
            return Ok(());
        }
        let mut tape = Tape::starting_at(grads.device(), grads.ids());
        let outs = (self.f)(&mut tape)?;
        grads.grow(tape.next_id);
        for (out, gradient) in outs.into_iter().zip(of_outputs) {
            if let (Some(id), Some(gradient)) = (out.id, gradient)
                && !grads.share(id, &gradient)
            {
                return Err(Error::invalid("checkpoint: one variable is two outputs"));
            }
        }
        super::run(tape.rules, grads)
    }
}
