//! Autoencoders of 32 x 32 images with a normal latent: the teacher and the students that are
//! distilled from it. f32 only.
//!
//! `stages.rs` a chain of convolutions as data · `shapes.rs` the published models as such chains,
//! under their official names · `vae.rs` what computes them · `pro.rs` a student of ours, which is
//! no chain · `losses.rs` the terms of training · `vgg.rs` features for the perceptual term.

mod losses;
mod pro;
mod shapes;
mod stages;
mod vae;
mod vgg;

pub use losses::{
    Features, PROJECTOR, TERMS, Teacher, Terms, Weights, student_terms, teacher_terms,
};
pub use vae::Vae;
pub use vgg::Vgg;

use crate::Result;
use crate::backend::Device;
use crate::nn::params::{Bound, Params, Spec};
use crate::nn::running::Running;
use crate::tape::{Tape, Var};
use crate::tensor::Tensor;

/// Height and width of an image.
pub const SIDE: usize = 32;
pub const CHANNELS: usize = 3;
pub const IMAGE_ELEMS: usize = CHANNELS * SIDE * SIDE;

/// A shape: everything but the weights.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// TinyVAE32; published with latent 64, base 16: 294,403 parameters.
    TinyVae { latent: usize, base: usize },
    /// UltraTinyVAE32, with depthwise separable convolutions in its encoder and no norm in its
    /// decoder; published with latent 32, base 8: 53,143 parameters.
    UltraTinyVae { latent: usize, base: usize },
    /// StandardVAE, the teacher; published with latent 512, base 64: 8,664,195 parameters.
    StandardVae { latent: usize, base: usize },
    /// Ours: 288,259 parameters, latent 64.
    TinyVaePro,
}

impl Kind {
    pub const TINY: Self = Self::TinyVae { latent: 64, base: 16 };
    pub const ULTRA_TINY: Self = Self::UltraTinyVae { latent: 32, base: 8 };
    pub const STANDARD: Self = Self::StandardVae { latent: 512, base: 64 };

    /// Memory and initial values. `extra` parameters are trained beside the model's own.
    pub fn build(self, device: &Device, extra: &[Spec], seed: u64) -> Result<Box<dyn Autoencoder>> {
        Ok(match self {
            Kind::TinyVaePro => Box::new(pro::Pro::new(device, extra, seed)?),
            _ => Box::new(Vae::new(device, self, extra, seed)?),
        })
    }

    pub fn latent(self) -> usize {
        match self {
            Kind::TinyVae { latent, .. }
            | Kind::UltraTinyVae { latent, .. }
            | Kind::StandardVae { latent, .. } => latent,
            Kind::TinyVaePro => pro::LATENT,
        }
    }
}

/// Which statistics batch norms use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Norms {
    /// The batch's own, which are remembered.
    Training,
    /// The running ones.
    Evaluation,
}

/// Images x (B, 3, 32, 32) in [0, 1]; latents (B, Z). `p` are the parameters as this step sees
/// them.
pub trait Autoencoder {
    fn params(&self) -> &Params;

    fn running(&self) -> &Running;

    /// Z
    fn latent(&self) -> usize;

    /// Parameters of the model itself, without what is trained beside it.
    fn trainable_elems(&self) -> usize;

    /// The encoder's last maps, before the latent.
    fn features(&self, tape: &mut Tape, p: &Bound, norms: Norms, x: &Var) -> Result<Var>;

    /// Mean and logarithm of the variance.
    fn encode(&self, tape: &mut Tape, p: &Bound, norms: Norms, x: &Var) -> Result<[Var; 2]>;

    /// Images.
    fn decode(&self, tape: &mut Tape, p: &Bound, norms: Norms, z: &Var) -> Result<Var>;

    fn device(&self) -> &Device {
        self.params().master.device()
    }

    /// Codes of images: the means of their latents.
    fn codes(&self, x: &Tensor) -> Result<Tensor> {
        let (mut tape, p) = (Tape::no_grad(self.device()), self.params().constants()?);
        let [mu, _] = self.encode(&mut tape, &p, Norms::Evaluation, &Var::constant(x.clone()))?;
        Ok(mu.tensor)
    }

    /// Images of codes.
    fn images(&self, z: &Tensor) -> Result<Tensor> {
        let (mut tape, p) = (Tape::no_grad(self.device()), self.params().constants()?);
        Ok(self.decode(&mut tape, &p, Norms::Evaluation, &Var::constant(z.clone()))?.tensor)
    }

    /// Images of the codes of images, without noise.
    fn reconstruct(&self, x: &Tensor) -> Result<Tensor> {
        self.images(&self.codes(x)?)
    }

    /// Parameters and buffers by official name, and what is trained beside the model.
    fn tensors(&self) -> Result<Vec<(String, Tensor)>> {
        let params = self.params();
        let mut all = vec![];
        for name in params.names() {
            all.push((name.to_owned(), params.part(&params.master, name)?));
        }
        all.extend(self.running().tensors()?);
        Ok(all)
    }
}
