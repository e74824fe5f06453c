//! The update after backward: guard and clip, dense optimizer, sparse puzzle rows, EMA.

use crate::Result;
use crate::backend::{Device, Purpose};
use crate::dtype::DType;
use crate::nn::params::Params;
use crate::ops::adam_atan2::{Hyper, Moments};
use crate::ops::{adam_atan2, adamw, ema, global_norm, sign_sgd_rows};
use crate::tensor::Tensor;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rule {
    AdamAtan2,
    AdamW,
}

/// What stays the same over a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
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
    settings: Settings,
    pub moments: Moments,
    /// Averaged weights, laid out like the master.
    pub ema: Option<Tensor>,
    /// norm, clip factor, ok; see `global_norm`.
    guard: Tensor,
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
    pub fn new(device: &Device, params: &Params, settings: Settings) -> Result<Self> {
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
        Ok(Self { settings, moments, ema, guard: zeros(global_norm::GUARD)? })
    }

    /// Update number `t` (from 1). A non-finite gradient or loss leaves everything as it was, and
    /// [`norm`](Self::norm) tells.
    pub fn step(
        &self,
        params: &Params,
        puzzle: Option<PuzzleGradient>,
        losses: &Tensor,
        rates: Rates,
        t: u64,
    ) -> Result<()> {
        let s = &self.settings;
        global_norm::guard(&params.grad, losses, s.clip as f32, &self.guard)?;
        let hyper =
            Hyper { lr: rates.lr, weight_decay: s.weight_decay, beta1: s.beta1, beta2: s.beta2, t };
        let update = match s.rule {
            Rule::AdamAtan2 => adam_atan2::step,
            Rule::AdamW => adamw::step,
        };
        update(&params.master, &params.grad, &self.moments, &self.guard, hyper)?;
        if let Some(PuzzleGradient { table, ids, rows }) = puzzle {
            let decay = s.puzzle_emb_weight_decay;
            sign_sgd_rows::step(table, ids, rows, &self.guard, rates.puzzle_emb_lr, decay)?;
        }
        if let Some(average) = &self.ema {
            ema::step(average, &params.master, &self.guard, s.ema)?;
        }
        params.refresh()
    }

    /// Gradient norm before clipping of the last step, and whether the update was made.
    pub fn norm(&self) -> Result<(f32, bool)> {
        let guard = self.guard.download::<f32>()?;
        Ok((guard[0], guard[2] != 0.0))
    }
}
