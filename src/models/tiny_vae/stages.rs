//! A chain of stages: a convolution of some kind, maybe a batch norm, an activation.

use super::Norms;
use crate::Result;
use crate::nn::init::Init;
use crate::nn::params::{Bound, Spec};
use crate::nn::running::Running;
use crate::ops::batch_norm::{Affine, How};
use crate::ops::conv_transpose2d::ConvTranspose2d;
use crate::ops::conv2d::Conv2d;
use crate::ops::pointwise::{relu, sigmoid};
use crate::ops::{batch_norm, conv_transpose2d, conv2d, depthwise_conv2d};
use crate::shape::Shape;
use crate::tape::{Tape, Var};

#[derive(Clone, Copy, Debug)]
pub enum Conv {
    Full(Conv2d),
    Depthwise(Conv2d),
    Transposed(ConvTranspose2d),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum After {
    Relu,
    Sigmoid,
}

#[derive(Clone, Debug)]
pub struct Stage {
    /// Name of the convolution.
    pub name: String,
    pub conv: Conv,
    pub from: usize,
    pub to: usize,
    pub kernel: usize,
    /// Name of the batch norm.
    pub norm: Option<String>,
    pub after: After,
}

impl Stage {
    fn weight_shape(&self) -> Shape {
        let Self { from, to, kernel: k, .. } = *self;
        match self.conv {
            Conv::Full(_) => [to, from, k, k].into(),
            Conv::Depthwise(_) => [to, 1, k, k].into(),
            Conv::Transposed(_) => [from, to, k, k].into(),
        }
    }

    /// PyTorch's initial values: all by the second dimension of the weight, transposed or not.
    pub fn specs(&self) -> Vec<Spec> {
        let shape = self.weight_shape();
        let init = Init::linear(shape.dims()[1] * self.kernel * self.kernel);
        let mut specs = vec![
            Spec::new(format!("{}.weight", self.name), shape, init),
            Spec::new(format!("{}.bias", self.name), [self.to], init),
        ];
        if let Some(norm) = &self.norm {
            let of =
                |part: &str, x| Spec::new(format!("{norm}.{part}"), [self.to], Init::Constant(x));
            specs.extend([of("weight", 1.0), of("bias", 0.0)]);
        }
        specs
    }

    fn run(
        &self,
        tape: &mut Tape,
        p: &Bound,
        running: &Running,
        norms: Norms,
        x: &Var,
    ) -> Result<Var> {
        let (w, b) =
            (p.get(&format!("{}.weight", self.name))?, p.get(&format!("{}.bias", self.name))?);
        let y = match self.conv {
            Conv::Full(how) => conv2d::forward(tape, x, &w, Some(&b), how)?,
            Conv::Depthwise(how) => depthwise_conv2d::forward(tape, x, &w, &b, how)?,
            Conv::Transposed(how) => conv_transpose2d::forward(tape, x, &w, Some(&b), how)?,
        };
        let Some(norm) = &self.norm else {
            return match self.after {
                After::Relu => relu::forward(tape, &y),
                After::Sigmoid => sigmoid::forward(tape, &y),
            };
        };
        let gain = p.get(&format!("{norm}.weight"))?;
        let bias = p.get(&format!("{norm}.bias"))?;
        let affine = Affine { gain: &gain, bias: &bias };
        let relu = self.after == After::Relu;
        let y = match norms {
            Norms::Training => {
                let how = How::Training { seen: &running.seen(norm)? };
                batch_norm::forward(tape, &y, affine, how, relu)?
            }
            Norms::Evaluation => {
                let how = How::Evaluation { running: &running.used(norm)? };
                batch_norm::forward(tape, &y, affine, how, relu)?
            }
        };
        if relu { Ok(y) } else { sigmoid::forward(tape, &y) }
    }
}

/// Each stage in its own scope, named after its convolution.
pub fn run(
    stages: &[Stage],
    tape: &mut Tape,
    p: &Bound,
    running: &Running,
    norms: Norms,
    x: &Var,
) -> Result<Var> {
    let mut x = x.clone();
    for stage in stages {
        x = tape.scope(stage.name.as_str(), |tape| stage.run(tape, p, running, norms, &x))?;
    }
    Ok(x)
}
