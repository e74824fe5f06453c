//! Sums over pairs of original and reconstruction.
//!
//! MSE: mean over all pixels and channels, values in 0..=1. PSNR: -10 log10(MSE) of that mean, in
//! dB (not the mean of each image's). SSIM: 11 x 11 Gaussian window of sigma 1.5 and population
//! moments, K1 0.01, K2 0.03, range 1, only windows that lie inside the image (22 x 22 of them),
//! mean over windows, channels, images: what `pytorch_msssim.ssim` and
//! `skimage.metrics.structural_similarity` (gaussian_weights, use_sample_covariance=False, its
//! border cropped) compute.

use rayon::prelude::*;

use crate::data::images::{CHANNELS, IMAGE_ELEMS, SIDE};

const WINDOW: usize = 11;
const SIGMA: f64 = 1.5;
const C1: f64 = 0.01 * 0.01;
const C2: f64 = 0.03 * 0.03;
/// Window positions each way.
const INSIDE: usize = SIDE - WINDOW + 1;
const PLANE: usize = SIDE * SIDE;

#[derive(Clone, Copy, Default, Debug)]
pub struct Quality {
    n: usize,
    squares: f64,
    ssim: f64,
}

impl Quality {
    /// Adds images and their reconstructions, (n, 3, 32, 32) each. The sums do not depend on the
    /// number of threads.
    pub fn add(&mut self, x: &[f32], y: &[f32]) {
        assert_eq!((x.len(), x.len() % IMAGE_ELEMS), (y.len(), 0), "whole images, as many of both");
        let pairs = x.par_chunks_exact(IMAGE_ELEMS).zip(y.par_chunks_exact(IMAGE_ELEMS));
        let each: Vec<(f64, f64)> = pairs.map(|(x, y)| (squares(x, y), ssim(x, y))).collect();
        self.n += each.len();
        for (squares, ssim) in each {
            self.squares += squares;
            self.ssim += ssim;
        }
    }

    pub fn of(x: &[f32], y: &[f32]) -> Self {
        let mut quality = Self::default();
        quality.add(x, y);
        quality
    }

    pub fn images(&self) -> usize {
        self.n
    }

    pub fn mse(&self) -> f64 {
        self.squares / (self.n * IMAGE_ELEMS) as f64
    }

    pub fn psnr_db(&self) -> f64 {
        -10.0 * self.mse().log10()
    }

    pub fn ssim(&self) -> f64 {
        self.ssim / self.n as f64
    }
}

fn squares(x: &[f32], y: &[f32]) -> f64 {
    x.iter().zip(y).map(|(x, y)| f64::from(x - y).powi(2)).sum()
}

/// Mean over channels.
fn ssim(x: &[f32], y: &[f32]) -> f64 {
    let window = window();
    let planes = x.chunks_exact(PLANE).zip(y.chunks_exact(PLANE));
    planes.map(|(x, y)| ssim_plane(x, y, &window)).sum::<f64>() / CHANNELS as f64
}

fn window() -> [f64; WINDOW] {
    let centre = (WINDOW / 2) as f64;
    let bell: [f64; WINDOW] =
        std::array::from_fn(|i| (-(i as f64 - centre).powi(2) / (2.0 * SIGMA * SIGMA)).exp());
    let sum: f64 = bell.iter().sum();
    bell.map(|v| v / sum)
}

fn ssim_plane(x: &[f32], y: &[f32], window: &[f64; WINDOW]) -> f64 {
    // Weighted sums of x, y, x^2, y^2, xy along rows, then along columns.
    let mut rows = [[0.0; 5]; SIDE * INSIDE];
    for (i, sums) in rows.iter_mut().enumerate() {
        let at = i / INSIDE * SIDE + i % INSIDE;
        for (weight, (x, y)) in window.iter().zip(x[at..].iter().zip(&y[at..])) {
            let (x, y) = (f64::from(*x), f64::from(*y));
            for (sum, v) in sums.iter_mut().zip([x, y, x * x, y * y, x * y]) {
                *sum += weight * v;
            }
        }
    }
    let mut total = 0.0;
    for at in 0..INSIDE * INSIDE {
        let mut moments = [0.0; 5];
        for (k, weight) in window.iter().enumerate() {
            for (moment, v) in moments.iter_mut().zip(rows[at + k * INSIDE]) {
                *moment += weight * v;
            }
        }
        let [mean_x, mean_y, xx, yy, xy] = moments;
        let (var_x, var_y) = (xx - mean_x * mean_x, yy - mean_y * mean_y);
        let covariance = xy - mean_x * mean_y;
        total += (2.0 * mean_x * mean_y + C1) * (2.0 * covariance + C2)
            / ((mean_x * mean_x + mean_y * mean_y + C1) * (var_x + var_y + C2));
    }
    total / (INSIDE * INSIDE) as f64
}
