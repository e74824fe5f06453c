//! `tiny_vae_pro`: a linear auto-encoder that residual branches bend.
//!
//! Strided convolutions and two linear layers take 3 x 32 x 32 to 64 latents and back with nothing
//! non-linear between them but the sigmoid at the end. Residual branches at 8 x 8, whose last
//! convolution starts at zero, correct both ways: the first steps find the principal subspace, the
//! rest is spent on what a subspace cannot hold. No batch norm, so training and evaluation agree.
//! The log variance is a linear function of the mean.

use super::{Autoencoder, CHANNELS, Norms};
use crate::Result;
use crate::backend::Device;
use crate::dtype::DType;
use crate::nn::init::Init;
use crate::nn::params::{Bound, Params, Spec};
use crate::nn::running::Running;
use crate::ops::conv_transpose2d::ConvTranspose2d;
use crate::ops::conv2d::Conv2d;
use crate::ops::pointwise::{relu, sigmoid};
use crate::ops::{add, conv_transpose2d, conv2d, matmul, reshape};
use crate::shape::Shape;
use crate::tape::{Tape, Var};

pub const LATENT: usize = 64;
const WIDE: usize = 32; // channels at 8 x 8
const DEEP: usize = 64; // channels at 4 x 4
const DEEP_SIDE: usize = 4;
const FLAT: usize = DEEP * DEEP_SIDE * DEEP_SIDE;
const ENCODER_BLOCKS: usize = 1;
const DECODER_BLOCKS: usize = 3;

/// Windows that overlap by half: 8 x 8 every 4 pixels, 4 x 4 every 2.
const OUTER: Windows = Windows { kernel: 8, stride: 4, padding: 2 };
const INNER: Windows = Windows { kernel: 4, stride: 2, padding: 1 };
const SAME: Windows = Windows { kernel: 3, stride: 1, padding: 1 };

/// Pixels vary by about a quarter; this brings the stem's output near unit size.
const STEM_GAIN: f64 = 2.0;
/// Latents start with little noise: a standard deviation of exp(-3 / 2) = 0.22.
const FIRST_LOG_VAR: f32 = -3.0;

#[derive(Clone, Copy)]
struct Windows {
    kernel: usize,
    stride: usize,
    padding: usize,
}

pub struct Pro {
    params: Params,
    own_elems: usize,
    /// Running statistics of no batch norm.
    running: Running,
}

impl Pro {
    pub fn new(device: &Device, extra: &[Spec], seed: u64) -> Result<Self> {
        let own = specs();
        let own_elems = own.iter().map(|s| s.shape.elems()).sum();
        let params = Params::new(device, &[&own[..], extra].concat(), DType::F32, seed)?;
        Ok(Self { params, own_elems, running: Running::new(device, &[])? })
    }
}

impl Autoencoder for Pro {
    fn params(&self) -> &Params {
        &self.params
    }

    fn running(&self) -> &Running {
        &self.running
    }

    fn latent(&self) -> usize {
        LATENT
    }

    fn trainable_elems(&self) -> usize {
        self.own_elems
    }

    fn features(&self, tape: &mut Tape, p: &Bound, _: Norms, x: &Var) -> Result<Var> {
        let mut h = convolve(tape, p, "encoder.stem", x, OUTER)?;
        for i in 0..ENCODER_BLOCKS {
            h = residual(tape, p, &format!("encoder.res.{i}"), &h)?;
        }
        convolve(tape, p, "encoder.down", &h, INNER)
    }

    fn encode(&self, tape: &mut Tape, p: &Bound, norms: Norms, x: &Var) -> Result<[Var; 2]> {
        let h = self.features(tape, p, norms, x)?;
        let b = h.tensor.shape().dims()[0];
        let h = reshape::forward(tape, &h, [b, FLAT])?;
        let mu = linear(tape, p, "encoder.mu", &h)?;
        let log_var = linear(tape, p, "encoder.log_var", &mu)?;
        Ok([mu, log_var])
    }

    fn decode(&self, tape: &mut Tape, p: &Bound, _: Norms, z: &Var) -> Result<Var> {
        let h = linear(tape, p, "decoder.fc", z)?;
        let b = h.tensor.shape().dims()[0];
        let h = reshape::forward(tape, &h, [b, DEEP, DEEP_SIDE, DEEP_SIDE])?;
        let mut h = transpose(tape, p, "decoder.up", &h, INNER)?;
        for i in 0..DECODER_BLOCKS {
            h = residual(tape, p, &format!("decoder.res.{i}"), &h)?;
        }
        let y = transpose(tape, p, "decoder.out", &h, OUTER)?;
        sigmoid::forward(tape, &y)
    }
}

