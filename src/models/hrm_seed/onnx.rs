//! All cycles of an `hrm_seed` as a loop that ends when the batch halts:
//! `models/hrm_seed/inner.rs`.

use super::{Config, HALT_ABOVE, names};
use crate::formats::onnx::body::{Body, Value, graph_attribute, int};
use crate::formats::onnx::graph::{Dim, Graph, value_info};
use crate::formats::onnx::proto::{BOOL, FLOAT, GraphProto, INT64};
use crate::formats::onnx::stack::Stack;
use crate::models::Dims;
use crate::models::onnx::encoder::{self, affine, norm};

struct Weights {
    h_layers: Stack,
    l_layers: Stack,
    h_norm: [Value; 2],
    l_norm: [Value; 2],
    h_to_l: [Value; 2],
    l_to_h: [Value; 2],
    /// Weight (1, 2C) and bias (1) as they are.
    halt: [Value; 2],
}

pub fn build(graph: &mut Graph, c: &Config, dims: &Dims) -> Result<(), String> {
    let e = encoder::embed(graph, dims, names::TOKEN_EMBEDDING)?;
    encoder::define_layer(graph, c.num_heads, c.hidden_size / c.num_heads);
    let halt = |part: &str| format!("{}.{part}", names::HALT_PREDICTOR);
    let weights = Weights {
        h_layers: encoder::layers(graph, "h_layers", c.h_layers, names::h_layer)?,
        l_layers: encoder::layers(graph, "l_layers", c.l_layers, names::l_layer)?,
        h_norm: encoder::norm_weights(graph, names::H_NORM)?,
        l_norm: encoder::norm_weights(graph, names::L_NORM)?,
        h_to_l: encoder::linear(graph, names::H_TO_L)?,
        l_to_h: encoder::linear(graph, names::L_TO_H)?,
        halt: [graph.weight(&halt("weight"))?, graph.weight(&halt("bias"))?],
    };
    let body = &mut graph.body;
    let cycles = body.int(c.max_cycles as i64);
    let begins = body.bool(true);
    let with = vec![graph_attribute("body", cycle(dims, &weights))];
    let [_h, l, halts] = body.ops("Loop", &[&cycles, &begins, &e, &e], with);
    let last = body.pick(&halts, -1, 0);
    let shape = body.op("Shape", &[&halts]);
    let run = body.pick(&shape, 0, 0);
    encoder::logits(graph, dims, &l, names::OUTPUT)?;
    graph.output("q_halt", FLOAT, &[Dim::Batch], &last, "logit of halting after the last cycle");
    graph.output("cycles", INT64, &[], &run, "cycles that were run");
    Ok(())
}

/// The loop's body. In: number of the cycle, whether to run it, h, l. Out: whether to run another,
/// h, l, and the halting logits (B), which the loop stacks.
fn cycle(dims: &Dims, w: &Weights) -> GraphProto {
    let mut body = Body::new("cycle_");
    let names = ["cycle", "goes_on", "h", "l"];
    let [i, _, h, l] = names.map(|name| Value(name.into()));

    let h = w.h_layers.pass(&mut body, &h);
    let h = norm(&mut body, &h, both(&w.h_norm));
    let guide = affine(&mut body, &h, both(&w.h_to_l));
    let l = w.l_layers.pass_sum(&mut body, &[&l, &guide]);
    let l = norm(&mut body, &l, both(&w.l_norm));
    let feedback = affine(&mut body, &l, both(&w.l_to_h));
    let h = body.op("Add", &[&h, &feedback]);

    let [h_mean, l_mean] = [&h, &l].map(|x| {
        let axis = body.ints(&[1]);
        body.op_with("ReduceMean", &[x, &axis], vec![int("keepdims", 0)])
    });
    let pooled = body.op_with("Concat", &[&h_mean, &l_mean], vec![int("axis", -1)]);
    let [halt_w, halt_b] = both(&w.halt);
    let z = body.op_with("Gemm", &[&pooled, halt_w, halt_b], vec![int("transB", 1)]);
    let z = body.pick(&z, 0, 1);

    let p = body.op("Sigmoid", &[&z]);
    let mean = body.op_with("ReduceMean", &[&p], vec![int("keepdims", 0)]);
    let [above, zero] = [body.float(HALT_ABOVE), body.int(0)];
    let is_sure = body.op("Greater", &[&mean, &above]);
    let is_later = body.op("Greater", &[&i, &zero]);
    let stops = body.op("And", &[&is_sure, &is_later]);
    let goes_on = body.op("Not", &[&stops]);

    let state = [Dim::Batch, Dim::Of(dims.seq_len), Dim::Of(dims.hidden_size)];
    let scalar = |name, elem_type| value_info(name, elem_type, &[], "");
    let rows = |name: &str, dims: &[Dim]| value_info(name, FLOAT, dims, "");
    GraphProto {
        name: "cycle".into(),
        node: body.nodes,
        input: vec![
            scalar(names[0], INT64),
            scalar(names[1], BOOL),
            rows(names[2], &state),
            rows(names[3], &state),
        ],
        output: vec![
            scalar(&goes_on.0, BOOL),
            rows(&h.0, &state),
            rows(&l.0, &state),
            rows(&z.0, &state[..1]),
        ],
        ..Default::default()
    }
}

fn both([a, b]: &[Value; 2]) -> [&Value; 2] {
    [a, b]
}
