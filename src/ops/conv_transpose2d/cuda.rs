use crate::Result;
use crate::backend::Mode;
use crate::ops::conv::Geometry;
use crate::ops::conv_launch::{self, Kernels, conv_kernels};
use crate::tensor::Tensor;

const KERNELS: Kernels = conv_kernels!("conv_transpose2d", "bwd_dx", "fwd");

pub fn forward(
    g: &Geometry,
    x: &Tensor,
    w: &Tensor,
    bias: Option<&Tensor>,
    y: &Tensor,
) -> Result<()> {
    conv_launch::spread(&KERNELS, g, x, w, bias, Mode::Set, y)
}

pub fn backward_x(g: &Geometry, dy: &Tensor, w: &Tensor, dx: &Tensor, mode: Mode) -> Result<()> {
    conv_launch::correlate(&KERNELS, g, dy, w, None, mode, dx)
}

pub fn backward_w(g: &Geometry, x: &Tensor, dy: &Tensor, dw: &Tensor, mode: Mode) -> Result<()> {
    conv_launch::weights(&KERNELS, g, dy, x, dw, mode)
}

pub fn backward_b(dy: &Tensor, db: &Tensor, mode: Mode) -> Result<()> {
    conv_launch::channel_sum(&KERNELS, dy, db, mode)
}
