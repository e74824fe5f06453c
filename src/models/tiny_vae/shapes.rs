//! The published models as chains of stages. Four halvings bring 32 x 32 images to 2 x 2 maps, four
//! doublings bring them back; channels are base, 2 base, 4 base, 8 base.

use super::stages::{After, Conv, Stage};
use super::{CHANNELS, Kind};
use crate::ops::conv_transpose2d::ConvTranspose2d;
use crate::ops::conv2d::Conv2d;

/// Height and width of the encoder's last maps.
pub const MAP_SIDE: usize = 2;

/// Stride 2 and padding 1: halves the image for kernels of 3 and of 4.
const HALVE: Conv2d = Conv2d { stride: 2, padding: 1 };
const POINTWISE: Conv2d = Conv2d { stride: 1, padding: 0 };

pub struct Shape {
    pub encoder: Vec<Stage>,
    pub decoder: Vec<Stage>,
    /// Channels of the encoder's last maps.
    pub maps: usize,
}

fn widths(base: usize) -> [usize; 5] {
    [CHANNELS, base, 2 * base, 4 * base, 8 * base]
}

/// `kernel` 3 needs a row and column more at the end to double the image; 4 does not.
fn double(kernel: usize) -> Conv {
    let output_padding = if kernel == 3 { 1 } else { 0 };
    Conv::Transposed(ConvTranspose2d { stride: 2, padding: 1, output_padding })
}

pub fn of(kind: Kind) -> Shape {
    match kind {
        Kind::TinyVae { base, .. } => {
            let name = |i| (format!("enc{}", i + 1), format!("bn{}", i + 1));
            let norm = |i| (i < 3).then(|| format!("dbn{}", i + 1));
            shape(base, encoder(base, 3, name), |i| format!("dec{}", i + 1), norm, 3)
        }
        Kind::UltraTinyVae { base, .. } => {
            shape(base, separable(base), |i| format!("dec{}", i + 1), |_| None, 3)
        }
        Kind::StandardVae { base, .. } => {
            let name = |i| (format!("encoder.{}", 3 * i), format!("encoder.{}", 3 * i + 1));
            let norm = |i| (i < 3).then(|| format!("decoder.{}", 3 * i + 1));
            shape(base, encoder(base, 4, name), |i| format!("decoder.{}", 3 * i), norm, 4)
        }
        Kind::TinyVaePro => unreachable!("it is no chain: `pro.rs` computes it"),
    }
}

fn encoder(base: usize, kernel: usize, name: impl Fn(usize) -> (String, String)) -> Vec<Stage> {
    let stage = |(i, pair): (usize, &[usize])| {
        let (name, norm) = name(i);
        let (from, to, conv) = (pair[0], pair[1], Conv::Full(HALVE));
        Stage { name, conv, from, to, kernel, norm: Some(norm), after: After::Relu }
    };
    widths(base).windows(2).enumerate().map(stage).collect()
}

/// Each halving as a depthwise and a pointwise convolution.
fn separable(base: usize) -> Vec<Stage> {
    let pair = |(i, pair): (usize, &[usize])| {
        let (from, to) = (pair[0], pair[1]);
        let stage = |at: usize, conv, to, kernel| {
            let (name, norm) = (format!("enc{}.{at}", i + 1), format!("enc{}.{}", i + 1, at + 1));
            Stage { name, conv, from, to, kernel, norm: Some(norm), after: After::Relu }
        };
        [stage(0, Conv::Depthwise(HALVE), from, 3), stage(3, Conv::Full(POINTWISE), to, 1)]
    };
    widths(base).windows(2).enumerate().flat_map(pair).collect()
}

fn shape(
    base: usize,
    encoder: Vec<Stage>,
    name: impl Fn(usize) -> String,
    norm: impl Fn(usize) -> Option<String>,
    kernel: usize,
) -> Shape {
    let widths = widths(base);
    let stage = |i: usize| {
        let (from, to) = (widths[4 - i], widths[3 - i]);
        let after = if i < 3 { After::Relu } else { After::Sigmoid };
        Stage { name: name(i), conv: double(kernel), from, to, kernel, norm: norm(i), after }
    };
    Shape { encoder, decoder: (0..4).map(stage).collect(), maps: 8 * base }
}
