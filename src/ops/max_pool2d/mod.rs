//! y\[b,c,i,j\] = max of x\[b,c\] at rows 2i, 2i + 1 and columns 2j, 2j + 1: PyTorch's
//! `F.max_pool2d(x, 2)`.
//!
//! x (B, C, H, W), y (B, C, H / 2, W / 2), both f32; an odd last row or column is not looked at.
//! NaN wins. Saved: x. dx is dy where the window's largest lies, the first of equal ones in reading
//! order or the last NaN, else 0.

mod cpu;
mod cuda;
pub mod reference;

use super::{dispatch, refuse, traffic, written};
use crate::Result;
use crate::dtype::DType;
use crate::tape::{Grads, Rule, Tape, Var, VarId};
use crate::tensor::Tensor;

/// Planes are channels of images, B * C of them; height and width are x's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Dims {
    pub planes: usize,
    pub height: usize,
    pub width: usize,
}

impl Dims {
    /// Elements of y.
    pub fn windows(&self) -> usize {
        self.planes * (self.height / 2) * (self.width / 2)
    }
}

pub fn forward(tape: &mut Tape, x: &Var) -> Result<Var> {
    let xt = &x.tensor;
    let [b, c, height, width] = xt.dims("max_pool2d x (B, C, H, W)")?;
    xt.expect_dtype("max_pool2d x", DType::F32)?;
    let d = Dims { planes: b * c, height, width };
    if d.windows() == 0 {
        return Err(refuse("max_pool2d", format!("no 2x2 window in x {}", xt.shape())));
    }
    let y = tape.alloc(DType::F32, [b, c, height / 2, width / 2])?;
    dispatch(
        tape.device(),
        traffic(xt.bytes() + y.bytes()),
        || {
            cpu::forward(d, &xt.read()?, &mut y.write()?);
            Ok(())
        },
        |cost| cuda::forward(cost, d, xt, &y),
    )?;
    tape.output("max_pool2d", y, &[x], |y| Box::new(Backward { y, d, x: (xt.clone(), x.id) }))
}

struct Backward {
    y: VarId,
    d: Dims,
    x: (Tensor, Option<VarId>), // (B, C, H, W)
}

impl Rule for Backward {
    fn backward(&self, grads: &mut Grads) -> Result<()> {
        let Some(dy) = grads.take(self.y)? else { return Ok(()) };
        let (d, (x, id)) = (self.d, &self.x);
        let Some((dx, mode)) = grads.slot(*id, DType::F32, x.shape())? else { return Ok(()) };
        dispatch(
            dy.device(),
            traffic(x.bytes() + dy.bytes() + written(&dx, mode)),
            || {
                cpu::backward(d, &x.read()?, &dy.read()?, &mut dx.write()?, mode);
                Ok(())
            },
            |cost| cuda::backward(cost, d, x, &dy, &dx, mode),
        )
    }
}
