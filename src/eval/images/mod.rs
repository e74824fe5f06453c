//! How near reconstructed images are to their originals, and what a linear method reaches with as
//! many numbers per image.
//!
//! `quality.rs` MSE, PSNR, SSIM · `pca.rs` principal components (`eigen.rs`) · `codes.rs` which of
//! a code's numbers say anything · `report.rs` table, JSON, pictures. Pixels here are f32 in 0..=1,
//! (n, 3, 32, 32).

pub mod codes;
mod eigen;
pub mod pca;
pub mod quality;
pub mod report;

pub use codes::Codes;
pub use pca::Pca;
pub use quality::Quality;
pub use report::{Coder, Report, Row, report};

use crate::data::images::Images;

/// Images `range` as f32 in 0..=1.
pub fn pixels(images: &Images, range: std::ops::Range<usize>) -> Vec<f32> {
    let elems = images.channels * images.height * images.width;
    let bytes = &images.pixels[range.start * elems..range.end * elems];
    bytes.iter().map(|v| f32::from(*v) / 255.0).collect()
}

/// To bytes, clipped and rounded, for pictures.
pub fn bytes(pixels: &[f32]) -> Vec<u8> {
    pixels.iter().map(|v| (v.clamp(0.0, 1.0) * 255.0 + 0.5) as u8).collect()
}
