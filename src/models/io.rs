//! What reasoners have in common around their levels, under its official names: the embedding of
//! the input, the answer's head and the Q head.

use serde::{Deserialize, Serialize};

use super::Dims;
use crate::Result;
use crate::nn::init::Init;
use crate::nn::params::{Bound, Spec};
use crate::ops::layout::Layout;
use crate::ops::{embedding, matmul};
use crate::tape::{Tape, Var};
use crate::tensor::Tensor;

pub const EMBED_TOKENS: &str = "embed_tokens.embedding_weight";
pub const PUZZLE_TABLE: &str = "puzzle_emb.weights";
pub const EMBED_POS: &str = "embed_pos.embedding_weight";
pub const LM_HEAD: &str = "lm_head.weight";
pub const Q_HEAD: &str = "q_head.weight";
pub const Q_HEAD_BIAS: &str = "q_head.bias";

/// Start of the Q head's bias: nearly never halt, nearly never go on.
const Q_BIAS: f32 = -5.0;

/// How a position knows where it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PosEncodings {
    /// By the weights that mix positions, where those are its own.
    None,
    Rope,
    Learned,
}

/// All parameters of a reasoner in the order of the flat buffers; `levels` in the middle.
pub fn specs(dims: Dims, pos: PosEncodings, levels: Vec<Spec>) -> Vec<Spec> {
    let (v, c) = (dims.vocab_size, dims.hidden_size);
    let mut specs = vec![Spec::new(EMBED_TOKENS, [v, c], Init::lecun(c)).embedding()];
    if pos == PosEncodings::Learned {
        specs.push(Spec::new(EMBED_POS, [dims.positions(), c], Init::lecun(c)).embedding());
    }
    specs.extend(levels);
    specs.push(Spec::new(LM_HEAD, [v, c], Init::lecun(c)));
    specs.push(Spec::new(Q_HEAD, [2, c], Init::Constant(0.0)));
    specs.push(Spec::new(Q_HEAD_BIAS, [2], Init::Constant(Q_BIAS)));
    specs
}

/// The weights of one step.
pub struct Io {
    dims: Dims,
    embed_tokens: Var,
    embed_pos: Option<Var>,
    lm_head: Var,
    q_head: Var,
    q_bias: Var,
}

impl Io {
    pub fn bind(bound: &Bound, dims: Dims) -> Result<Self> {
        Ok(Self {
            dims,
            embed_tokens: bound.get(EMBED_TOKENS)?,
            embed_pos: bound.find(EMBED_POS),
            lm_head: bound.get(LM_HEAD)?,
            q_head: bound.get(Q_HEAD)?,
            q_bias: bound.get(Q_HEAD_BIAS)?,
        })
    }

    /// Tokens, one to a cell, and puzzle rows (B, D) to (N, C).
    pub fn embed(
        &self,
        tape: &mut Tape,
        tokens: &Tensor,
        puzzle: Option<&Var>,
        layout: &Layout,
    ) -> Result<Var> {
        let scale = (self.dims.hidden_size as f32).sqrt();
        let pos = self.embed_pos.as_ref();
        tape.scope("input_embeddings", |tape| {
            embedding::forward(tape, tokens, &self.embed_tokens, puzzle, pos, scale, layout)
        })
    }

    /// (N, V)
    pub fn logits(&self, tape: &mut Tape, z_h: &Var) -> Result<Var> {
        matmul::linear(tape, z_h, &self.lm_head, None)
    }

    /// The first position's z_h (B, C) to (B, 2): halt, continue.
    pub fn q(&self, tape: &mut Tape, first: &Var) -> Result<Var> {
        matmul::linear(tape, first, &self.q_head, Some(&self.q_bias))
    }
}
