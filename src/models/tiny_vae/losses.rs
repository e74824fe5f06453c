//! The terms of training, each a mean over its elements:
//!
//!   recon       (x_hat - x)^2                       latent      (z - P mu_teacher)^2
//!   kl          kl_gauss(mu, log_var)               output      (x_hat - x_teacher)^2
//!                                                   perceptual  (f(x_hat) - f(x))^2
//!
//! The teacher is in evaluation, without noise. The student draws twice: z of the latent term is
//! not what it decodes. A temperature that divides both sides of the latent term and multiplies the
//! square of the result cancels, so there is none. P maps the teacher's code to the student's.

use super::{Autoencoder, Norms, Vgg};
use crate::Result;
use crate::nn::params::Bound;
use crate::ops::{gauss_sample, kl_gauss, matmul, mse};
use crate::tape::{Grads, Tape, Var};
use crate::tensor::Tensor;

/// Name of P (Z, Z_teacher) among the parameters of a student that trains it.
pub const PROJECTOR: &str = "latent_projector.weight";

/// Numbers, and names, of the terms.
pub const TERMS: [&str; 5] = ["recon", "kl", "latent", "output", "perceptual"];

/// What a term counts, in the order of [`TERMS`].
pub type Weights = [f64; TERMS.len()];

pub struct Teacher<'a> {
    pub model: &'a dyn Autoencoder,
    /// P where it is not trained.
    pub projector: Option<&'a Tensor>,
}

/// f of the perceptual term.
#[derive(Clone, Copy)]
pub enum Features<'a> {
    /// An encoder, in evaluation.
    Of(&'a dyn Autoencoder),
    Vgg(&'a Vgg),
}

impl Features<'_> {
    fn see(&self, tape: &mut Tape, x: &Var) -> Result<Var> {
        match self {
            Features::Of(model) => {
                let p = model.params().constants()?;
                model.features(tape, &p, Norms::Evaluation, x)
            }
            Features::Vgg(vgg) => vgg.features(tape, x),
        }
    }

    pub fn distance(&self, tape: &mut Tape, x_hat: &Var, x: &Var) -> Result<Var> {
        let (of_x_hat, of_x) = (self.see(tape, x_hat)?, self.see(tape, x)?);
        mse::forward(tape, &of_x_hat, &of_x)
    }
}

/// (1) each, in the order of [`TERMS`]; absent where the step has no such term.
pub struct Terms {
    pub x_hat: Var,
    pub mu: Var,
    pub log_var: Var,
    pub values: [Option<Var>; TERMS.len()],
}

impl Terms {
    /// Gradients of the sum of the terms times `weights` (5).
    pub fn backward(&self, tape: Tape, weights: &Tensor) -> Result<Grads> {
        let mut seeds = vec![];
        for (i, term) in self.values.iter().enumerate() {
            if let Some(term) = term {
                seeds.push((term, weights.view(i, [1])?));
            }
        }
        tape.backward(&seeds)
    }

    /// Write the values there are to `to` (5).
    pub fn store(&self, to: &Tensor) -> Result<()> {
        for (i, term) in self.values.iter().enumerate() {
            if let Some(term) = term {
                to.view(i, [1])?.copy_from(&term.tensor)?;
            }
        }
        Ok(())
    }
}

/// Reconstruction and KL, all that a teacher, or a student alone, is trained by.
pub fn teacher_terms(
    tape: &mut Tape,
    model: &dyn Autoencoder,
    p: &Bound,
    x: &Tensor,
    eps: &Tensor,
) -> Result<Terms> {
    let x = Var::constant(x.clone());
    let [mu, log_var] = model.encode(tape, p, Norms::Training, &x)?;
    let z = gauss_sample::forward(tape, &mu, &log_var, eps)?;
    let x_hat = model.decode(tape, p, Norms::Training, &z)?;
    let recon = mse::forward(tape, &x_hat, &x)?;
    let kl = kl_gauss::forward(tape, &mu, &log_var)?;
    Ok(Terms { x_hat, mu, log_var, values: [Some(recon), Some(kl), None, None, None] })
}

/// `eps`: noise of the latent that is decoded, and of that in the latent term.
pub fn student_terms(
    tape: &mut Tape,
    student: &dyn Autoencoder,
    p: &Bound,
    teacher: Option<&Teacher>,
    features: Option<Features>,
    x: &Tensor,
    [eps, eps_latent]: [&Tensor; 2],
) -> Result<Terms> {
    let mut terms = teacher_terms(tape, student, p, x, eps)?;
    let x = Var::constant(x.clone());
    if let Some(Teacher { model, projector }) = teacher {
        let of_teacher = model.params().constants()?;
        let [code, _] = model.encode(tape, &of_teacher, Norms::Evaluation, &x)?;
        let drawn = model.decode(tape, &of_teacher, Norms::Evaluation, &code)?;
        let projector = match projector {
            Some(fixed) => Var::constant((*fixed).clone()),
            None => p.get(PROJECTOR)?,
        };
        let target = matmul::linear(tape, &code, &projector, None)?;
        let z = gauss_sample::forward(tape, &terms.mu, &terms.log_var, eps_latent)?;
        terms.values[2] = Some(mse::forward(tape, &z, &target)?);
        terms.values[3] = Some(mse::forward(tape, &terms.x_hat, &drawn)?);
    }
    if let Some(features) = features {
        terms.values[4] = Some(features.distance(tape, &terms.x_hat, &x)?);
    }
    Ok(terms)
}
