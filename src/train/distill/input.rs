//! All that changes from step to step: images, the random draw, optimizer factors, weights of the
//! losses. One buffer on the device and one copy per step, so that the rest of a step can be
//! recorded and replayed.

use crate::Result;
use crate::backend::{Device, Purpose};
use crate::dtype::DType;
use crate::models::tiny_vae::{CHANNELS, IMAGE_ELEMS, SIDE, TERMS, Weights};
use crate::ops::draw::Draw;
use crate::tensor::{Tensor, Upload};
use crate::train::optimizer::{FACTORS, StepFactors};

/// Every part starts on this boundary, as tensors of their own would: kernels may load vectors.
const ALIGN_ELEMS: usize = 64;

pub struct Input {
    upload: Upload,
    pub x: Tensor,    // (B, 3, 32, 32)
    pub draw: Tensor, // (4) i32
    pub factors: StepFactors,
    pub weights: Tensor, // (5)
}

impl Input {
    pub fn new(device: &Device, b: usize) -> Result<Self> {
        let images = b * IMAGE_ELEMS;
        let flat = Tensor::zeros(device, DType::I32, [images + 3 * ALIGN_ELEMS], Purpose::Carry)?;
        let part = |i: usize, len: usize| flat.view(images + i * ALIGN_ELEMS, [len]);
        Ok(Self {
            x: flat.view(0, [b, CHANNELS, SIDE, SIDE])?.as_dtype(DType::F32)?,
            draw: part(0, Draw::WORDS)?,
            factors: StepFactors::over(&part(1, FACTORS)?.as_dtype(DType::F32)?)?,
            weights: part(2, TERMS.len())?.as_dtype(DType::F32)?,
            upload: Upload::new(flat)?,
        })
    }

    /// Queue the input of one step; bytes become numbers in [0, 1].
    pub fn send(
        &mut self,
        x: &[u8],
        draw: Draw,
        factors: [f32; FACTORS],
        weights: Weights,
    ) -> Result<()> {
        let bits = |x: f32| x.to_bits() as i32;
        self.upload.send(|flat| {
            let (images, rest) = flat.split_at_mut(x.len());
            for (to, &x) in images.iter_mut().zip(x) {
                *to = bits(x as f32 / 255.0);
            }
            rest.fill(0);
            let mut part = |i: usize, values: &[i32]| {
                rest[i * ALIGN_ELEMS..][..values.len()].copy_from_slice(values);
            };
            part(0, &draw.words());
            part(1, &factors.map(bits));
            part(2, &weights.map(|w| bits(w as f32)));
        })
    }
}
