//! What `hrm` and `trm` have in common in a file: inputs, the carry's reset, embedding, heads.
//! `ops/embedding` and `models/io.rs` have the formulas.

use crate::formats::onnx::body::{Value, int};
use crate::formats::onnx::graph::{Dim, Graph};
use crate::formats::onnx::proto::{BOOL, FLOAT, INT64};
use crate::models::Dims;
use crate::models::act::{H_INIT, L_INIT, PREFIX, PUZZLE_TABLE};
use crate::models::io::{EMBED_POS, EMBED_TOKENS, LM_HEAD, PosEncodings, Q_HEAD, Q_HEAD_BIAS};
use crate::ops::embedding::POSITION_SCALE;

pub const DOC: &str = "One supervision segment. Start with reset all true (z_h and z_l of any content), \
    then hand z_h_next and z_l_next back as z_h and z_l with reset false, halt_max_steps times (see \
    the metadata); the logits of the last segment are the answer. A row may start anew at any \
    segment: reset it alone.";

/// What the cycles start from, (B, T, C) each.
pub struct Start {
    pub e: Value,
    pub z_h: Value,
    pub z_l: Value,
}

pub fn start(graph: &mut Graph, dims: &Dims, pos: PosEncodings) -> Result<Start, String> {
    let (b, s) = (Dim::Batch, graph.cells(dims.seq_len));
    let tokens = graph.input("tokens", INT64, &[b, s], "rows of cells, each below vocab_size");
    let puzzle_id = (dims.puzzle_emb_ndim > 0).then(|| {
        graph.input("puzzle_id", INT64, &[b], "row of the puzzle embeddings; 0 is the blank one")
    });
    let state = [b, graph.positions(dims.positions()), Dim::Of(dims.hidden_size)];
    let z_h = graph.input("z_h", FLOAT, &state, "z_h_next of the segment before");
    let z_l = graph.input("z_l", FLOAT, &state, "z_l_next of the segment before");
    let doc = "rows that start anew: what is in z_h and z_l there is not looked at";
    let reset = graph.input("reset", BOOL, &[b], doc);
    let axes = graph.body.ints(&[1, 2]);
    let reset = graph.body.op("Unsqueeze", &[&reset, &axes]);
    let mut state = |name: &str, z: &Value| {
        let init = graph.weight(&format!("{PREFIX}{name}"))?;
        Ok::<_, String>(graph.body.op("Where", &[&reset, &init, z]))
    };
    let (z_h, z_l) = (state(H_INIT, &z_h)?, state(L_INIT, &z_l)?);
    let e = embed(graph, dims, pos, &tokens, puzzle_id.as_ref())?;
    Ok(Start { e, z_h, z_l })
}

/// (B, T, C)
fn embed(
    graph: &mut Graph,
    dims: &Dims,
    pos: PosEncodings,
    tokens: &Value,
    puzzle_id: Option<&Value>,
) -> Result<Value, String> {
    let table = graph.weight(&format!("{PREFIX}{EMBED_TOKENS}"))?;
    let mut e = graph.body.op("Gather", &[&table, tokens]);
    if let Some(puzzle_id) = puzzle_id {
        let table = graph.weight(&format!("{PREFIX}{PUZZLE_TABLE}"))?;
        let mut row = graph.body.op("Gather", &[&table, puzzle_id]);
        let (p, c) = (dims.prefix, dims.hidden_size);
        if p * c > dims.puzzle_emb_ndim {
            let pads = graph.body.ints(&[0, 0, 0, (p * c - dims.puzzle_emb_ndim) as i64]);
            row = graph.body.op("Pad", &[&row, &pads]);
        }
        let prefix = graph.body.reshape(&row, &[-1, p as i64, c as i64]);
        e = graph.body.op_with("Concat", &[&prefix, &e], vec![int("axis", 1)]);
    }
    let mut scale = (dims.hidden_size as f32).sqrt();
    if pos == PosEncodings::Learned {
        let table = graph.weight(&format!("{PREFIX}{EMBED_POS}"))?;
        let table = graph.at_places(table);
        e = graph.body.op("Add", &[&e, &table]);
        scale *= POSITION_SCALE;
    }
    let scale = graph.body.float(scale);
    Ok(graph.body.op("Mul", &[&e, &scale]))
}

/// The answer of the cells, the Q logits, the states to go on from.
pub fn finish(
    graph: &mut Graph,
    dims: &Dims,
    q_continue: bool,
    z_h: &Value,
    z_l: &Value,
) -> Result<(), String> {
    let (b, v) = (Dim::Batch, dims.vocab_size);
    let head = graph.factor(&format!("{PREFIX}{LM_HEAD}"))?;
    let cells = match dims.prefix {
        0 => z_h.clone(),
        p => {
            // To the end, however many cells there are.
            let range = [p as i64, i64::MAX, 1].map(|n| graph.body.ints(&[n]));
            let [from, to, axis] = &range;
            graph.body.op("Slice", &[z_h, from, to, axis])
        }
    };
    let logits = graph.body.op("MatMul", &[&cells, &head]);
    let shape = [b, graph.cells(dims.seq_len), Dim::Of(v)];
    graph.output("logits", FLOAT, &shape, &logits, "logits of each cell's token");

    let first = graph.body.pick(z_h, 0, 1);
    let w = graph.weight(&format!("{PREFIX}{Q_HEAD}"))?;
    let bias = graph.weight(&format!("{PREFIX}{Q_HEAD_BIAS}"))?;
    let q = graph.body.op_with("Gemm", &[&first, &w, &bias], vec![int("transB", 1)]);
    let heads = [("q_halt", "logit of halting here"), ("q_continue", "logit of going on")];
    for (i, (name, doc)) in heads.into_iter().take(1 + q_continue as usize).enumerate() {
        let logit = graph.body.pick(&q, i as i64, 1);
        graph.output(name, FLOAT, &[b], &logit, doc);
    }

    let state = [b, graph.positions(dims.positions()), Dim::Of(dims.hidden_size)];
    graph.output("z_h_next", FLOAT, &state, z_h, "z_h of the next segment");
    graph.output("z_l_next", FLOAT, &state, z_l, "z_l of the next segment");
    Ok(())
}
