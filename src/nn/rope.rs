//! Rotary position tables (f32), shared by every attention of a model.

use crate::Result;
use crate::backend::{Device, Purpose};
use crate::ops::attention::Rope;
use crate::sequence::{Position, places};
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

/// cos, sin (places, HD) of the places of a canvas of `side` cells (`crate::sequence`): a head's
/// pairs are split over x, y and z, nearly 10 : 10 : 12, and each axis has frequencies of its own:
/// angle = coordinate / theta^(k / pairs of the axis).
pub fn grid_values(side: usize, hd: usize, theta: f32) -> [Vec<f32>; 2] {
    let half = hd / 2;
    let [x_end, y_end] = [half * 10 / 32, half * 20 / 32];
    let pairs = [x_end, y_end - x_end, half - y_end];
    let angles: Vec<f32> = (0..places(side))
        .flat_map(|place| {
            let Position { x, y, z } = Position::of_place(place, side);
            let axes = [x, y, z].into_iter().zip(pairs);
            let of_pairs = axes.flat_map(|(at, n)| {
                (0..n).map(move |k| at as f32 / theta.powf(k as f32 / n as f32))
            });
            let of_pairs: Vec<f32> = of_pairs.collect();
            [&of_pairs[..], &of_pairs].concat()
        })
        .collect();
    [f32::cos, f32::sin].map(|f| angles.iter().map(|&angle| f(angle)).collect())
}

/// The [`grid_values`] on a device.
pub fn grid_tables(device: &Device, side: usize, hd: usize, theta: f32) -> Result<Rope> {
    on_device(device, grid_values(side, hd, theta), [places(side), hd])
}

/// The [`values`] on a device.
pub fn tables(device: &Device, t: usize, hd: usize, theta: f32) -> Result<Rope> {
    on_device(device, values(t, hd, theta), [t, hd])
}

fn on_device(device: &Device, [cos, sin]: [Vec<f32>; 2], shape: [usize; 2]) -> Result<Rope> {
    let tensor = |values: Vec<f32>| Tensor::from_slice(device, &values, shape, Purpose::Weights);
    Ok(Rope { cos: tensor(cos)?, sin: tensor(sin)? })
}
