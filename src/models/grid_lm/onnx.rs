//! The grid model: `models/grid_lm/mod.rs`.

use super::{Config, names};
use crate::formats::HostTensor;
use crate::formats::onnx::blocks::{
    ATTENTION, RMS_NORM, SWIGLU_MLP, Sight, define_attention, define_rms_norm, define_rope,
    define_swiglu_mlp,
};
use crate::formats::onnx::body::Value;
use crate::formats::onnx::graph::{Dim, Graph};
use crate::formats::onnx::proto::{FLOAT, INT64};
use crate::formats::onnx::stack::Stack;
use crate::models::Dims;
use crate::nn::rope;
use crate::sequence::{TURNS, VOCABULARY};

const LAYER: &str = "GridLayer";
const WEIGHTS: [&str; 4] =
    ["self_attn.qkv_proj", "self_attn.o_proj", "mlp.gate_up_proj", "mlp.down_proj"];

pub fn build(graph: &mut Graph, c: &Config, dims: &Dims) -> Result<(), String> {
    let shape = [Dim::Batch, graph.cells(dims.places())];
    let tokens = graph.input("tokens", INT64, &shape, "tokens of each row");
    let doc = "8 times the task plus the transform, of each row";
    let conditions = graph.input("puzzle_identifiers", INT64, &[Dim::Batch], doc);
    let x = embed(graph, &tokens, &conditions)?;
    define_layer(graph, c);
    let names = ["rope.cos", "rope.sin"];
    let values = rope::grid_values(dims.side(), c.head_dim(), rope::THETA);
    let tables: Vec<Value> = names
        .into_iter()
        .zip(values)
        .map(|(name, values)| {
            let table = HostTensor::from_f32s([dims.places(), c.head_dim()], &values);
            let table = graph.initializer(name, table);
            graph.at_places(table)
        })
        .collect();
    let mut layers = vec![];
    for layer in (0..c.layers).map(names::layer) {
        let names = WEIGHTS.map(|part| format!("{layer}.{part}.weight"));
        let factor = |name: String| graph.factor(&name).map(|factor| (name, factor));
        layers.push(names.into_iter().map(factor).collect::<Result<_, _>>()?);
    }
    let layers = Stack::define(graph, "layers", LAYER, layers, &tables);
    let x = layers.pass(&mut graph.body, &x);
    let head = graph.factor(names::HEAD)?;
    let x = graph.body.call(RMS_NORM, &[&x]);
    let logits = graph.body.op("MatMul", &[&x, &head]);
    let shape = [Dim::Batch, graph.cells(dims.places()), Dim::Of(VOCABULARY)];
    graph.output("logits", FLOAT, &shape, &logits, "logits of the token that follows");
    Ok(())
}

/// (B, T, C)
fn embed(graph: &mut Graph, tokens: &Value, conditions: &Value) -> Result<Value, String> {
    let table = graph.weight(names::TOKENS)?;
    let mut x = graph.body.op("Gather", &[&table, tokens]);
    let turns = graph.body.int(TURNS as i64);
    let axis = graph.body.ints(&[1]);
    for (name, op) in [(names::TASKS, "Div"), (names::TURN, "Mod")] {
        let table = graph.weight(name)?;
        let row = graph.body.op(op, &[conditions, &turns]);
        let row = graph.body.op("Gather", &[&table, &row]);
        let row = graph.body.op("Unsqueeze", &[&row, &axis]);
        x = graph.body.op("Add", &[&x, &row]);
    }
    Ok(x)
}

fn define_layer(graph: &mut Graph, c: &Config) {
    define_rms_norm(graph);
    define_swiglu_mlp(graph);
    define_rope(graph);
    let sight = Sight { rope: true, causal: true };
    define_attention(graph, c.num_heads, c.head_dim(), sight);
    let inputs = ["x", "qkv", "o", "gate_up", "down", "cos", "sin"].map(String::from);
    // h + mlp(norm(h)), h = x + attention(norm(x))
    graph.define(LAYER, &inputs, |body, values| {
        let [x, qkv, o, gate_up, down, cos, sin] = [0, 1, 2, 3, 4, 5, 6].map(|i| &values[i]);
        let normed = body.call(RMS_NORM, &[x]);
        let qkv = body.op("MatMul", &[&normed, qkv]);
        let a = body.call(ATTENTION, &[&qkv, cos, sin]);
        let a = body.op("MatMul", &[&a, o]);
        let h = body.op("Add", &[x, &a]);
        let normed = body.call(RMS_NORM, &[&h]);
        let m = body.call(SWIGLU_MLP, &[&normed, gate_up, down]);
        body.op("Add", &[&h, &m])
    });
}
