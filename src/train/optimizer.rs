//! The update after backward: guard and clip, dense optimizer, sparse puzzle rows, EMA.

use super::stretches::{self, By, Stretch};
use crate::Result;
use crate::backend::{Device, Purpose};
use crate::dtype::DType;
use crate::nn::params::{Entry, Params};
use crate::ops::adam::{Hyper, Moments};
use crate::ops::normuon::Matrix;
use crate::ops::{adam, ema, global_norm, normuon, sign_sgd_rows};
use crate::run::checkpoint::{Named, role};
use crate::tensor::Tensor;

/// How weights follow their gradients.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rule {
    AdamAtan2,
    AdamW,
    /// Hidden matrices by NorMuon, the rest by AdamW.
    NorMuon(normuon::Hyper),
}

impl Rule {
    /// The rule of what is no hidden matrix.
    fn adam(self) -> adam::Rule {
        match self {
            Rule::AdamAtan2 => adam::Rule::AdamAtan2,
            Rule::AdamW | Rule::NorMuon(_) => adam::Rule::AdamW,
        }
    }
}

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
    stretches: Vec<Stretch>,
    /// m lies as the parameters do, v as the stretches say.
    pub moments: Moments,
    /// Averaged weights, laid out like the master.
    pub ema: Option<Tensor>,
    /// norm, clip factor, ok; see `global_norm`.
    guard: Tensor, // (3) f32
}

/// What an update reads from device memory: the factors of the ops that it is made of.
pub struct StepFactors {
    dense: Tensor,     // (5) f32
    undecayed: Tensor, // (5) f32
    muon: Tensor,      // (1) f32
    puzzle: Tensor,    // (2) f32
}

/// Number of an update's factors.
pub const FACTORS: usize = 2 * adam::FACTORS + normuon::FACTORS + sign_sgd_rows::FACTORS;

impl StepFactors {
    /// Views of `factors` (13) f32, those of [`Optimizer::factors`].
    pub fn over(factors: &Tensor) -> Result<Self> {
        let muon = 2 * adam::FACTORS;
        Ok(Self {
            dense: factors.view(0, [adam::FACTORS])?,
            undecayed: factors.view(adam::FACTORS, [adam::FACTORS])?,
            muon: factors.view(muon, [normuon::FACTORS])?,
            puzzle: factors.view(muon + normuon::FACTORS, [sign_sgd_rows::FACTORS])?,
        })
    }
}

/// Learning rates of one step.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rates {
    pub lr: f64,
    pub puzzle_emb_lr: f64,
    /// NorMuon's matrices.
    pub muon_lr: f64,
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
        let stretches = stretches::cut(params, matches!(settings.rule, Rule::NorMuon(_)));
        let moments = Moments { m: zeros(n)?, v: zeros(stretches::v_elems(&stretches))? };
        Ok(Self { settings, stretches, moments, ema, guard })
    }

    /// Moments and averaged weights, by role and the parameter's name.
    pub fn state(&self, params: &Params) -> Result<Vec<Named>> {
        let mut all = vec![];
        let mut push = |role: &str, of: &dyn Fn(&Entry) -> Result<Tensor>| -> Result<()> {
            for entry in params.entries() {
                all.push((format!("{role}.{}", entry.name), of(entry)?));
            }
            Ok(())
        };
        let Moments { m, v } = &self.moments;
        push(role::EXP_AVG, &|entry| m.view(entry.start, entry.shape))?;
        push(role::EXP_AVG_SQ, &|entry| stretches::v_of(&self.stretches, v, entry))?;
        if let Some(average) = &self.ema {
            push(role::EMA, &|entry| average.view(entry.start, entry.shape))?;
        }
        Ok(all)
    }

    /// What update number `t` (from 1) reads as its [`StepFactors`].
    pub fn factors(&self, rates: Rates, t: u64) -> [f32; FACTORS] {
        let s = &self.settings;
        let adam = |weight_decay| {
            Hyper { lr: rates.lr, weight_decay, beta1: s.beta1, beta2: s.beta2, t }.factors()
        };
        let puzzle = sign_sgd_rows::factors(rates.puzzle_emb_lr, s.puzzle_emb_weight_decay);
        let (dense, undecayed) = (adam(s.weight_decay).to_array(), adam(0.0).to_array());
        let parts = [&dense[..], &undecayed, &[rates.muon_lr as f32], &puzzle];
        let mut all = parts.into_iter().flatten();
        std::array::from_fn(|_| *all.next().expect("as many as FACTORS counts"))
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
        for stretch in &self.stretches {
            self.step_stretch(stretch, params, factors)?;
        }
        if let Some(PuzzleGradient { table, ids, rows }) = puzzle {
            sign_sgd_rows::step(table, ids, rows, &self.guard, &factors.puzzle)?;
        }
        if let Some(average) = &self.ema {
            ema::step(average, &params.master, &self.guard, s.ema)?;
        }
        Ok(())
    }

    fn step_stretch(
        &self,
        stretch: &Stretch,
        params: &Params,
        factors: &StepFactors,
    ) -> Result<()> {
        let Stretch { start, elems, v_start, v_elems, ref by } = *stretch;
        let (Moments { m, v }, guard, rule) = (&self.moments, &self.guard, self.settings.rule);
        match (by, rule) {
            (By::Nothing, _) => Ok(()),
            (&By::NorMuon { shape, blocks, decay_share }, Rule::NorMuon(hyper)) => {
                let part = |flat: &Tensor| flat.view(start, shape);
                let matrix = Matrix {
                    p: part(&params.master)?,
                    copy: params.rounded().map(part).transpose()?,
                    g: part(&params.grad)?,
                    m: part(m)?,
                    v: v.view(v_start, [v_elems])?,
                    blocks,
                    weight_decay: decay_share * self.settings.weight_decay,
                };
                normuon::step(&matrix, hyper, guard, &factors.muon)
            }
            (by, rule) => {
                let part = |flat: &Tensor| flat.view(start, [elems]);
                let (p, g) = (part(&params.master)?, part(&params.grad)?);
                let copy = params.rounded().map(part).transpose()?;
                let moments = Moments { m: part(m)?, v: v.view(v_start, [v_elems])? };
                let factors = match by {
                    By::Adam { decays: false } => &factors.undecayed,
                    _ => &factors.dense,
                };
                adam::step(rule.adam(), &p, copy.as_ref(), &g, &moments, guard, factors)
            }
        }
    }
}
