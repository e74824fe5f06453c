//! y[b,m,i,j] = sum_{c,u,v} w[m,c,u,v] x[b,c, i*stride + u - padding, j*stride + v - padding] (+ bias[m]),
//! PyTorch's `F.conv2d` without dilation and groups; x is 0 outside.
//!
//! x (B, C, H, W), w (M, C, KH, KW), bias (M), y (B, M, OH, OW) with
//! OH = (H + 2 padding - KH) / stride + 1; all f32. Saved: x, w. dx is the adjoint, a transposed
//! convolution of dy by w; dw the products of dy with what each tap saw; dbias sums dy; all in a
//! fixed order.

mod cpu;
mod cuda;
pub mod reference;

use super::conv::{self, Backward, Geometry, Products};
use super::dispatch;
use crate::Result;
use crate::dtype::DType;
use crate::tape::{Tape, Var};
use crate::tensor::Tensor;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Conv2d {
    pub stride: usize,
    pub padding: usize,
}

const OP: &str = "conv2d";

static PRODUCTS: Products = Products {
    op: OP,
    w: (cpu::backward_w, cuda::backward_w),
    x: (cpu::backward_x, cuda::backward_x),
    bias: (cpu::backward_b, cuda::backward_b),
};

pub fn forward(tape: &mut Tape, x: &Var, w: &Var, bias: Option<&Var>, how: Conv2d) -> Result<Var> {
    let (xt, wt, bt) = (&x.tensor, &w.tensor, bias.map(|b| &b.tensor));
    let g = geometry(xt, wt, bt, how)?;
    let y = tape.alloc(DType::F32, [g.batch, g.maps, g.map_height(), g.map_width()])?;
    dispatch(
        tape.device(),
        g.cost(),
        || {
            let bias = bt.map(|b| b.read()).transpose()?;
            cpu::forward(&g, &xt.read()?, &wt.read()?, bias.as_deref(), &mut y.write()?);
            Ok(())
        },
        || cuda::forward(&g, xt, wt, bt, &y),
    )?;
    let mut inputs = vec![x, w];
    inputs.extend(bias);
    tape.output(OP, y, &inputs, |y| {
        Box::new(Backward {
            products: &PRODUCTS,
            y,
            g,
            x: (xt.clone(), x.id),
            w: (wt.clone(), w.id),
            bias: bias.and_then(|b| b.id),
        })
    })
}

fn geometry(x: &Tensor, w: &Tensor, bias: Option<&Tensor>, how: Conv2d) -> Result<Geometry> {
    let [batch, channels, height, width] = x.dims("conv2d x (B, C, H, W)")?;
    let [maps, _, kh, kw] = w.dims("conv2d w (M, C, KH, KW)")?;
    w.expect_dims("conv2d w (M, C, KH, KW)", &[maps, channels, kh, kw])?;
    conv::expect_f32(OP, &[("x", x), ("w", w)])?;
    if let Some(bias) = bias {
        bias.expect_dims("conv2d bias (M)", &[maps])?;
        conv::expect_f32(OP, &[("bias", bias)])?;
    }
    let Conv2d { stride, padding } = how;
    let g = Geometry { batch, channels, height, width, maps, kernel: [kh, kw], stride, padding };
    conv::check(OP, &g)?;
    Ok(g)
}
