use macro_rules_attribute::apply;
use rayon::prelude::*;

use super::{Dims, EPS};
use crate::backend::Mode;
use crate::backend::cpu::simd;

/// What normalises one channel.
#[derive(Clone, Copy)]
pub struct Channel {
    mean: f32,
    rstd: f32,
    gain: f32,
}

pub fn channels(mean: &[f32], var: &[f32], gain: &[f32]) -> Vec<Channel> {
    let one = |((&mean, &var), &gain): ((&f32, &f32), &f32)| Channel {
        mean,
        rstd: 1.0 / (var + EPS).sqrt(),
        gain,
    };
    mean.iter().zip(var).zip(gain).map(one).collect()
}

/// Mean and biased variance of each channel.
pub fn moments(d: Dims, x: &[f32]) -> (Vec<f32>, Vec<f32>) {
    (0..d.c).into_par_iter().map(|channel| moments_of(d, x, channel)).unzip()
}

fn plane<T>(d: Dims, x: &[T], image: usize, channel: usize) -> &[T] {
    &x[(image * d.c + channel) * d.s..][..d.s]
}

#[apply(simd)]
fn moments_of(d: Dims, x: &[f32], channel: usize) -> (f32, f32) {
    let (n, mut sum, mut sum_sq) = ((d.b * d.s) as f64, 0.0, 0.0);
    for image in 0..d.b {
        sum += simd::sum(plane(d, x, image, channel)) as f64;
    }
    let mean = (sum / n) as f32;
    for image in 0..d.b {
        let x = plane(d, x, image, channel);
        sum_sq += simd::sum_over([x], |[x]| (x - mean) * (x - mean)) as f64;
    }
    (mean, (sum_sq / n) as f32)
}

pub fn forward(d: Dims, x: &[f32], channels: &[Channel], bias: &[f32], relu: bool, y: &mut [f32]) {
    let image = d.c * d.s;
    y.par_chunks_mut(image).zip(x.par_chunks(image)).for_each(|(y, x)| {
        let planes = y.chunks_exact_mut(d.s).zip(x.chunks_exact(d.s));
        for ((y, x), (channel, &bias)) in planes.zip(channels.iter().zip(bias)) {
            forward_plane(x, *channel, bias, relu, y);
        }
    });
}

#[apply(simd)]
fn forward_plane(x: &[f32], c: Channel, bias: f32, relu: bool, y: &mut [f32]) {
    for (y, x) in y.iter_mut().zip(x) {
        let out = (x - c.mean) * c.rstd * c.gain + bias;
        *y = if relu && out < 0.0 { 0.0 } else { out };
    }
}

/// dy becomes dx; returns the sums of g and of g xhat by channel.
pub fn backward(
    d: Dims,
    x: &[f32],
    y: Option<&[f32]>,
    channels: &[Channel],
    training: bool,
    dy: &mut [f32],
) -> [Vec<f32>; 2] {
    let image = d.c * d.s;
    if let Some(y) = y {
        dy.par_chunks_mut(image).zip(y.par_chunks(image)).for_each(|(dy, y)| mask(dy, y));
    }
    let g = &*dy;
    let (sums, dots): (Vec<f32>, Vec<f32>) =
        (0..d.c).into_par_iter().map(|c| sums_of(d, x, g, c, channels[c])).unzip();
    let n = if training { (d.b * d.s) as f32 } else { f32::INFINITY };
    dy.par_chunks_mut(image).zip(x.par_chunks(image)).for_each(|(dy, x)| {
        let planes = dy.chunks_exact_mut(d.s).zip(x.chunks_exact(d.s));
        for ((dy, x), (channel, i)) in planes.zip(channels.iter().zip(0..)) {
            let i: usize = i;
            backward_plane(dy, x, *channel, sums[i] / n, dots[i] / n);
        }
    });
    [sums, dots]
}

#[apply(simd)]
fn mask(dy: &mut [f32], y: &[f32]) {
    for (dy, &y) in dy.iter_mut().zip(y) {
        *dy = if y > 0.0 { *dy } else { 0.0 };
    }
}

#[apply(simd)]
fn sums_of(d: Dims, x: &[f32], g: &[f32], channel: usize, c: Channel) -> (f32, f32) {
    let (mut sum, mut dot) = (0.0_f64, 0.0_f64);
    for image in 0..d.b {
        let (x, g) = (plane(d, x, image, channel), plane(d, g, image, channel));
        sum += simd::sum(g) as f64;
        dot += simd::sum_over([g, x], |[g, x]| g * ((x - c.mean) * c.rstd)) as f64;
    }
    (sum as f32, dot as f32)
}

#[apply(simd)]
fn backward_plane(dy: &mut [f32], x: &[f32], c: Channel, mean_g: f32, mean_dot: f32) {
    for (dy, x) in dy.iter_mut().zip(x) {
        let xhat = (x - c.mean) * c.rstd;
        *dy = c.gain * c.rstd * (*dy - mean_g - xhat * mean_dot);
    }
}

/// A sum into its gradient.
pub fn put(sums: &[f32], to: &mut [f32], mode: Mode) {
    for (to, sum) in to.iter_mut().zip(sums) {
        *to = if mode == Mode::Add { *to + sum } else { *sum };
    }
}