/// In the order of the flat buffers, under PyTorch's names and in its layout.
fn specs() -> Vec<Spec> {
    let zero = Init::Constant(0.0);
    let mut all = vec![];
    all.extend(conv("encoder.stem", WIDE, CHANNELS, OUTER, STEM_GAIN));
    all.extend((0..ENCODER_BLOCKS).flat_map(|i| branch(&format!("encoder.res.{i}"))));
    all.extend(conv("encoder.down", DEEP, WIDE, INNER, 1.0));
    all.extend(layer("encoder.mu", [LATENT, FLAT], Init::lecun(FLAT), LATENT, 0.0));
    all.extend(layer("encoder.log_var", [LATENT, LATENT], zero, LATENT, FIRST_LOG_VAR));
    all.extend(layer("decoder.fc", [FLAT, LATENT], Init::lecun(LATENT), FLAT, 0.0));
    all.extend(transposed("decoder.up", DEEP, WIDE, INNER));
    all.extend((0..DECODER_BLOCKS).flat_map(|i| branch(&format!("decoder.res.{i}"))));
    all.extend(transposed("decoder.out", WIDE, CHANNELS, OUTER));
    all
}

/// x + conv2(relu(conv1(relu(x)))).
fn residual(tape: &mut Tape, p: &Bound, name: &str, x: &Var) -> Result<Var> {
    let h = relu::forward(tape, x)?;
    let h = convolve(tape, p, &format!("{name}.conv1"), &h, SAME)?;
    let h = relu::forward(tape, &h)?;
    let h = convolve(tape, p, &format!("{name}.conv2"), &h, SAME)?;
    add::forward(tape, &[x, &h])
}

fn convolve(tape: &mut Tape, p: &Bound, name: &str, x: &Var, at: Windows) -> Result<Var> {
    let [w, b] = pair(p, name)?;
    let how = Conv2d { stride: at.stride, padding: at.padding };
    conv2d::forward(tape, x, &w, Some(&b), how)
}

fn transpose(tape: &mut Tape, p: &Bound, name: &str, x: &Var, at: Windows) -> Result<Var> {
    let [w, b] = pair(p, name)?;
    let Windows { stride, padding, .. } = at;
    let how = ConvTranspose2d { stride, padding, output_padding: 0 };
    conv_transpose2d::forward(tape, x, &w, Some(&b), how)
}

fn linear(tape: &mut Tape, p: &Bound, name: &str, x: &Var) -> Result<Var> {
    let [w, b] = pair(p, name)?;
    matmul::linear(tape, x, &w, Some(&b))
}

fn pair(p: &Bound, name: &str) -> Result<[Var; 2]> {
    Ok([p.get(&format!("{name}.weight"))?, p.get(&format!("{name}.bias"))?])
}

fn branch(name: &str) -> Vec<Spec> {
    let before_relu = 2f64.sqrt();
    let first = conv(&format!("{name}.conv1"), WIDE, WIDE, SAME, before_relu);
    let second = conv(&format!("{name}.conv2"), WIDE, WIDE, SAME, 0.0);
    [first, second].concat()
}

fn conv(name: &str, maps: usize, channels: usize, at: Windows, gain: f64) -> [Spec; 2] {
    let k = at.kernel;
    layer(name, [maps, channels, k, k], scaled(channels * k * k, gain), maps, 0.0)
}

/// An output pixel sees kernel / stride windows each way.
fn transposed(name: &str, channels: usize, maps: usize, at: Windows) -> [Spec; 2] {
    let (k, seen) = (at.kernel, at.kernel / at.stride);
    layer(name, [channels, maps, k, k], scaled(channels * seen * seen, 1.0), maps, 0.0)
}

/// Standard deviation gain / sqrt(fan_in).
fn scaled(fan_in: usize, gain: f64) -> Init {
    match gain {
        0.0 => Init::Constant(0.0),
        _ => Init::TruncatedNormal { std: gain / (fan_in as f64).sqrt() },
    }
}

fn layer(name: &str, shape: impl Into<Shape>, weight: Init, n: usize, bias: f32) -> [Spec; 2] {
    [
        Spec::new(format!("{name}.weight"), shape, weight),
        Spec::new(format!("{name}.bias"), [n], Init::Constant(bias)),
    ]
}
