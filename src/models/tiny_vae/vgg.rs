//! The first part of VGG16 as a perceptual measure: what its layer `relu3_3` sees of an image.
//! Weights come from outside, under torchvision's names; they are never trained. Images are taken
//! as they are, in [0, 1].

use crate::Result;
use crate::backend::Device;
use crate::dtype::DType;
use crate::nn::init::Init;
use crate::nn::params::{Params, Spec};
use crate::ops::conv2d::{self, Conv2d};
use crate::ops::max_pool2d;
use crate::ops::pointwise::relu;
use crate::tape::{Tape, Var};
use crate::tensor::Tensor;

/// Channels after each convolution; `None` is a pooling that halves the image. torchvision counts
/// convolutions, activations and poolings alike.
const LAYERS: [Option<usize>; 9] =
    [Some(64), Some(64), None, Some(128), Some(128), None, Some(256), Some(256), Some(256)];
const KERNEL: usize = 3;

pub struct Vgg {
    params: Params,
}

/// Name of each convolution with its channels before and after.
fn convolutions() -> Vec<(String, usize, usize)> {
    let (mut number, mut from, mut all) = (0, super::CHANNELS, vec![]);
    for layer in LAYERS {
        match layer {
            Some(to) => {
                all.push((format!("features.{number}"), from, to));
                from = to;
                number += 2;
            }
            None => number += 1,
        }
    }
    all
}

impl Vgg {
    /// Memory; weights are zero until they are [written](Self::tensors).
    pub fn new(device: &Device) -> Result<Self> {
        let specs: Vec<Spec> = convolutions()
            .into_iter()
            .flat_map(|(name, from, to)| {
                let zero = Init::Constant(0.0);
                [
                    Spec::new(format!("{name}.weight"), [to, from, KERNEL, KERNEL], zero),
                    Spec::new(format!("{name}.bias"), [to], zero),
                ]
            })
            .collect();
        Ok(Self { params: Params::new(device, &specs, DType::F32, 0)? })
    }

    /// Weights by torchvision's names.
    pub fn tensors(&self) -> Result<Vec<(String, Tensor)>> {
        let p = &self.params;
        p.names().map(|name| Ok((name.to_owned(), p.part(&p.master, name)?))).collect()
    }

    pub fn features(&self, tape: &mut Tape, x: &Var) -> Result<Var> {
        let p = self.params.constants()?;
        let mut convolutions = convolutions().into_iter();
        let mut x = x.clone();
        for layer in LAYERS {
            if layer.is_none() {
                x = max_pool2d::forward(tape, &x)?;
            } else if let Some((name, ..)) = convolutions.next() {
                let (w, b) = (p.get(&format!("{name}.weight"))?, p.get(&format!("{name}.bias"))?);
                let how = Conv2d { stride: 1, padding: 1 };
                let y = conv2d::forward(tape, &x, &w, Some(&b), how)?;
                x = relu::forward(tape, &y)?;
            }
        }
        Ok(x)
    }
}
