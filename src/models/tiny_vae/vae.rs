//! A chain of stages, two linear heads for the latent, and the way back.

use super::shapes::{self, MAP_SIDE, Shape};
use super::stages::{self, Stage};
use super::{Autoencoder, Kind, Norms};
use crate::Result;
use crate::backend::Device;
use crate::dtype::DType;
use crate::nn::init::Init;
use crate::nn::params::{Bound, Params, Spec};
use crate::nn::running::Running;
use crate::ops::{matmul, reshape};
use crate::tape::{Tape, Var};

pub struct Vae {
    pub kind: Kind,
    shape: Shape,
    params: Params,
    running: Running,
    own_elems: usize,
}

/// Numbers of the encoder's last maps.
fn map_elems(shape: &Shape) -> usize {
    shape.maps * MAP_SIDE * MAP_SIDE
}

fn specs(shape: &Shape, latent: usize) -> Vec<Spec> {
    let flat = map_elems(shape);
    let linear = |name: &str, to: usize, from: usize| {
        let init = Init::linear(from);
        [
            Spec::new(format!("{name}.weight"), [to, from], init),
            Spec::new(format!("{name}.bias"), [to], init),
        ]
    };
    let mut specs: Vec<Spec> = shape.encoder.iter().flat_map(Stage::specs).collect();
    specs.extend(linear("fc_mu", latent, flat));
    specs.extend(linear("fc_var", latent, flat));
    specs.extend(linear("fc_decode", flat, latent));
    specs.extend(shape.decoder.iter().flat_map(Stage::specs));
    specs
}

impl Vae {
    pub fn new(device: &Device, kind: Kind, extra: &[Spec], seed: u64) -> Result<Self> {
        let shape = shapes::of(kind);
        let own = specs(&shape, kind.latent());
        let stages = shape.encoder.iter().chain(&shape.decoder);
        let norms: Vec<(String, usize)> =
            stages.filter_map(|s| Some((s.norm.clone()?, s.to))).collect();
        let own_elems = own.iter().map(|s| s.shape.elems()).sum();
        let all = [&own[..], extra].concat();
        let params = Params::new(device, &all, DType::F32, seed)?;
        Ok(Self { kind, shape, params, running: Running::new(device, &norms)?, own_elems })
    }

    fn linear(&self, tape: &mut Tape, p: &Bound, name: &str, x: &Var) -> Result<Var> {
        let (w, b) = (p.get(&format!("{name}.weight"))?, p.get(&format!("{name}.bias"))?);
        matmul::linear(tape, x, &w, Some(&b))
    }
}

impl Autoencoder for Vae {
    fn params(&self) -> &Params {
        &self.params
    }

    fn running(&self) -> &Running {
        &self.running
    }

    fn latent(&self) -> usize {
        self.kind.latent()
    }

    fn trainable_elems(&self) -> usize {
        self.own_elems
    }

    fn features(&self, tape: &mut Tape, p: &Bound, norms: Norms, x: &Var) -> Result<Var> {
        stages::run(&self.shape.encoder, tape, p, &self.running, norms, x)
    }

    fn encode(&self, tape: &mut Tape, p: &Bound, norms: Norms, x: &Var) -> Result<[Var; 2]> {
        let h = self.features(tape, p, norms, x)?;
        let b = h.tensor.shape().dims()[0];
        let h = reshape::forward(tape, &h, [b, map_elems(&self.shape)])?;
        Ok([self.linear(tape, p, "fc_mu", &h)?, self.linear(tape, p, "fc_var", &h)?])
    }

    fn decode(&self, tape: &mut Tape, p: &Bound, norms: Norms, z: &Var) -> Result<Var> {
        let h = self.linear(tape, p, "fc_decode", z)?;
        let b = h.tensor.shape().dims()[0];
        let h = reshape::forward(tape, &h, [b, self.shape.maps, MAP_SIDE, MAP_SIDE])?;
        stages::run(&self.shape.decoder, tape, p, &self.running, norms, &h)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::DeviceKind;

    #[test]
    fn parameters_are_as_many_as_published() {
        let device = Device::shape_only(DeviceKind::Cpu);
        for (kind, want) in
            [(Kind::TINY, 294_403), (Kind::ULTRA_TINY, 53_143), (Kind::STANDARD, 8_664_195)]
        {
            let vae = Vae::new(&device, kind, &[], 0).unwrap();
            assert_eq!(vae.trainable_elems(), want, "{kind:?}");
            assert_eq!(vae.params.elems(), want, "{kind:?}");
        }
    }
}
