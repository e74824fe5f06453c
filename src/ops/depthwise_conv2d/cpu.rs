use rayon::prelude::*;

use super::Dims;
use crate::backend::Mode;

/// For tap (u, v) of one plane: f(place, source), row by row.
fn tap(d: Dims, u: usize, v: usize, mut f: impl FnMut(usize, usize)) {
    let (oh, ow) = (d.oh(), d.ow());
    for i in 0..oh {
        let row = i * d.stride + u;
        if row < d.padding || row >= d.h + d.padding {
            continue;
        }
        for j in 0..ow {
            let column = j * d.stride + v;
            if column >= d.padding && column < d.w + d.padding {
                f(i * ow + j, (row - d.padding) * d.w + column - d.padding);
            }
        }
    }
}

fn taps(d: Dims) -> impl Iterator<Item = (usize, usize)> {
    (0..d.k * d.k).map(move |tap| (tap / d.k, tap % d.k))
}

pub fn forward(d: Dims, x: &[f32], w: &[f32], bias: &[f32], y: &mut [f32]) {
    let planes = y.par_chunks_mut(d.oh() * d.ow()).zip(x.par_chunks(d.h * d.w));
    planes.enumerate().for_each(|(plane, (y, x))| {
        let channel = plane % d.c;
        y.fill(bias[channel]);
        for ((u, v), w) in taps(d).zip(&w[channel * d.k * d.k..]) {
            tap(d, u, v, |place, from| y[place] += w * x[from]);
        }
    });
}

pub fn backward_x(d: Dims, dy: &[f32], w: &[f32], dx: &mut [f32], mode: Mode) {
    let planes = dx.par_chunks_mut(d.h * d.w).zip(dy.par_chunks(d.oh() * d.ow()));
    planes.enumerate().for_each(|(plane, (dx, dy))| {
        if mode == Mode::Set {
            dx.fill(0.0);
        }
        for ((u, v), w) in taps(d).zip(&w[plane % d.c * d.k * d.k..]) {
            tap(d, u, v, |place, from| dx[from] += w * dy[place]);
        }
    });
}

pub fn backward_w(d: Dims, x: &[f32], dy: &[f32], dw: &mut [f32], mode: Mode) {
    let places = d.oh() * d.ow();
    dw.par_chunks_mut(d.k * d.k).enumerate().for_each(|(channel, dw)| {
        for ((u, v), dw) in taps(d).zip(dw) {
            let mut total = 0.0_f64;
            for plane in (0..d.b).map(|image| image * d.c + channel) {
                let (x, dy) = (&x[plane * d.h * d.w..], &dy[plane * places..]);
                let mut sum = 0.0_f32;
                tap(d, u, v, |place, from| sum += dy[place] * x[from]);
                total += sum as f64;
            }
            *dw = if mode == Mode::Add { *dw } else { 0.0 } + total as f32;
        }
    });
}

pub fn backward_bias(d: Dims, dy: &[f32], dbias: &mut [f32], mode: Mode) {
    let places = d.oh() * d.ow();
    for (channel, db) in dbias.iter_mut().enumerate() {
        let planes = dy.chunks_exact(places).skip(channel).step_by(d.c);
        let total: f64 = planes.map(|dy| dy.iter().sum::<f32>() as f64).sum();
        *db = if mode == Mode::Add { *db } else { 0.0 } + total as f32;
    }
}
