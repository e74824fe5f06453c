//! The layers of `nn/encoder.rs` (`torch.nn.TransformerEncoderLayer`, post-norm), and the embedding
//! in front of them.

use crate::formats::HostTensor;
use crate::formats::onnx::blocks::{ATTENTION, Sight, define_attention};
use crate::formats::onnx::body::{Body, Value, float, int};
use crate::formats::onnx::graph::{Dim, Graph};
use crate::formats::onnx::proto::{FLOAT, INT64};
use crate::formats::onnx::stack::Stack;
use crate::models::Dims;
use crate::nn::sinusoids;
use crate::ops::layer_norm;

const LAYER: &str = "EncoderLayer";

/// PyTorch's names, in the order of the function's inputs.
const WEIGHTS: [&str; 12] = [
    "self_attn.in_proj_weight",
    "self_attn.in_proj_bias",
    "self_attn.out_proj.weight",
    "self_attn.out_proj.bias",
    "linear1.weight",
    "linear1.bias",
    "linear2.weight",
    "linear2.bias",
    "norm1.weight",
    "norm1.bias",
    "norm2.weight",
    "norm2.bias",
];

/// The layer as a function, for [`layers`].
pub fn define_layer(graph: &mut Graph, heads: usize, head_dim: usize) {
    define_attention(graph, heads, head_dim, Sight::default());
    let mut inputs = vec!["x".to_owned()];
    inputs.extend(WEIGHTS.map(String::from));
    // norm2(h + mlp(h)), h = norm1(x + self_attn(x))
    graph.define(LAYER, &inputs, |body, values| {
        let (x, w) = (&values[0], &values[1..]);
        let qkv = affine(body, x, [&w[0], &w[1]]);
        let a = body.call(ATTENTION, &[&qkv]);
        let a = affine(body, &a, [&w[2], &w[3]]);
        let h = body.op("Add", &[x, &a]);
        let h = norm(body, &h, [&w[8], &w[9]]);
        let m = affine(body, &h, [&w[4], &w[5]]);
        let m = body.op("Relu", &[&m]);
        let m = affine(body, &m, [&w[6], &w[7]]);
        let y = body.op("Add", &[&h, &m]);
        norm(body, &y, [&w[10], &w[11]])
    });
}

/// `n` layers whose weights begin with `name(i)`, as the function `function`.
pub fn layers(
    graph: &mut Graph,
    function: &str,
    n: usize,
    name: fn(usize) -> String,
) -> Result<Stack, String> {
    let mut layers = vec![];
    for layer in (0..n).map(name) {
        let weight = |part: &str| {
            let name = format!("{layer}.{part}");
            let is_matrix = part.ends_with("weight") && !part.starts_with("norm");
            let value = if is_matrix { graph.factor(&name)? } else { graph.weight(&name)? };
            Ok::<_, String>((name, value))
        };
        layers.push(WEIGHTS.into_iter().map(weight).collect::<Result<_, _>>()?);
    }
    Ok(Stack::define(graph, function, LAYER, layers, &[]))
}

/// A linear layer's weight and bias, for [`affine`].
pub fn linear(graph: &mut Graph, name: &str) -> Result<[Value; 2], String> {
    Ok([graph.factor(&format!("{name}.weight"))?, graph.weight(&format!("{name}.bias"))?])
}

/// Gain and bias, for [`norm`].
pub fn norm_weights(graph: &mut Graph, name: &str) -> Result<[Value; 2], String> {
    Ok([graph.weight(&format!("{name}.weight"))?, graph.weight(&format!("{name}.bias"))?])
}

pub fn affine(body: &mut Body, x: &Value, [w, b]: [&Value; 2]) -> Value {
    let y = body.op("MatMul", &[x, w]);
    body.op("Add", &[&y, b])
}

pub fn norm(body: &mut Body, x: &Value, [gain, bias]: [&Value; 2]) -> Value {
    let with = vec![int("axis", -1), float("epsilon", layer_norm::EPS)];
    body.op_with("LayerNormalization", &[x, gain, bias], with)
}

/// The input `tokens`, embedded, with sinusoidal positions: (B, S, C).
pub fn embed(graph: &mut Graph, dims: &Dims, token_embedding: &str) -> Result<Value, String> {
    let (s, c) = (dims.seq_len, dims.hidden_size);
    let doc = "rows of cells, each below vocab_size";
    let shape = [Dim::Batch, graph.cells(s)];
    let tokens = graph.input("tokens", INT64, &shape, doc);
    let table = graph.weight(token_embedding)?;
    let e = graph.body.op("Gather", &[&table, &tokens]);
    let table = HostTensor::from_f32s([s, c], &sinusoids::table(s, c));
    let positions = graph.initializer("pos_encoding.pe", table);
    let positions = graph.at_places(positions);
    Ok(graph.body.op("Add", &[&e, &positions]))
}

/// The output `logits`, (B, S, V).
pub fn logits(graph: &mut Graph, dims: &Dims, x: &Value, head: &str) -> Result<(), String> {
    let [w, b] = linear(graph, head)?;
    let logits = affine(&mut graph.body, x, [&w, &b]);
    let shape = [Dim::Batch, graph.cells(dims.seq_len), Dim::Of(dims.vocab_size)];
    graph.output("logits", FLOAT, &shape, &logits, "logits of each cell's token");
    Ok(())
}
