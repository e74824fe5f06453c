//! Adam over flat storage, with decoupled decay and two ways to make a step of the moments.
//!
//!   g = guard.scale * g;  m = b1 m + (1-b1) g;  v = b2 v + (1-b2) g^2;  rms = sqrt(v) / sqrt(1 -
//!   b2^t) p = p (1 - lr wd) - lr / (1 - b1^t) * direction,    direction:  AdamAtan2  atan2(m, rms)
//!                                                                   AdamW      m / (rms + eps)
//!
//! The first correction multiplies the step; it is not inside atan2, and atan2(0, 0) = 0. AdamAtan2
//! has no epsilon. p, g, m, v the same number of f32 elements, and so has `copy`, which becomes p
//! rounded to bf16: the weights that forward reads. t counts from 1. Nothing happens if the guard
//! is down. References: PyPI `adam-atan2` 0.0.3; `torch.optim.AdamW` (eps 1e-8).

mod cpu;
mod cuda;
pub mod reference;

use super::{dispatch, global_norm, traffic};
use crate::Result;
use crate::backend::{Device, Purpose};
use crate::dtype::DType;
use crate::tensor::Tensor;

/// Epsilon of AdamW.
pub const EPS: f32 = 1e-8;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rule {
    AdamAtan2,
    AdamW,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hyper {
    pub lr: f64,
    pub weight_decay: f64,
    pub beta1: f64,
    pub beta2: f64,
    /// Number of this update, from 1.
    pub t: u64,
}

/// What a kernel needs of [`Hyper`], computed in f64 and rounded once. It changes with every step,
/// so a step reads it from device memory, as f32 in this order: a captured step is replayed with
/// other factors, not with other arguments.
#[derive(Clone, Copy, Debug, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct Factors {
    pub decay: f32,
    pub beta1: f32,
    pub beta2: f32,
    /// lr / (1 - b1^t)
    pub step: f32,
    /// 1 / sqrt(1 - b2^t)
    pub v_scale: f32,
}

/// Number of [`Factors`].
pub const FACTORS: usize = 5;

impl Factors {
    pub fn to_array(self) -> [f32; FACTORS] {
        bytemuck::cast(self)
    }

    fn read(factors: &Tensor) -> Result<Self> {
        Ok(*bytemuck::from_bytes(bytemuck::cast_slice(&factors.read::<f32>()?)))
    }
}

impl Hyper {
    /// The factors as a tensor of their own; a training step keeps them in its input instead.
    pub fn on(&self, device: &Device) -> Result<Tensor> {
        Tensor::from_slice(device, &self.factors().to_array(), [FACTORS], Purpose::Workspace)
    }

    pub fn factors(&self) -> Factors {
        let t = self.t as f64;
        Factors {
            decay: (1.0 - self.lr * self.weight_decay) as f32,
            beta1: self.beta1 as f32,
            beta2: self.beta2 as f32,
            step: (self.lr / (1.0 - self.beta1.powf(t))) as f32,
            v_scale: (1.0 / (1.0 - self.beta2.powf(t)).sqrt()) as f32,
        }
    }
}

/// First and second moments, flat.
#[derive(Clone)]
pub struct Moments {
    pub m: Tensor,
    pub v: Tensor,
}

/// One step; `guard` is `global_norm`'s, `factors` (5) f32 are [`Factors`].
pub fn step(
    rule: Rule,
    p: &Tensor,
    copy: Option<&Tensor>,
    g: &Tensor,
    moments: &Moments,
    guard: &Tensor,
    factors: &Tensor,
) -> Result<()> {
    let n = [p.elems()];
    for (what, t) in [
        ("adam p (n)", p),
        ("adam g (n)", g),
        ("adam m (n)", &moments.m),
        ("adam v (n)", &moments.v),
    ] {
        t.reshape([t.elems()])?.expect_dims(what, &n)?;
        t.expect_dtype(what, DType::F32)?;
    }
    if let Some(copy) = copy {
        copy.reshape([copy.elems()])?.expect_dims("adam copy (n)", &n)?;
        copy.expect_dtype("adam copy (n)", DType::Bf16)?;
    }
    global_norm::check("adam", guard)?;
    factors.expect_dims("adam factors (5)", &[FACTORS])?;
    factors.expect_dtype("adam factors (5)", DType::F32)?;
    dispatch(
        p.device(),
        traffic(7 * p.bytes() + copy.map_or(0, Tensor::bytes)),
        || {
            let guard = guard.read::<f32>()?;
            if guard[2] == 0.0 {
                return Ok(());
            }
            let factors = Factors::read(factors)?;
            let (mut m, mut v) = (moments.m.write()?, moments.v.write()?);
            let mut copy = copy.map(Tensor::write).transpose()?;
            let (p, copy) = (&mut p.write()?[..], copy.as_deref_mut());
            cpu::step(rule, p, copy, &g.read()?, [&mut m, &mut v], guard[1], factors);
            Ok(())
        },
        |cost| cuda::step(cost, rule, p, copy, g, moments, [guard, factors]),
    )
}
