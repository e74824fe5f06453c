//! Linear layer: y\[n,o\] = sum_k x\[n,k\] w\[o,k\] (+ b\[o\]), PyTorch's `F.linear`.
//!
//! x (.., K), w (O, K), b (O), y (.., O), all f32 or all bf16; sums in f32, y rounded once.
//! Backward: dx = dy w, dw = dy^T x, db = column sums of dy; dw and db are f32. Saved: x, w.

mod cpu;
mod cuda;
mod cut;
mod gated;
mod linear_swiglu;
mod product;
pub mod reference;

pub use gated::gated_mlp;
pub use linear_swiglu::linear_swiglu;
pub use product::{product_nn, product_nt};

use super::{by_float, dispatch, traffic, written};
use crate::Result;
use crate::backend::Cost;
use crate::dtype::DType;
use crate::tape::{Grads, Rule, Tape, Var, VarId};
use crate::tensor::Tensor;

/// One product of an (m, k) by a (k, n) matrix.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dims {
    pub m: usize,
    pub n: usize,
    pub k: usize,
}

impl Dims {
    fn cost(self, bytes: usize) -> Cost {
        let Dims { m, n, k } = self;
        Cost { matmul_flops: 2.0 * m as f64 * n as f64 * k as f64, ..traffic(bytes) }
    }
}

pub fn linear(tape: &mut Tape, x: &Var, w: &Var, b: Option<&Var>) -> Result<Var> {
    let (xt, wt, bt) = (&x.tensor, &w.tensor, b.map(|b| &b.tensor));
    let [o, k] = wt.dims("matmul w (O, K)")?;
    wt.expect_dtype("matmul w", xt.dtype())?;
    xt.reshape([xt.shape().rows(), xt.shape().last()])?
        .expect_dims("matmul x (N, K)", &[xt.shape().rows(), k])?;
    if let Some(b) = b {
        b.tensor.expect_dims("matmul b (O)", &[o])?;
        b.tensor.expect_dtype("matmul b", xt.dtype())?;
    }
    let d = Dims { m: xt.shape().rows(), n: o, k };
    let y = tape.alloc(xt.dtype(), xt.shape().with_last(o))?;
    dispatch(
        tape.device(),
        d.cost(xt.bytes() + wt.bytes() + bt.map_or(0, Tensor::bytes) + y.bytes()),
        || {
            by_float!(xt.dtype(), "matmul", E => {
                let b = bt.map(|b| b.read::<E>()).transpose()?;
                cpu::forward::<E>(d, &xt.read()?, &wt.read()?, b.as_deref(), &mut y.write()?);
                Ok(())
            })
        },
        |cost| cuda::forward(cost, d, xt, wt, bt, &y),
    )?;
    record(tape, d, x, w, b, y)
}

fn record(tape: &mut Tape, d: Dims, x: &Var, w: &Var, b: Option<&Var>, y: Tensor) -> Result<Var> {
    let mut inputs = vec![x, w];
    inputs.extend(b);
    tape.output("matmul", y, &inputs, |y| {
        Box::new(Backward {
            y,
            d,
            x: (x.tensor.clone(), x.id),
            w: (w.tensor.clone(), w.id),
            b: b.and_then(|b| b.id),
        })
    })
}

struct Backward {
    y: VarId,
    d: Dims,                    // m = N, n = O, k = K
    x: (Tensor, Option<VarId>), // (.., K)
    w: (Tensor, Option<VarId>), // (O, K)
    b: Option<VarId>,
}

impl Rule for Backward {
    fn backward(&self, grads: &mut Grads) -> Result<()> {
        let Some(dy) = grads.take(self.y)? else { return Ok(()) };
        let ((x, x_id), (w, w_id)) = (&self.x, &self.w);
        let Dims { m, n, k } = self.d;
        if let Some((dw, mode)) = grads.slot(*w_id, DType::F32, w.shape())? {
            let d = Dims { m: n, n: k, k: m };
            dispatch(
                dy.device(),
                d.cost(dy.bytes() + x.bytes() + written(&dw, mode)),
                || {
                    by_float!(dy.dtype(), "matmul", E => {
                        cpu::backward_w::<E>(d, &dy.read()?, &x.read()?, &mut dw.write()?, mode);
                        Ok(())
                    })
                },
                |cost| cuda::backward_w(cost, d, &dy, x, &dw, mode),
            )?;
        }
        if let Some((db, mode)) = grads.slot(self.b, DType::F32, &[n].into())? {
            dispatch(
                dy.device(),
                traffic(dy.bytes() + written(&db, mode)),
                || {
                    by_float!(dy.dtype(), "matmul", E => {
                        cpu::backward_b::<E>(&dy.read()?, &mut db.write()?, mode);
                        Ok(())
                    })
                },
                |cost| cuda::backward_b(cost, &dy, &db, mode),
            )?;
        }
        if let Some((dx, mode)) = grads.slot(*x_id, x.dtype(), x.shape())? {
            let d = Dims { m, n: k, k: n };
            dispatch(
                dy.device(),
                d.cost(dy.bytes() + w.bytes() + written(&dx, mode)),
                || {
                    by_float!(dy.dtype(), "matmul", E => {
                        cpu::backward_x::<E>(d, &dy.read()?, &w.read()?, &mut dx.write()?, mode);
                        Ok(())
                    })
                },
                |cost| cuda::backward_x(cost, d, &dy, w, &dx, mode),
            )?;
        }
        Ok(())
    }
}
