//! What `relu` and `sigmoid` share: y from x element by element, and dx from dy and y alone.

use super::launch::{On, width};
use super::{add, dispatch, traffic};
use crate::Result;
use crate::backend::Kernel;
use crate::dtype::DType;
use crate::tape::{Grads, Rule, Tape, Var, VarId};
use crate::tensor::Tensor;

/// Both passes of such an op.
pub(super) struct Pointwise {
    pub name: &'static str,
    /// x, y.
    pub forward: fn(&[f32], &mut [f32]),
    /// dy, which becomes dx, and y.
    pub backward: fn(&mut [f32], &[f32]),
    /// The same as kernels: (y, x, elems) and (dy, y, elems).
    pub kernels: [Kernel; 2],
}

impl Pointwise {
    /// x, y any shape, f32. Saved: y.
    pub fn run(&'static self, tape: &mut Tape, x: &Var) -> Result<Var> {
        let xt = &x.tensor;
        xt.expect_dtype(&format!("{} x", self.name), DType::F32)?;
        let y = tape.alloc(DType::F32, *xt.shape())?;
        dispatch(
            tape.device(),
            traffic(2 * y.bytes()),
            || {
                (self.forward)(&xt.read()?, &mut y.write()?);
                Ok(())
            },
            || launch(&self.kernels[0], 2, &y, xt),
        )?;
        let saved_y = y.clone();
        tape.output(self.name, y, &[x], |id| {
            Box::new(Backward { op: self, id, y: saved_y, x: x.id })
        })
    }
}

fn launch(kernel: &'static Kernel, passes: usize, to: &Tensor, from: &Tensor) -> Result<()> {
    let on = On { device: to.device(), kernel, cost: traffic(passes * to.bytes()) };
    on.pieces(to.elems(), width(to.dtype()), &[to.into(), from.into(), to.elems().into()])
}

struct Backward {
    op: &'static Pointwise,
    id: VarId,
    y: Tensor,
    x: Option<VarId>,
}

impl Rule for Backward {
    fn name(&self) -> &'static str {
        self.op.name
    }

    fn backward(&self, grads: &mut Grads) -> Result<()> {
        let Some(dy) = grads.take(self.id)? else { return Ok(()) };
        let dx = grads.into_own(dy)?;
        dispatch(
            dx.device(),
            traffic(3 * dx.bytes()),
            || {
                (self.op.backward)(&mut dx.write()?, &self.y.read()?);
                Ok(())
            },
            || launch(&self.op.kernels[1], 3, &dx, &self.y),
        )?;
        add::pass(grads, self.x, &dx)
    }
}
