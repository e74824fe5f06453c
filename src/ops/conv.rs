//! What `conv2d` and `conv_transpose2d` share: the check of their shapes and their work.

use super::refuse;
use crate::Result;
use crate::backend::Cost;
pub use crate::backend::cpu::conv::Geometry;
use crate::dtype::DType;
use crate::tensor::Tensor;

/// An error unless the kernel fits into the padded image, and nothing is empty.
pub(super) fn check(op: &str, g: &Geometry) -> Result<()> {
    let Geometry { batch, channels, height, width, maps, kernel: [kh, kw], stride, padding } = *g;
    if [batch, channels, height, width, maps, kh, kw, stride].contains(&0) {
        return Err(refuse(op, format!("nothing to do for {g:?}")));
    }
    let (h, w) = (height + 2 * padding, width + 2 * padding);
    if kh > h || kw > w {
        let why = format!("kernel {kh}x{kw} is larger than the padded image, {h}x{w}");
        return Err(refuse(op, why));
    }
    Ok(())
}

/// The three tensors are f32: pictures are computed in f32 only.
pub(super) fn expect_f32(op: &str, tensors: &[(&str, &Tensor)]) -> Result<()> {
    tensors.iter().try_for_each(|(name, t)| t.expect_dtype(&format!("{op} {name}"), DType::F32))
}

impl Geometry {
    /// Of each of the three products.
    pub(super) fn cost(&self) -> Cost {
        let muladds = self.map_elems() as f64 * self.depth() as f64;
        let elems = self.image_elems() + self.map_elems() + self.weight_elems();
        Cost {
            matmul_flops: 2.0 * muladds,
            bytes: 4.0 * elems as f64,
            launches: 1.0,
            ..Cost::default()
        }
    }
}
