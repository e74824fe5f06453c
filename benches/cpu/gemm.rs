//! The three products of each linear layer: y = x w^T, dx = dy w, dw += dy^T x.

use hrm::backend::Mode;
use hrm::backend::cpu::gemm::{Mat, MatMut, gemm};
use hrm::dtype::{Float, bf16};

use crate::best_ms;

/// (rows, outputs, inputs)
const LAYERS: &[(usize, usize, usize)] = &[
    (2624, 384, 128),
    (2624, 128, 128),
    (2624, 1024, 128),
    (2624, 128, 512),
    (2624, 12, 128),
    (1802, 1024, 128),
    (656, 1536, 512),
    (656, 512, 512),
    (656, 3072, 512),
    (656, 512, 1536),
    (656, 12, 512),
    (4800, 768, 256),
    (4800, 256, 1024),
    (32, 2, 128),
];

pub fn run() {
    println!("GFLOP/s          rows  outputs  inputs        y       dx       dw      y ms");
    for &layer in LAYERS {
        one::<bf16>("bf16", layer);
    }
    for &layer in LAYERS {
        one::<f32>("f32", layer);
    }
}

fn one<E: Float>(name: &str, (n, m, k): (usize, usize, usize)) {
    let values = |len: usize| -> Vec<E> {
        (0..len).map(|i| E::from_f32((i * 7 % 13) as f32 / 13.0 - 0.4)).collect()
    };
    let (x, w, dy) = (values(n * k), values(m * k), values(n * m));
    let (mut y, mut dx, mut dw) = (values(n * m), values(n * k), vec![0f32; m * k]);
    let x_mat = Mat::new(&x, n, k);
    let w_mat = Mat::new(&w, m, k);
    let dy_mat = Mat::new(&dy, n, m);
    let y_ms = best_ms(|| {
        gemm(1.0, x_mat, w_mat.t(), None, Mode::Set, MatMut::new(&mut y, n, m));
    });
    let dx_ms = best_ms(|| {
        gemm(1.0, dy_mat, w_mat, None, Mode::Set, MatMut::new(&mut dx, n, k));
    });
    let dw_ms = best_ms(|| {
        gemm(1.0, dy_mat.t(), x_mat, None, Mode::Add, MatMut::new(&mut dw, m, k));
    });
    let gflops = |ms: f64| 2e-6 * (n * m * k) as f64 / ms;
    println!(
        "{name:<12} {n:>8} {m:>8} {k:>7} {:>8.1} {:>8.1} {:>8.1} {y_ms:>9.4}",
        gflops(y_ms),
        gflops(dx_ms),
        gflops(dw_ms),
    );
}
