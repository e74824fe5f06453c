//! Speed of the CPU building blocks on the shapes that training uses.
//!
//! `cargo bench --bench cpu -- [gemm|attention|simd] [THREADS]`: best of several runs after a warm-up.

mod attention;
mod gemm;
mod simd;

use std::time::{Duration, Instant};

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let threads = args.iter().find_map(|a| a.parse().ok()).unwrap_or(0);
    let wanted = |name: &str| {
        let mut names = args.iter().filter(|a| a.parse::<usize>().is_err()).peekable();
        names.peek().is_none() || names.any(|a| a == name)
    };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("thread pool");
    pool.install(|| {
        println!("threads {}", rayon::current_num_threads());
        if wanted("gemm") {
            gemm::run();
        }
        if wanted("attention") {
            attention::run();
        }
        if wanted("simd") {
            simd::run();
        }
    });
}

/// Milliseconds of the fastest run within about 0.15 s.
fn best_ms(mut f: impl FnMut()) -> f64 {
    f();
    let (start, mut best) = (Instant::now(), Duration::MAX);
    while start.elapsed() < Duration::from_millis(150) {
        let one = Instant::now();
        f();
        best = best.min(one.elapsed());
    }
    best.as_secs_f64() * 1e3
}
