//! Sinusoidal positions: pe[t, 2i] = sin(t w_i), pe[t, 2i+1] = cos(t w_i), w_i = 10000^(-2i/C), in
//! f32 like the usual PyTorch module.

use crate::Result;
use crate::backend::{Device, Purpose};
use crate::dtype::DType;
use crate::ops::cast;
use crate::tensor::Tensor;

const BASE: f32 = 10_000.0;

/// (T, C)
pub fn table(t: usize, c: usize) -> Vec<f32> {
    let rate: Vec<f32> =
        (0..c.div_ceil(2)).map(|i| ((2 * i) as f32 * (-BASE.ln() / c as f32)).exp()).collect();
    let at = |t: usize, i: usize| {
        let angle = t as f32 * rate[i / 2];
        if i.is_multiple_of(2) { angle.sin() } else { angle.cos() }
    };
    (0..t).flat_map(|t| (0..c).map(move |i| (t, i))).map(|(t, i)| at(t, i)).collect()
}

/// The [`table`] on a device.
pub fn tensor(device: &Device, t: usize, c: usize, dtype: DType) -> Result<Tensor> {
    let table = Tensor::from_slice(device, &table(t, c), [t, c], Purpose::Workspace)?;
    let positions = Tensor::uninit(device, dtype, [t, c], Purpose::Weights)?;
    cast::from_f32(&table, &positions)?;
    Ok(positions)
}
