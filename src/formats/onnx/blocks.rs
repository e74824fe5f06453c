//! The layers of the models as functions of ONNX.
//!
//! Formulas are those of `ops/*/mod.rs` and `nn/{block,encoder}.rs`, in f32; x and y are (B, T, C).
//! Weights of linear layers come as right factors (IN, OUT).

use super::body::{Body, Value, int};
use super::graph::Graph;
use super::stack::Stack;
use crate::formats::HostTensor;
use crate::nn::{self, block, rope};

pub const ATTENTION: &str = "Attention";
pub const RMS_NORM: &str = "RmsNorm";
const ROPE: &str = "Rope";
pub const SWIGLU_MLP: &str = "SwigluMlp";
const BLOCK: &str = "Block";

/// What lets positions see each other in a block.
#[derive(Clone, Copy)]
pub enum Mixer {
    Attention { heads: usize, head_dim: usize },
    MlpT,
}

impl Mixer {
    /// Official names of a block's weights, without prefix and `.weight`.
    fn weights(self) -> [&'static str; 4] {
        let [a, b] = match self {
            Mixer::Attention { .. } => ["self_attn.qkv_proj", "self_attn.o_proj"],
            Mixer::MlpT => ["mlp_t.gate_up_proj", "mlp_t.down_proj"],
        };
        [a, b, "mlp.gate_up_proj", "mlp.down_proj"]
    }
}

/// Blocks of one kind, defined once for all levels.
pub struct Blocks {
    mixer: Mixer,
    /// cos, sin (T, HD); empty: no rotation.
    tables: Vec<Value>,
}

impl Blocks {
    /// `rope`: positions and theta.
    pub fn define(graph: &mut Graph, mixer: Mixer, rope: Option<(usize, f32)>) -> Self {
        define_rms_norm(graph);
        define_swiglu_mlp(graph);
        let mut tables = vec![];
        if let Mixer::Attention { heads, head_dim } = mixer {
            if let Some((t, theta)) = rope {
                let names = ["rope.cos", "rope.sin"];
                for (name, values) in names.into_iter().zip(rope::values(t, head_dim, theta)) {
                    let table = HostTensor::from_f32s([t, head_dim], &values);
                    let table = graph.initializer(name, table);
                    tables.push(graph.at_places(table));
                }
                define_rope(graph);
            }
            let sight = Sight { rope: !tables.is_empty(), causal: false };
            define_attention(graph, heads, head_dim, sight);
        }
        let mut inputs = vec!["x".to_owned()];
        inputs.extend(mixer.weights().map(String::from));
        inputs.extend(tables.iter().map(|table| table.0.clone()));
        // norm(h + mlp(h)), h = norm(x + mix(x))
        graph.define(BLOCK, &inputs, |body, values| {
            let [x, a, b, gate_up, down] = [0, 1, 2, 3, 4].map(|i| &values[i]);
            let h = match mixer {
                Mixer::Attention { .. } => {
                    let qkv = body.op("MatMul", &[x, a]);
                    let inputs: Vec<&Value> = [&qkv].into_iter().chain(&values[5..]).collect();
                    let y = body.call(ATTENTION, &inputs);
                    let y = body.op("MatMul", &[&y, b]);
                    residual_norm(body, x, &y)
                }
                Mixer::MlpT => {
                    let x_t = body.transpose(x, &[0, 2, 1]);
                    let y_t = body.call(SWIGLU_MLP, &[&x_t, a, b]);
                    let h_t = residual_norm(body, &x_t, &y_t);
                    body.transpose(&h_t, &[0, 2, 1])
                }
            };
            let m = body.call(SWIGLU_MLP, &[&h, gate_up, down]);
            residual_norm(body, &h, &m)
        });
        Self { mixer, tables }
    }
}

/// A level of blocks; `prefix` goes before the official names of its weights.
pub fn level(
    graph: &mut Graph,
    blocks: &Blocks,
    name: &'static str,
    prefix: &str,
    layers: usize,
) -> Result<Stack, String> {
    let mut factors = vec![];
    for layer in (0..layers).map(|i| nn::level::layer(name, i)) {
        let names = blocks.mixer.weights().map(|part| format!("{layer}.{part}.weight"));
        let factor =
            |name: String| graph.factor(&format!("{prefix}{name}")).map(|factor| (name, factor));
        factors.push(names.into_iter().map(factor).collect::<Result<_, _>>()?);
    }
    Ok(Stack::define(graph, name, BLOCK, factors, &blocks.tables))
}

