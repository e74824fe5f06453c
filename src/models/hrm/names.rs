//! The official names of the parameters, in the order of the flat buffers. Those of the puzzle table
//! and the initial states, which are not among them, are in [`act`](crate::models::act).

use super::{Config, PosEncodings};
use crate::nn::block;
use crate::nn::init::Init;
use crate::nn::params::Spec;

pub const EMBED_TOKENS: &str = "embed_tokens.embedding_weight";
pub const EMBED_POS: &str = "embed_pos.embedding_weight";
pub const LM_HEAD: &str = "lm_head.weight";
pub const Q_HEAD: &str = "q_head.weight";
pub const Q_HEAD_BIAS: &str = "q_head.bias";

/// Start of the Q head's bias: nearly never halt, nearly never go on.
const Q_BIAS: f32 = -5.0;

pub fn h_layer(i: usize) -> String {
    format!("H_level.layers.{i}")
}

pub fn l_layer(i: usize) -> String {
    format!("L_level.layers.{i}")
}

pub fn specs(config: &Config) -> Vec<Spec> {
    let c = config.hidden_size;
    let mut specs = vec![Spec::new(EMBED_TOKENS, [config.vocab_size, c], Init::lecun(c))];
    if config.pos_encodings == PosEncodings::Learned {
        specs.push(Spec::new(EMBED_POS, [config.positions(), c], Init::lecun(c)));
    }
    for prefix in (0..config.h_layers).map(h_layer).chain((0..config.l_layers).map(l_layer)) {
        specs.extend(block::specs(&prefix, c, config.expansion));
    }
    specs.push(Spec::new(LM_HEAD, [config.vocab_size, c], Init::lecun(c)));
    specs.push(Spec::new(Q_HEAD, [2, c], Init::Constant(0.0)));
    specs.push(Spec::new(Q_HEAD_BIAS, [2], Init::Constant(Q_BIAS)));
    specs
}
