//! Forward: embedding, cycles of the two levels until the batch halts, output head.
//!
//!   e = drop(embedding + positions);  h = l = e
//!   each cycle   h = h_norm(h_layers(h));  l = l_norm(l_layers(l + h_to_l(h)));  h = h + l_to_h(l)
//!                p = sigmoid(halt_predictor(mean_t [h, l]))
//!   logits = output(l)

use std::rc::Rc;

use super::{Config, HrmSeed, Recompute, names};
use crate::Result;
use crate::models::one_pass::{Answer, probabilities};
use crate::nn::encoder::{EncoderLayer, Linear, Noise, Norm, SITES_PER_LAYER};
use crate::nn::params::Bound;
use crate::ops::layout::Layout;
use crate::ops::{add, embedding, halt_head};
use crate::tape::{self, Tape, Var};
use crate::tensor::Tensor;

/// The batch halts when its mean halting probability is above this, from the second cycle on.
pub const HALT_ABOVE: f32 = 0.9;

/// Site of the dropout after the embedding; those of the layers follow.
const EMBEDDING_SITE: u32 = 0;

/// The weights of one step.
struct Weights {
    h_layers: Vec<EncoderLayer>,
    l_layers: Vec<EncoderLayer>,
    h_norm: Norm,
    l_norm: Norm,
    h_to_l: Linear,
    l_to_h: Linear,
    halt: Linear,
    recompute: Recompute,
}

impl HrmSeed {
    pub(super) fn forward(
        &self,
        tape: &mut Tape,
        bound: Bound,
        tokens: &Tensor,
        layout: &Layout,
        noise: Option<&Noise>,
    ) -> Result<Answer> {
        let weights = Rc::new(Weights::bind(&bound, &self.config, self.recompute, layout)?);
        let table = bound.get(names::TOKEN_EMBEDDING)?;
        let output = Linear::bind(&bound, names::OUTPUT)?;
        drop(bound);
        let positions = Var::constant(self.positions.clone());
        let e = embedding::with_positions(tape, tokens, &table, &positions, layout)?;
        let e = Noise::apply(noise, tape, e, EMBEDDING_SITE)?;
        let (mut h, mut l) = (e.clone(), e);
        let mut halts: Vec<Var> = vec![];
        for i in 0..self.config.max_cycles {
            let halt;
            [h, l, halt] = run_cycle(tape, &weights, h, l, noise, i)?;
            let stops = i > 0 && self.halts(&halt)?;
            halts.push(halt);
            if stops {
                break;
            }
        }
        drop(h);
        let logits = output.forward(tape, &l)?;
        Ok(Answer { logits, halts })
    }

    /// Whether the batch is done. Without memory nothing halts early: all cycles are counted.
    fn halts(&self, halt: &Var) -> Result<bool> {
        let Some(p) = probabilities(halt)? else { return Ok(false) };
        Ok(p.iter().sum::<f32>() / p.len() as f32 > HALT_ABOVE)
    }
}

/// The states after cycle `i`, and its rows of the halting head.
fn run_cycle(
    tape: &mut Tape,
    weights: &Rc<Weights>,
    h: Var,
    l: Var,
    noise: Option<&Noise>,
    i: usize,
) -> Result<[Var; 3]> {
    if weights.recompute != Recompute::Cycle {
        return weights.cycle(tape, h, l, noise, i);
    }
    let (of_block, noise) = (weights.clone(), noise.cloned());
    let mut inputs = vec![&h, &l];
    inputs.extend(weights.vars());
    let from = (h.clone(), l.clone());
    tape::checkpoint_all(tape, &inputs, move |tape| {
        let (h, l) = from.clone();
        of_block.cycle(tape, h, l, noise.as_ref(), i)
    })
}

impl Weights {
    fn bind(bound: &Bound, config: &Config, recompute: Recompute, layout: &Layout) -> Result<Self> {
        let level = |n: usize, name: fn(usize) -> String| {
            let bind = |i| EncoderLayer::bind(bound, &name(i), config.num_heads, layout);
            (0..n).map(bind).collect::<Result<Vec<_>>>()
        };
        Ok(Self {
            h_layers: level(config.h_layers, names::h_layer)?,
            l_layers: level(config.l_layers, names::l_layer)?,
            h_norm: Norm::bind(bound, names::H_NORM)?,
            l_norm: Norm::bind(bound, names::L_NORM)?,
            h_to_l: Linear::bind(bound, names::H_TO_L)?,
            l_to_h: Linear::bind(bound, names::L_TO_H)?,
            halt: Linear::bind(bound, names::HALT_PREDICTOR)?,
            recompute,
        })
    }

    fn cycle(
        &self,
        tape: &mut Tape,
        h: Var,
        l: Var,
        noise: Option<&Noise>,
        i: usize,
    ) -> Result<[Var; 3]> {
        let first = (i * (self.h_layers.len() + self.l_layers.len())) as u32;
        let h = self.level(tape, "h_layers", &self.h_layers, h, noise, first)?;
        let h = self.h_norm.forward(tape, &h)?;
        let guide = self.h_to_l.forward(tape, &h)?;
        let l = add::forward(tape, &[&l, &guide])?;
        drop(guide);
        let first = first + self.h_layers.len() as u32;
        let l = self.level(tape, "l_layers", &self.l_layers, l, noise, first)?;
        let l = self.l_norm.forward(tape, &l)?;
        let feedback = self.l_to_h.forward(tape, &l)?;
        let h = add::forward(tape, &[&h, &feedback])?;
        drop(feedback);
        let halt = tape.scope(names::HALT_PREDICTOR, |tape| {
            halt_head::forward(tape, &h, &l, &self.halt.w, &self.halt.b)
        })?;
        Ok([h, l, halt])
    }

    /// `first` counts the layers that ran before in this step: each run has dropouts of its own.
    fn level(
        &self,
        tape: &mut Tape,
        name: &str,
        layers: &[EncoderLayer],
        mut x: Var,
        noise: Option<&Noise>,
        first: u32,
    ) -> Result<Var> {
        for (i, layer) in layers.iter().enumerate() {
            let site = EMBEDDING_SITE + 1 + (first + i as u32) * SITES_PER_LAYER;
            let again = self.recompute == Recompute::Layer;
            x = tape.scope(format!("{name}.{i}"), |tape| layer.run(tape, x, noise, site, again))?;
        }
        Ok(x)
    }

    /// Every tracked variable that a cycle uses besides the states.
    fn vars(&self) -> Vec<&Var> {
        let layers = self.h_layers.iter().chain(&self.l_layers).flat_map(EncoderLayer::vars);
        let norms = [&self.h_norm, &self.l_norm].into_iter().flat_map(Norm::vars);
        let linears = [&self.h_to_l, &self.l_to_h, &self.halt].into_iter().flat_map(Linear::vars);
        layers.chain(norms).chain(linears).collect()
    }
}