/// A position sees itself and, unless `causal`, those after it; turned by its place, if `rope`.
#[derive(Clone, Copy, Default)]
pub struct Sight {
    pub rope: bool,
    pub causal: bool,
}

fn residual_norm(body: &mut Body, x: &Value, y: &Value) -> Value {
    let sum = body.op("Add", &[x, y]);
    body.call(RMS_NORM, &[&sum])
}

pub fn define_rms_norm(graph: &mut Graph) {
    // x / sqrt(mean(x^2) + eps)
    graph.define(RMS_NORM, &["x".into()], |body, x| {
        let square = body.op("Mul", &[&x[0], &x[0]]);
        let axis = body.ints(&[-1]);
        let mean = body.op("ReduceMean", &[&square, &axis]);
        let eps = body.float(block::RMS_NORM_EPS);
        let sum = body.op("Add", &[&mean, &eps]);
        let root = body.op("Sqrt", &[&sum]);
        body.op("Div", &[&x[0], &root])
    });
}

pub fn define_swiglu_mlp(graph: &mut Graph) {
    let inputs = ["x", "gate_up", "down"].map(String::from);
    // (silu(g) * u) down, [g, u] = x gate_up
    graph.define(SWIGLU_MLP, &inputs, |body, values| {
        let inner = body.op("MatMul", &[&values[0], &values[1]]);
        let [gate, up] = body.split(&inner);
        let sigmoid = body.op("Sigmoid", &[&gate]);
        let silu = body.op("Mul", &[&gate, &sigmoid]);
        let inner = body.op("Mul", &[&silu, &up]);
        body.op("MatMul", &[&inner, &values[2]])
    });
}

pub fn define_rope(graph: &mut Graph) {
    let inputs = ["x", "cos", "sin"].map(String::from);
    // x cos + rotate_half(x) sin
    graph.define(ROPE, &inputs, |body, values| {
        let [low, high] = body.split(&values[0]);
        let minus = body.op("Neg", &[&high]);
        let rotated = body.op_with("Concat", &[&minus, &low], vec![int("axis", -1)]);
        let straight = body.op("Mul", &[&values[0], &values[1]]);
        let turned = body.op("Mul", &[&rotated, &values[2]]);
        body.op("Add", &[&straight, &turned])
    });
}

/// Scores (.., T, T), those of keys after the query minus infinity.
fn without_later(body: &mut Body, scores: &Value) -> Value {
    let sides = body.op_with("Shape", &[scores], vec![int("start", 2)]);
    let (never, one) = (body.float(f32::NEG_INFINITY), body.int(1));
    let mask = body.op("Expand", &[&never, &sides]);
    let mask = body.op_with("Trilu", &[&mask, &one], vec![int("upper", 1)]);
    body.op("Add", &[scores, &mask])
}

/// From q, k and v side by side (B, T, 3C) to what goes into the output projection (B, T, C).
pub fn define_attention(graph: &mut Graph, heads: usize, head_dim: usize, sight: Sight) {
    let mut inputs = vec!["qkv".to_owned()];
    if sight.rope {
        inputs.extend(["cos", "sin"].map(String::from));
    }
    // softmax(q k^T / sqrt(HD)) v, per head
    graph.define(ATTENTION, &inputs, |body, values| {
        let (tables, shape) = (&values[1..], [0, 0, heads as i64, head_dim as i64]);
        let [q, k, v] = body.split(&values[0]).map(|x: Value| {
            let x = body.reshape(&x, &shape);
            body.transpose(&x, &[0, 2, 1, 3])
        });
        let [q, k] = [q, k].map(|x| match tables {
            [cos, sin] => body.call(ROPE, &[&x, cos, sin]),
            _ => x,
        });
        let scale = body.float(1.0 / (head_dim as f32).sqrt());
        let q = body.op("Mul", &[&q, &scale]);
        let k_t = body.transpose(&k, &[0, 1, 3, 2]);
        let mut scores = body.op("MatMul", &[&q, &k_t]);
        if sight.causal {
            scores = without_later(body, &scores);
        }
        let p = body.op_with("Softmax", &[&scores], vec![int("axis", -1)]);
        let y = body.op("MatMul", &[&p, &v]);
        let y = body.transpose(&y, &[0, 2, 1, 3]);
        body.reshape(&y, &[0, 0, (heads * head_dim) as i64])
    });
}
