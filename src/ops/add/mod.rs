//! y = x_0 + x_1 + ... (2 or 3 terms), left to right, each partial sum rounded to the dtype, as
//! eager PyTorch does. Shapes and dtypes equal. Backward passes dy to every input unchanged.
//!
//! Also home of [`pass`] and [`accumulate`], by which other rules hand on or add a gradient.

mod cpu;
mod cuda;
pub mod reference;

use super::{by_float, dispatch, expect_same_shape, traffic};
use crate::Result;
use crate::backend::Mode;
use crate::tape::{Grads, Rule, Tape, Var, VarId};
use crate::tensor::Tensor;

pub fn forward(tape: &mut Tape, terms: &[&Var]) -> Result<Var> {
    let (first, rest) = terms.split_first().expect("add needs a term");
    let y = tape.alloc(first.tensor.dtype(), *first.tensor.shape())?;
    for term in rest {
        expect_same_shape("add x", &first.tensor, &term.tensor)?;
    }
    dispatch(
        tape.device(),
        traffic((terms.len() + 1) * y.bytes()),
        || {
            by_float!(y.dtype(), "add", E => {
                y.write::<E>()?.copy_from_slice(&first.tensor.read::<E>()?);
                rest.iter().try_for_each(|t| {
                    cpu::accumulate::<E>(&mut y.write()?, &t.tensor.read()?);
                    Ok(())
                })
            })
        },
        |cost| cuda::forward(cost, terms, &y),
    )?;
    let inputs: Vec<Option<VarId>> = terms.iter().map(|t| t.id).collect();
    tape.output("add", y, terms, |y| Box::new(Backward { y, inputs }))
}

struct Backward {
    y: VarId,
    inputs: Vec<Option<VarId>>,
}

impl Rule for Backward {
    fn backward(&self, grads: &mut Grads) -> Result<()> {
        let Some(dy) = grads.take(self.y)? else { return Ok(()) };
        self.inputs.iter().try_for_each(|id| pass(grads, *id, &dy))
    }
}

/// Give `gradient` to an input unchanged: shared where it is the first, added where not.
pub fn pass(grads: &mut Grads, id: Option<VarId>, gradient: &Tensor) -> Result<()> {
    let Some(var) = id else { return Ok(()) };
    if grads.share(var, gradient) {
        return Ok(());
    }
    match grads.slot(id, gradient.dtype(), gradient.shape())? {
        Some((dx, Mode::Add)) => accumulate(&dx, gradient),
        Some((dx, Mode::Set)) => dx.copy_from(gradient),
        None => Ok(()),
    }
}

/// y += x.
pub fn accumulate(y: &Tensor, x: &Tensor) -> Result<()> {
    expect_same_shape("add x", y, x)?;
    dispatch(
        y.device(),
        traffic(3 * y.bytes()),
        || {
            by_float!(y.dtype(), "add", E => {
                cpu::accumulate::<E>(&mut y.write()?, &x.read()?);
                Ok(())
            })
        },
        |cost| cuda::accumulate(cost, y, x),
    )
}
