//! y\[b,c,i,j\] = sum_{u,v} w\[c,0,u,v\] x[b,c, i*stride + u - padding, j*stride + v - padding] +
//! bias\[c\]: PyTorch's `F.conv2d` with a group for each channel; x is 0 outside.
//!
//! x (B, C, H, W), w (C, 1, K, K), bias (C), y (B, C, OH, OW) with
//! OH = (H + 2 padding - K) / stride + 1; all f32. Saved: x, w. dx, dw and dbias are the adjoints,
//! sums in a fixed order. A few multiply-adds for each element: bound by memory traffic.

mod cpu;
mod cuda;
pub mod reference;

pub use super::conv2d::Conv2d;
use super::{dispatch, refuse, traffic, written, written_if};
use crate::Result;
use crate::dtype::DType;
use crate::tape::{Grads, Rule, Tape, Var, VarId};
use crate::tensor::Tensor;

/// The letters of the contract.
#[derive(Clone, Copy, Debug)]
pub struct Dims {
    pub b: usize,
    pub c: usize,
    pub h: usize,
    pub w: usize,
    pub k: usize,
    pub stride: usize,
    pub padding: usize,
}

impl Dims {
    pub fn oh(&self) -> usize {
        (self.h + 2 * self.padding - self.k) / self.stride + 1
    }

    pub fn ow(&self) -> usize {
        (self.w + 2 * self.padding - self.k) / self.stride + 1
    }
}

pub fn forward(tape: &mut Tape, x: &Var, w: &Var, bias: &Var, how: Conv2d) -> Result<Var> {
    let (xt, wt, bt) = (&x.tensor, &w.tensor, &bias.tensor);
    let [b, c, height, width] = xt.dims("depthwise_conv2d x (B, C, H, W)")?;
    let [_, _, k, _] = wt.dims("depthwise_conv2d w (C, 1, K, K)")?;
    wt.expect_dims("depthwise_conv2d w (C, 1, K, K)", &[c, 1, k, k])?;
    bt.expect_dims("depthwise_conv2d bias (C)", &[c])?;
    for (what, t) in [("x", xt), ("w", wt), ("bias", bt)] {
        t.expect_dtype(&format!("depthwise_conv2d {what}"), DType::F32)?;
    }
    let Conv2d { stride, padding } = how;
    let d = Dims { b, c, h: height, w: width, k, stride, padding };
    if stride == 0 || k == 0 || k > height + 2 * padding || k > width + 2 * padding {
        return Err(refuse("depthwise_conv2d", format!("no place for the kernel: {d:?}")));
    }
    let y = tape.alloc(DType::F32, [b, c, d.oh(), d.ow()])?;
    dispatch(
        tape.device(),
        traffic(xt.bytes() + wt.bytes() + bt.bytes() + y.bytes()),
        || {
            cpu::forward(d, &xt.read()?, &wt.read()?, &bt.read()?, &mut y.write()?);
            Ok(())
        },
        |cost| cuda::forward(cost, d, xt, wt, bt, &y),
    )?;
    tape.output("depthwise_conv2d", y, &[x, w, bias], |y| {
        let (x, w) = ((xt.clone(), x.id), (wt.clone(), w.id));
        Box::new(Backward { y, d, x, w, bias: bias.id })
    })
}

struct Backward {
    y: VarId,
    d: Dims,
    x: (Tensor, Option<VarId>), // (B, C, H, W)
    w: (Tensor, Option<VarId>), // (C, 1, K, K)
    bias: Option<VarId>,
}

impl Rule for Backward {
    fn backward(&self, grads: &mut Grads) -> Result<()> {
        let Some(dy) = grads.take(self.y)? else { return Ok(()) };
        let (d, (x, x_id), (w, w_id)) = (self.d, &self.x, &self.w);
        let dw = grads.slot(*w_id, DType::F32, w.shape())?;
        let dbias = grads.slot(self.bias, DType::F32, &[d.c].into())?;
        if dw.is_some() || dbias.is_some() {
            dispatch(
                dy.device(),
                traffic(
                    x.bytes() + dy.bytes() + written_if(dw.as_ref()) + written_if(dbias.as_ref()),
                ),
                || {
                    let (x, dy) = (x.read()?, dy.read()?);
                    if let Some((dw, mode)) = &dw {
                        cpu::backward_w(d, &x, &dy, &mut dw.write()?, *mode);
                    }
                    if let Some((dbias, mode)) = &dbias {
                        cpu::backward_bias(d, &dy, &mut dbias.write()?, *mode);
                    }
                    Ok(())
                },
                |cost| cuda::backward_w(cost, d, x, &dy, [dw.as_ref(), dbias.as_ref()]),
            )?;
        }
        let Some((dx, mode)) = grads.slot(*x_id, DType::F32, x.shape())? else { return Ok(()) };
        dispatch(
            dy.device(),
            traffic(dy.bytes() + w.bytes() + written(&dx, mode)),
            || {
                cpu::backward_x(d, &dy.read()?, &w.read()?, &mut dx.write()?, mode);
                Ok(())
            },
            |cost| cuda::backward_x(cost, d, &dy, w, &dx, mode),
        )
    }
}
