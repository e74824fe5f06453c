//! Speed of the CPU building blocks on the shapes that training uses.
//!
//! `cargo bench --bench cpu -- [gemm|conv|attention|simd] [THREADS]`: best of several rounds after
//! a warm-up.

mod attention;
mod conv;
mod gemm;
mod simd;

use std::sync::OnceLock;
use std::time::Instant;

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
        if wanted("conv") {
            conv::run();
        }
        if wanted("attention") {
            attention::run();
        }
        if wanted("simd") {
            simd::run();
        }
    });
}

/// Milliseconds of one call: the best of five rounds of about 20 ms.
fn best_ms(mut f: impl FnMut()) -> f64 {
    let mut round_ms = |calls: usize| {
        let start = now_ms();
        (0..calls).for_each(|_| f());
        now_ms() - start
    };
    let mut calls = 1;
    while round_ms(calls) < 20.0 {
        calls *= 2;
    }
    (0..5).map(|_| round_ms(calls) / calls as f64).fold(f64::MAX, f64::min)
}

/// On one thread the time that it was on a CPU, where Linux tells: other programs then hardly
/// disturb. Otherwise the time of day.
fn now_ms() -> f64 {
    let on_cpu_ns = || {
        let stat = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
        stat.split_whitespace().next()?.parse::<f64>().ok()
    };
    match (rayon::current_num_threads(), on_cpu_ns()) {
        (1, Some(ns)) => ns * 1e-6,
        _ => {
            static START: OnceLock<Instant> = OnceLock::new();
            START.get_or_init(Instant::now).elapsed().as_secs_f64() * 1e3
        }
    }
}
