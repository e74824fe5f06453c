//! Ops of one formula: y from x element by element, and dx from y and dy alone.
//!
//! x, y any shape, f32. Saved: y. An op is a file here that gives its formulas to `pointwise!`, a
//! line in `kernels/pointwise.cu` that gives them to CUDA, and a line in `tests/ops/pointwise.rs`
//! that gives them in f64.

pub mod relu;
pub mod sigmoid;

use rayon::prelude::*;

use super::launch::{On, width};
use super::{ELEMS_PER_TASK, add, dispatch, traffic};
use crate::Result;
use crate::backend::{Cost, Kernel};
use crate::dtype::DType;
use crate::tape::{Grads, Rule, Tape, Var, VarId};
use crate::tensor::Tensor;

/// Both passes of such an op.
struct Pointwise {
    name: &'static str,
    /// x, y.
    forward: fn(&[f32], &mut [f32]),
    /// y, and dy, which becomes dx.
    backward: fn(&[f32], &mut [f32]),
    /// The passes as kernels: to, from, elems.
    kernels: [Kernel; 2],
}

/// `forward` of an op by its name and formulas. They are compiled for several CPUs, so they may use
/// nothing but arithmetic and what `backend::cpu::simd` has.
macro_rules! pointwise {
    ($op:literal, forward |$x:ident| $y_of:expr, backward |$y:ident, $dy:ident| $dx_of:expr) => {
        static OP: $crate::ops::pointwise::Pointwise = $crate::ops::pointwise::Pointwise {
            name: $op,
            forward: forward_chunk,
            backward: backward_chunk,
            kernels: $crate::ops::pointwise::kernels!($op),
        };

        #[macro_rules_attribute::apply($crate::backend::cpu::simd)]
        fn forward_chunk(x: &[f32], y: &mut [f32]) {
            for (y, &$x) in y.iter_mut().zip(x) {
                *y = $y_of;
            }
        }

        #[macro_rules_attribute::apply($crate::backend::cpu::simd)]
        fn backward_chunk(y: &[f32], dy: &mut [f32]) {
            for (dx, &$y) in dy.iter_mut().zip(y) {
                let $dy = *dx;
                *dx = $dx_of;
            }
        }

        /// y of x; any shape, f32.
        pub fn forward(
            tape: &mut $crate::tape::Tape,
            x: &$crate::tape::Var,
        ) -> $crate::Result<$crate::tape::Var> {
            OP.run(tape, x)
        }
    };
}
use pointwise;

/// What `POINTWISE` of pointwise.cu makes of a name.
macro_rules! kernels {
    ($op:literal) => {{
        use $crate::backend::{Kernel, Param};
        const PARAMS: &[Param] = &[Param::Out, Param::In, Param::U32];
        [
            Kernel { op: $op, name: concat!($op, "_fwd"), params: PARAMS },
            Kernel { op: $op, name: concat!($op, "_bwd"), params: PARAMS },
        ]
    }};
}
use kernels;

impl Pointwise {
    fn run(&'static self, tape: &mut Tape, x: &Var) -> Result<Var> {
        let xt = &x.tensor;
        xt.expect_dtype(&format!("{} x", self.name), DType::F32)?;
        let y = tape.alloc(DType::F32, *xt.shape())?;
        dispatch(
            tape.device(),
            traffic(xt.bytes() + y.bytes()),
            || {
                chunks(self.forward, &xt.read()?, &mut y.write()?);
                Ok(())
            },
            |cost| launch(&self.kernels[0], cost, &y, xt),
        )?;
        let saved_y = y.clone();
        tape.output(self.name, y, &[x], |id| {
            Box::new(Backward { op: self, id, y: saved_y, x: x.id })
        })
    }
}

struct Backward {
    op: &'static Pointwise,
    id: VarId,
    y: Tensor,
    x: Option<VarId>,
}

impl Rule for Backward {
    fn backward(&self, grads: &mut Grads) -> Result<()> {
        let Some(dy) = grads.take(self.id)? else { return Ok(()) };
        let dx = grads.into_own(dy)?;
        dispatch(
            dx.device(),
            traffic(self.y.bytes() + 2 * dx.bytes()),
            || {
                chunks(self.op.backward, &self.y.read()?, &mut dx.write()?);
                Ok(())
            },
            |cost| launch(&self.op.kernels[1], cost, &dx, &self.y),
        )?;
        add::pass(grads, self.x, &dx)
    }
}

fn chunks(f: fn(&[f32], &mut [f32]), from: &[f32], to: &mut [f32]) {
    to.par_chunks_mut(ELEMS_PER_TASK)
        .zip(from.par_chunks(ELEMS_PER_TASK))
        .for_each(|(to, from)| f(from, to));
}

fn launch(kernel: &'static Kernel, cost: Cost, to: &Tensor, from: &Tensor) -> Result<()> {
    let on = On { device: to.device(), kernel, cost };
    on.pieces(to.elems(), width(to.dtype()), &[to.into(), from.into(), to.elems().into()])
}
