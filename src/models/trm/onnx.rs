//! One segment of a TRM: the passes of `models/trm/inner.rs`.

use super::{Config, PosEncodings, names};
use crate::formats::onnx::Graph;
use crate::formats::onnx::blocks::{self, Blocks, Mixer};
use crate::models::Dims;
use crate::models::act::PREFIX;
use crate::models::onnx::reasoner::{self, Start};
use crate::nn::rope;

pub fn build(graph: &mut Graph, c: &Config, dims: &Dims) -> Result<(), String> {
    let Start { e, mut z_h, mut z_l } = reasoner::start(graph, dims, c.pos_encodings)?;
    let mixer = match c.mlp_t {
        true => Mixer::MlpT,
        false => Mixer::Attention { heads: c.num_heads, head_dim: c.head_dim() },
    };
    let is_rope = c.pos_encodings == PosEncodings::Rope;
    let tables = is_rope.then_some((dims.positions(), rope::THETA));
    let kind = Blocks::define(graph, mixer, tables);
    let level = blocks::level(graph, &kind, names::L_LEVEL, PREFIX, c.layers)?;
    for _ in 0..c.h_cycles {
        for _ in 0..c.l_cycles {
            z_l = level.pass_sum(&mut graph.body, &[&z_h, &e, &z_l]);
        }
        z_h = level.pass_sum(&mut graph.body, &[&z_h, &z_l]);
    }
    reasoner::finish(graph, dims, false, &z_h, &z_l)
}
