//! y = mean over all elements of (a - b)^2.
//!
//! a, b the same shape, f32; y (1) f32, the sum in parts of fixed size. Saved: a, b.
//! da = 2 (a - b) / n * dy, db = -da. Reference: `torch.nn.functional.mse_loss`.

mod cpu;
mod cuda;
pub mod reference;

use super::{dispatch, expect_same_shape, traffic, written};
use crate::Result;
use crate::dtype::DType;
use crate::tape::{Grads, Rule, Tape, Var, VarId};
use crate::tensor::Tensor;

pub fn forward(tape: &mut Tape, a: &Var, b: &Var) -> Result<Var> {
    let (at, bt) = (&a.tensor, &b.tensor);
    at.expect_dtype("mse a", DType::F32)?;
    expect_same_shape("mse b", at, bt)?;
    let y = tape.alloc(DType::F32, [1])?;
    dispatch(
        tape.device(),
        traffic(2 * at.bytes()),
        || {
            y.write()?[0] = cpu::forward(&at.read()?, &bt.read()?);
            Ok(())
        },
        |cost| cuda::forward(cost, at, bt, &y),
    )?;
    tape.output("mse", y, &[a, b], |y| {
        Box::new(Backward { y, a: (at.clone(), a.id), b: (bt.clone(), b.id) })
    })
}

struct Backward {
    y: VarId,
    a: (Tensor, Option<VarId>),
    b: (Tensor, Option<VarId>),
}

impl Rule for Backward {
    fn backward(&self, grads: &mut Grads) -> Result<()> {
        let Some(dy) = grads.take(self.y)? else { return Ok(()) };
        for ((of, id), (other, _)) in [(&self.a, &self.b), (&self.b, &self.a)] {
            let Some((d, mode)) = grads.slot(*id, DType::F32, of.shape())? else { continue };
            let scale = 2.0 / of.elems() as f32;
            dispatch(
                dy.device(),
                traffic(of.bytes() + other.bytes() + written(&d, mode)),
                || {
                    let factor = scale * dy.read::<f32>()?[0];
                    cpu::backward(&of.read()?, &other.read()?, factor, &mut d.write()?, mode);
                    Ok(())
                },
                |cost| cuda::backward(cost, of, other, &dy, scale, &d, mode),
            )?;
        }
        Ok(())
    }
}
