//! y[b,o, i*stride + u - padding, j*stride + v - padding] += w\[c,o,u,v\] x\[b,c,i,j\] over all c,
//! i, j, u, v (+ bias\[o\]): PyTorch's `F.conv_transpose2d` without dilation and groups; what falls
//! outside is lost.
//!
//! x (B, C, H, W), w (C, O, KH, KW), bias (O), y (B, O, OH, OW) with
//! OH = (H - 1) stride - 2 padding + KH + output_padding; all f32. It is the adjoint of the
//! convolution of y by w, in whose [`Geometry`] y are the images and x the maps. Saved: x, w. dx is
//! that convolution of dy; dw and dbias as in `conv2d`, all in a fixed order.

pub mod reference;

use super::conv::{self, Conv, Geometry, Side};
use super::conv_launch::conv_kernels;
use super::refuse;
use crate::Result;
use crate::tape::{Tape, Var};
use crate::tensor::Tensor;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConvTranspose2d {
    pub stride: usize,
    pub padding: usize,
    /// Rows and columns more at the end; less than the stride.
    pub output_padding: usize,
}

const OP: &str = "conv_transpose2d";

static CONV: Conv =
    Conv { op: OP, x: Side::Maps, kernels: conv_kernels!("conv_transpose2d", "bwd_dx", "fwd") };

pub fn forward(
    tape: &mut Tape,
    x: &Var,
    w: &Var,
    bias: Option<&Var>,
    how: ConvTranspose2d,
) -> Result<Var> {
    let g = geometry(&x.tensor, &w.tensor, bias.map(|b| &b.tensor), how)?;
    CONV.forward(tape, g, x, w, bias)
}

/// Geometry of the convolution that leads from y to x.
fn geometry(
    x: &Tensor,
    w: &Tensor,
    bias: Option<&Tensor>,
    how: ConvTranspose2d,
) -> Result<Geometry> {
    let [batch, maps, h, wide] = x.dims("conv_transpose2d x (B, C, H, W)")?;
    let [_, channels, kh, kw] = w.dims("conv_transpose2d w (C, O, KH, KW)")?;
    w.expect_dims("conv_transpose2d w (C, O, KH, KW)", &[maps, channels, kh, kw])?;
    conv::expect_f32(OP, &[("x", x), ("w", w)])?;
    if let Some(bias) = bias {
        bias.expect_dims("conv_transpose2d bias (O)", &[channels])?;
        conv::expect_f32(OP, &[("bias", bias)])?;
    }
    let ConvTranspose2d { stride, padding, output_padding } = how;
    if output_padding >= stride {
        let why = format!("output_padding {output_padding} is not less than stride {stride}");
        return Err(refuse(OP, why));
    }
    let size = |positions: usize, kernel: usize| {
        let padded = positions.checked_sub(1)? * stride + kernel + output_padding;
        padded.checked_sub(2 * padding)
    };
    let (Some(height), Some(width)) = (size(h, kh), size(wide, kw)) else {
        let why = format!("padding {padding} leaves nothing of {} by {kh}x{kw}", x.shape());
        return Err(refuse(OP, why));
    };
    let g = Geometry { batch, channels, height, width, maps, kernel: [kh, kw], stride, padding };
    conv::check(OP, &g)?;
    Ok(g)
}
