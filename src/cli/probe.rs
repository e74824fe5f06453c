//! What this CPU can do at most, measured: products of matrices, and memory.

use std::time::{Duration, Instant};

use crate::backend::Mode;
use crate::backend::cpu::gemm::{Mat, MatMut, gemm};
use crate::backend::cpu::par;
use crate::dtype::{DType, Float, bf16};

/// How long each is measured: the best of the repeats counts, since others may use the machine.
const MEASURED: Duration = Duration::from_secs(1);

/// Bytes of each of the triad's three arrays: together beyond any cache.
const TRIAD_BYTES: usize = 128 << 20;

/// FLOP/s of `x (n, k) * w (m, k)^T`, on all threads.
pub fn matmul_flops_per_s(dtype: DType, n: usize, m: usize, k: usize) -> f64 {
    match dtype {
        DType::Bf16 => products::<bf16>(n, m, k),
        _ => products::<f32>(n, m, k),
    }
}

fn products<E: Float>(n: usize, m: usize, k: usize) -> f64 {
    let (x, w) = (vec![E::from_f32(0.5); n * k], vec![E::from_f32(0.25); m * k]);
    let mut y = vec![E::from_f32(0.0); n * m];
    let best_s = fastest_s(|| {
        let (x, w) = (Mat::new(&x, n, k), Mat::new(&w, m, k).t());
        gemm(1.0, x, w, None, Mode::Set, MatMut::new(&mut y, n, m));
    });
    2.0 * (n * m * k) as f64 / best_s
}

/// Bytes per second of `a = b + s c` on all threads, each array moved once.
pub fn triad_bytes_per_s() -> f64 {
    const CHUNK: usize = 1 << 16;
    let n = TRIAD_BYTES / size_of::<f32>();
    let (b, c) = (vec![0.5_f32; n], vec![0.25_f32; n]);
    let mut a = vec![0.0_f32; n];
    let best_s = fastest_s(|| {
        par::rows(n, CHUNK, par::by_row(&mut a, 1), |range, a| {
            let (b, c) = (&b[range.clone()], &c[range]);
            for ((a, b), c) in a.iter_mut().zip(b).zip(c) {
                *a = b + 3.0 * c;
            }
        });
    });
    (3 * TRIAD_BYTES) as f64 / best_s
}

fn fastest_s(mut once: impl FnMut()) -> f64 {
    let mut timed = || {
        let start = Instant::now();
        once();
        start.elapsed().as_secs_f64()
    };
    timed(); // memory is there, threads are up
    let (end, mut best_s) = (Instant::now() + MEASURED, f64::INFINITY);
    while best_s.is_infinite() || Instant::now() < end {
        best_s = best_s.min(timed());
    }
    best_s
}
