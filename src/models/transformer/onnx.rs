//! The plain encoder: `models/transformer/mod.rs`.

use super::{Config, names};
use crate::formats::onnx::Graph;
use crate::models::Dims;
use crate::models::onnx::encoder;

pub fn build(graph: &mut Graph, c: &Config, dims: &Dims) -> Result<(), String> {
    let e = encoder::embed(graph, dims, names::TOKEN_EMBEDDING)?;
    encoder::define_layer(graph, c.num_heads, c.hidden_size / c.num_heads);
    let layers = encoder::layers(graph, "layers", c.layers, names::layer)?;
    let x = layers.pass(&mut graph.body, &e);
    encoder::logits(graph, dims, &x, names::OUTPUT)
}
