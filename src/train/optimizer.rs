//! The update after backward: guard and clip, dense optimizer, sparse puzzle rows, EMA.

use crate::Result;
use crate::backend::{Device, Purpose};
use crate::dtype::DType;
use crate::nn::params::Params;
pub use crate::ops::adam::Rule;
use crate::ops::adam::{FACTORS, Hyper, Moments};
use crate::ops::{adam, ema, global_norm, sign_sgd_rows};
use crate::run::checkpoint::{Named, role};
use crate::tensor::Tensor;

/// What stays the same over a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OptimizerConfig {
    pub rule: Rule,
    pub beta1: f64,
    pub beta2: f64,
    pub weight_decay: f64,
    pub puzzle_emb_weight_decay: f64,
    /// Largest gradient norm; 0 turns clipping off.
    pub clip: f64,
    /// Decay of the averaged weights used in evaluation; 0 turns them off.
    pub ema: f64,
}

pub struct Optimizer {
    settings: OptimizerConfig,
    pub moments: Moments,
    /// Averaged weights, laid out like the master.
    pub ema: Option<Tensor>,
    /// norm, clip factor, ok; see `global_norm`.
    guard: Tensor, // (3) f32
}

/// What an update reads from device memory: `adam::Factors` and those of `sign_sgd_rows`.
pub struct StepFactors {
    pub dense: Tensor,  // (5) f32
    pub puzzle: Tensor, // (2) f32
}

/// Learning rates of one step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rates {
    pub lr: f64,
    pub puzzle_emb_lr: f64,
}

/// Puzzle rows touched in one step.
pub struct PuzzleGradient<'a> {
    pub table: &'a Tensor, // (NP, D)
    pub ids: &'a Tensor,   // (R) i32
    pub rows: &'a Tensor,  // (R, D)
}

impl Optimizer {
    /// `guard` (3) f32 is where each update leaves its norm, clip factor and whether it was made.
    pub fn new(
        device: &Device,
        params: &Params,
        settings: OptimizerConfig,
        guard: Tensor,
    ) -> Result<Self> {
        let n = params.master.elems();
        let zeros = |n| Tensor::zeros(device, DType::F32, [n], Purpose::Optimizer);
        let ema = match settings.ema > 0.0 {
            true => {
                let ema = zeros(n)?;
                ema.copy_from(&params.master)?;
                Some(ema)
            }
            false => None,
        };
        let moments = Moments { m: zeros(n)?, v: zeros(n)? };
        Ok(Self { settings, moments, ema, guard })
    }

    /// Moments and averaged weights, by role and the parameter's name.
    pub fn state(&self, params: &Params) -> Result<Vec<Named>> {
        let moments = [(role::EXP_AVG, &self.moments.m), (role::EXP_AVG_SQ, &self.moments.v)];
        let average = self.ema.iter().map(|t| (role::EMA, t));
        let mut all = vec![];
        for (role, flat) in moments.into_iter().chain(average) {
            for name in params.names() {
                all.push((format!("{role}.{name}"), params.part(flat, name)?));
            }
        }
        Ok(all)
    }

    /// What update number `t` (from 1) reads as its [`StepFactors`].
    pub fn factors(&self, rates: Rates, t: u64) -> ([f32; FACTORS], [f32; sign_sgd_rows::FACTORS]) {
        let s = &self.settings;
        let hyper =
            Hyper { lr: rates.lr, weight_decay: s.weight_decay, beta1: s.beta1, beta2: s.beta2, t };
        let puzzle = sign_sgd_rows::factors(rates.puzzle_emb_lr, s.puzzle_emb_weight_decay);
        (hyper.factors().to_array(), puzzle)
    }

    /// One update. A non-finite gradient or loss leaves everything as it was, and the guard tells.
    pub fn step(
        &self,
        params: &Params,
        puzzle: Option<PuzzleGradient>,
        losses: &Tensor,
        factors: &StepFactors,
    ) -> Result<()> {
        let s = &self.settings;
        global_norm::guard(&params.grad, losses, s.clip as f32, &self.guard)?;
        let Params { master, grad, .. } = params;
        let (copy, moments) = (params.rounded(), &self.moments);
        adam::step(s.rule, master, copy, grad, moments, &self.guard, &factors.dense)?;
        if let Some(PuzzleGradient { table, ids, rows }) = puzzle {
            sign_sgd_rows::step(table, ids, rows, &self.guard, &factors.puzzle)?;
        }
        if let Some(average) = &self.ema {
            ema::step(average, &params.master, &self.guard, s.ema)?;
        }
        Ok(())
    }
}
