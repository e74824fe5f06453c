//! Principal components of images: the best that any linear code of k numbers reaches on the images
//! it was fitted to, in mean squared error. The baseline beside every learnt code.
//!
//! The covariance is exact (sums in f32 over blocks of images, deviations from the mean first); its
//! leading eigenvectors come from `eigen.rs`.

use super::eigen;
use crate::backend::Mode;
use crate::backend::cpu::gemm::{Mat, MatMut, gemm};
use crate::data::images::{IMAGE_ELEMS, Images};

const D: usize = IMAGE_ELEMS;
/// Images per product: bounds memory and the length of f32 sums.
const BLOCK: usize = 1024;
/// Rows of the covariance per product: only what lies right of the diagonal's block is computed.
const STRIP: usize = 512;

pub struct Pca {
    pub k: usize,
    mean: Vec<f32>,       // (D)
    components: Vec<f32>, // (k, D), orthonormal
    /// Variances of the training images along each component, descending.
    pub variances: Vec<f64>, // (k)
}

impl Pca {
    /// `k` is cut to what n images can span.
    pub fn fit(images: &Images, k: usize) -> Self {
        let k = k.min(D).min(images.n.saturating_sub(1)).max(1);
        let mean = mean(images);
        let (values, vectors) = eigen::leading(&covariance(images, &mean), D, k);
        let components = vectors.into_iter().map(|v| v as f32).collect();
        Self { k, mean, components, variances: values }
    }

    /// Numbers that a decoder holds: components and mean.
    pub fn parameters(&self) -> usize {
        (self.k + 1) * D
    }

    /// To k numbers per image and back; not clipped.
    pub fn reconstruct(&self, x: &[f32]) -> Vec<f32> {
        let n = x.len() / D;
        let centred: Vec<f32> =
            x.chunks_exact(D).flat_map(|x| x.iter().zip(&self.mean).map(|(x, m)| x - m)).collect();
        let (mut code, mut y) = (vec![0.0; n * self.k], vec![0.0; n * D]);
        let (x, w) = (Mat::new(&centred, n, D), Mat::new(&self.components, self.k, D));
        gemm(1.0, x, w.t(), None, Mode::Set, MatMut::new(&mut code, n, self.k));
        let (code, bias) = (Mat::new(&code, n, self.k), Some(&self.mean[..]));
        gemm(1.0, code, w, bias, Mode::Set, MatMut::new(&mut y, n, D));
        y
    }
}

/// Exact: sums of bytes.
fn mean(images: &Images) -> Vec<f32> {
    let mut sums = vec![0_u64; D];
    for image in images.pixels.chunks_exact(D) {
        sums.iter_mut().zip(image).for_each(|(sum, v)| *sum += u64::from(*v));
    }
    sums.into_iter().map(|sum| (sum as f64 / images.n.max(1) as f64 / 255.0) as f32).collect()
}

/// (D, D), divided by n.
fn covariance(images: &Images, mean: &[f32]) -> Vec<f32> {
    let mut sums = vec![0.0_f32; D * D];
    let mut centred = vec![];
    for block in images.pixels.chunks(BLOCK * D) {
        centred.clear();
        for image in block.chunks_exact(D) {
            centred.extend(image.iter().zip(mean).map(|(v, m)| f32::from(*v) / 255.0 - m));
        }
        let n = centred.len() / D;
        for i in (0..D).step_by(STRIP) {
            let part = |cols| Mat::strided(&centred[i..], n, cols, D);
            let out = MatMut::strided(&mut sums[i * D + i..], STRIP, D - i, D);
            gemm(1.0, part(STRIP).t(), part(D - i), None, Mode::Add, out);
        }
    }
    let scale = 1.0 / images.n.max(1) as f32;
    for i in 0..D {
        for j in i..D {
            let v = sums[i * D + j] * scale;
            (sums[i * D + j], sums[j * D + i]) = (v, v);
        }
    }
    sums
}
