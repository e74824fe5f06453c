//! How fast this CPU multiplies matrices, measured.

use std::time::{Duration, Instant};

use crate::backend::Mode;
use crate::backend::cpu::gemm::{Mat, MatMut, gemm};
use crate::dtype::{DType, Float, bf16};

/// FLOP/s of `x (n, k) * w (m, k)^T`, measured for about a second on all threads: the best of the
/// repeats, since others may be using the machine.
pub fn matmul_flops_per_s(dtype: DType, n: usize, m: usize, k: usize) -> f64 {
    match dtype {
        DType::Bf16 => probe::<bf16>(n, m, k),
        _ => probe::<f32>(n, m, k),
    }
}

fn probe<E: Float>(n: usize, m: usize, k: usize) -> f64 {
    let (x, w) = (vec![E::from_f32(0.5); n * k], vec![E::from_f32(0.25); m * k]);
    let mut y = vec![E::from_f32(0.0); n * m];
    let mut once = || {
        let start = Instant::now();
        let (x, w) = (Mat::new(&x, n, k), Mat::new(&w, m, k).t());
        gemm(1.0, x, w, None, Mode::Set, MatMut::new(&mut y, n, m));
        start.elapsed().as_secs_f64()
    };
    once(); // scratch is allocated, threads are up
    let (end, mut best_s) = (Instant::now() + Duration::from_secs(1), f64::INFINITY);
    while best_s.is_infinite() || Instant::now() < end {
        best_s = best_s.min(once());
    }
    2.0 * (n * m * k) as f64 / best_s
}
