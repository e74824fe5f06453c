//! Elementary functions and conversions over slices that fit the L2 cache.

use hrm::backend::cpu::simd;
use hrm::dtype::bf16;
use multiversion::multiversion;

use crate::best_ms;

const LEN: usize = 64 << 10;

#[multiversion(targets("x86_64+avx512f", "x86_64+avx2+fma"))]
fn exp(x: &[f32], y: &mut [f32]) {
    y.iter_mut().zip(x).for_each(|(y, &x)| *y = simd::exp(x));
}

#[multiversion(targets("x86_64+avx512f", "x86_64+avx2+fma"))]
fn sigmoid(x: &[f32], y: &mut [f32]) {
    y.iter_mut().zip(x).for_each(|(y, &x)| *y = simd::sigmoid(x));
}

#[multiversion(targets("x86_64+avx512f", "x86_64+avx2+fma"))]
fn ln(x: &[f32], y: &mut [f32]) {
    y.iter_mut().zip(x).for_each(|(y, &x)| *y = simd::ln(x));
}

#[multiversion(targets("x86_64+avx512f", "x86_64+avx2+fma"))]
fn sum_sq(x: &[f32], y: &mut [f32]) {
    y[0] = simd::sum_sq(x);
}

pub fn run() {
    let x: Vec<f32> = (0..LEN).map(|i| (i % 997) as f32 / 100.0).collect();
    let (mut y, mut half) = (vec![0.0; LEN], vec![bf16::ZERO; LEN]);
    let report = |name: &str, ms: f64| println!("{name:<12} {:>8.0} M/s", LEN as f64 / ms / 1e3);
    report("exp", best_ms(|| exp(&x, &mut y)));
    report("sigmoid", best_ms(|| sigmoid(&x, &mut y)));
    report("ln", best_ms(|| ln(&x, &mut y)));
    report("sum_sq", best_ms(|| sum_sq(&x, &mut y)));
    report("to_bf16", best_ms(|| simd::to_bf16(&x, &mut half)));
    report("to_f32", best_ms(|| simd::to_f32(&half, &mut y)));
}
