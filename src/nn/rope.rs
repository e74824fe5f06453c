//! Rotary position tables (f32), shared by every attention of a model.

use crate::Result;
use crate::backend::{Device, Purpose};
use crate::ops::attention::Rope;
use crate::tensor::Tensor;

/// Base of the frequencies that every model here takes.
pub const THETA: f32 = 10_000.0;

/// cos, sin (T, HD): angle[t, i] = t / theta^(2i / HD) for i < HD/2, repeated for the second half.
/// Reference: `RotaryEmbedding` of the official HRM.
pub fn values(t: usize, hd: usize, theta: f32) -> [Vec<f32>; 2] {
    let half = hd / 2;
    let inverse: Vec<f32> =
        (0..half).map(|i| 1.0 / theta.powf((2 * i) as f32 / hd as f32)).collect();
    [f32::cos, f32::sin].map(|f| {
        (0..t)
            .flat_map(|t| (0..hd).map(move |i| (t, i % half)))
            .map(|(t, i)| f(t as f32 * inverse[i]))
            .collect()
    })
}

/// The [`values`] on a device.
pub fn tables(device: &Device, t: usize, hd: usize, theta: f32) -> Result<Rope> {
    let tensor = |values: Vec<f32>| Tensor::from_slice(device, &values, [t, hd], Purpose::Weights);
    let [cos, sin] = values(t, hd, theta);
    Ok(Rope { cos: tensor(cos)?, sin: tensor(sin)? })
}
