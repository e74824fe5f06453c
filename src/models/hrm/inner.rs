//! One segment's forward: embeddings, cycles of the two levels, heads.

use super::{Hrm, Recompute, names};
use crate::Result;
use crate::models::Dims;
use crate::models::act::{Reasoner, Rules, State, Store};
use crate::nn::block::Block;
use crate::nn::params::Bound;
use crate::ops::embedding::Prefix;
use crate::ops::{add, embedding, matmul, take_first};
use crate::tape::{self, Tape, Var};
use crate::tensor::Tensor;

/// The weights of one step.
pub struct Weights {
    embed_tokens: Var,
    embed_pos: Option<Var>,
    h_level: Vec<Block>,
    l_level: Vec<Block>,
    lm_head: Var,
    q_head: Var,
    q_bias: Var,
}

impl Reasoner for Hrm {
    type Weights = Weights;

    fn dims(&self) -> Dims {
        self.config.dims()
    }

    fn rules(&self) -> Rules {
        self.config.rules()
    }

    fn store(&self) -> &Store {
        &self.store
    }

    fn weights(&self, bound: &Bound) -> Result<Weights> {
        let heads = self.config.num_heads;
        let level = |n: usize, name: fn(usize) -> String| {
            (0..n).map(|i| Block::bind(bound, &name(i), heads, self.rope())).collect::<Result<_>>()
        };
        Ok(Weights {
            embed_tokens: bound.get(names::EMBED_TOKENS)?,
            embed_pos: self.rope().is_none().then(|| bound.get(names::EMBED_POS)).transpose()?,
            h_level: level(self.config.h_layers, names::h_layer)?,
            l_level: level(self.config.l_layers, names::l_layer)?,
            lm_head: bound.get(names::LM_HEAD)?,
            q_head: bound.get(names::Q_HEAD)?,
            q_bias: bound.get(names::Q_HEAD_BIAS)?,
        })
    }

    fn embed(
        &self,
        tape: &mut Tape,
        w: &Weights,
        tokens: &Tensor,
        puzzle_rows: Option<&Var>,
    ) -> Result<Var> {
        let scale = (self.config.hidden_size as f32).sqrt();
        let pos = w.embed_pos.as_ref();
        let tokens_before = self.config.prefix();
        let prefix = puzzle_rows.map(|puzzle| Prefix { puzzle, tokens: tokens_before });
        tape.scope("input_embeddings", |tape| {
            embedding::forward(tape, tokens, &w.embed_tokens, prefix, pos, scale)
        })
    }

    /// All cycles; a gradient flows through the last L pass and the last H pass only.
    fn cycles(&self, tape: &mut Tape, w: &Weights, from: State, e: &Var) -> Result<State> {
        let State { mut z_h, mut z_l } = from;
        let (h_cycles, l_cycles) = (self.config.h_cycles, self.config.l_cycles);
        tape.paused(|tape| {
            for h in 0..h_cycles {
                for l in 0..l_cycles {
                    if (h, l) != (h_cycles - 1, l_cycles - 1) {
                        z_l = self.level(tape, "L_level", &w.l_level, &[&z_h, e, &z_l])?;
                    }
                }
                if h != h_cycles - 1 {
                    z_h = self.level(tape, "H_level", &w.h_level, &[&z_h, &z_l])?;
                }
            }
            Ok(())
        })?;
        let z_l = self.level(tape, "L_level", &w.l_level, &[&z_h, e, &z_l])?;
        let z_h = self.level(tape, "H_level", &w.h_level, &[&z_h, &z_l])?;
        Ok(State { z_h, z_l })
    }

    fn logits(&self, tape: &mut Tape, w: &Weights, z_h: &Var) -> Result<Var> {
        matmul::linear(tape, z_h, &w.lm_head, None)
    }

    fn q_head(&self, tape: &mut Tape, w: &Weights, z_h: &Var) -> Result<Var> {
        let first = take_first::forward(tape, z_h)?;
        matmul::linear(tape, &first, &w.q_head, Some(&w.q_bias))
    }
}

impl Hrm {
    /// One pass of a level over the sum of its state and what is injected.
    fn level(&self, tape: &mut Tape, name: &str, blocks: &[Block], terms: &[&Var]) -> Result<Var> {
        tape.scope(name, |tape| {
            let mut x = add::forward(tape, terms)?;
            for (i, block) in blocks.iter().enumerate() {
                x = tape.scope(format!("layers.{i}"), |tape| self.layer(tape, block, x))?;
            }
            Ok(x)
        })
    }

    fn layer(&self, tape: &mut Tape, block: &Block, x: Var) -> Result<Var> {
        match self.config.recompute {
            Recompute::None => block.forward(tape, &x),
            Recompute::Layer => {
                let (inputs, input) = (block.vars(), x.clone());
                let all = [&x, inputs[0], inputs[1], inputs[2], inputs[3]];
                let again = block.clone();
                tape::checkpoint(tape, &all, move |tape| again.forward(tape, &input))
            }
        }
    }
}
