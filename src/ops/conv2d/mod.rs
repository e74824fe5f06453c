//! y\[b,m,i,j\] = sum_{c,u,v} w\[m,c,u,v\] x[b,c, i*stride + u - padding, j*stride + v - padding]
//! (+ bias\[m\]), PyTorch's `F.conv2d` without dilation and groups; x is 0 outside.
//!
//! x (B, C, H, W), w (M, C, KH, KW), bias (M), y (B, M, OH, OW) with
//! OH = (H + 2 padding - KH) / stride + 1; all f32. Saved: x, w. dx is the adjoint, a transposed
//! convolution of dy by w; dw the products of dy with what each tap saw; dbias sums dy; all in a
//! fixed order.

pub mod reference;

use super::conv::{self, Conv, Geometry, Side};
use super::conv_launch::conv_kernels;
use crate::Result;
use crate::tape::{Tape, Var};
use crate::tensor::Tensor;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Conv2d {
    pub stride: usize,
    pub padding: usize,
}

const OP: &str = "conv2d";

static CONV: Conv =
    Conv { op: OP, x: Side::Images, kernels: conv_kernels!("conv2d", "fwd", "bwd_dx") };

pub fn forward(tape: &mut Tape, x: &Var, w: &Var, bias: Option<&Var>, how: Conv2d) -> Result<Var> {
    let g = geometry(&x.tensor, &w.tensor, bias.map(|b| &b.tensor), how)?;
    CONV.forward(tape, g, x, w, bias)
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
