//! What this machine is: processor, memory, and how fast it multiplies matrices.

use std::fs;
use std::time::{Duration, Instant};

use crate::backend::Mode;
use crate::backend::cpu::gemm::{Mat, MatMut, gemm};
use crate::dtype::{DType, Float, bf16};

/// As the system names it.
pub fn cpu_model() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = text.lines().find_map(|l| l.strip_prefix("model name")?.split_once(": "));
    line.map_or_else(|| std::env::consts::ARCH.to_owned(), |(_, name)| name.trim().to_owned())
}

/// Instruction sets that kernels choose by: name, and whether it is here.
pub fn cpu_features() -> Vec<(&'static str, bool)> {
    #[cfg(target_arch = "x86_64")]
    {
        vec![
            ("avx2", is_x86_feature_detected!("avx2")),
            ("fma", is_x86_feature_detected!("fma")),
            ("avx512f", is_x86_feature_detected!("avx512f")),
            ("avx512bf16", is_x86_feature_detected!("avx512bf16")),
        ]
    }
    #[cfg(not(target_arch = "x86_64"))]
    vec![]
}

/// Memory of the machine and what of it is free for programs, where the system tells.
pub fn memory_bytes() -> Option<(usize, usize)> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    Some((kilobytes(&text, "MemTotal:")?, kilobytes(&text, "MemAvailable:")?))
}

/// Resident memory of this process.
pub fn resident_bytes() -> Option<usize> {
    kilobytes(&fs::read_to_string("/proc/self/status").ok()?, "VmRSS:")
}

/// Highest resident memory of this process so far.
pub fn peak_resident_bytes() -> Option<usize> {
    kilobytes(&fs::read_to_string("/proc/self/status").ok()?, "VmHWM:")
}

fn kilobytes(text: &str, key: &str) -> Option<usize> {
    let line = text.lines().find_map(|l| l.strip_prefix(key))?;
    Some(line.split_whitespace().next()?.parse::<usize>().ok()? * 1024)
}

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
