use crate::backend::Mode;
use crate::backend::cpu::conv::{self, Geometry};

pub fn forward(g: &Geometry, x: &[f32], w: &[f32], bias: Option<&[f32]>, y: &mut [f32]) {
    conv::spread(g, x, w, bias, Mode::Set, y);
}

pub fn backward_x(g: &Geometry, dy: &[f32], w: &[f32], dx: &mut [f32], mode: Mode) {
    conv::correlate(g, dy, w, None, mode, dx);
}

pub fn backward_w(g: &Geometry, x: &[f32], dy: &[f32], dw: &mut [f32], mode: Mode) {
    conv::weights(g, dy, x, mode, dw);
}

pub fn backward_b(g: &Geometry, dy: &[f32], db: &mut [f32], mode: Mode) {
    conv::channel_sum(dy, g.pixels(), mode, db);
}
