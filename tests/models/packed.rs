//! Packed rows: in one batch as alone, with whole canvases as padded ones, on the rows of a canvas
//! as on a canvas of that size.

use std::collections::HashMap;

use hrm::backend::{Device, Purpose};
use hrm::data::Window;
use hrm::dtype::DType;
use hrm::models::io::EMBED_POS;
use hrm::models::{
    Carry, Compute, DeviceBatch, Model, ModelConfig, ModelShape, Sizes, Workspace, hrm as reasoner,
    transformer, trm,
};
use hrm::ops::cross_entropy::IGNORE;
use hrm::ops::draw::Draw;
use hrm::rng::{Rng, Stream};
use hrm::tape::{Mode, Tape};
use hrm::tensor::Tensor;

use crate::common::compare::{assert_close, widen};
use crate::common::devices::devices;

const SIDE: usize = 6;
const SIZES: Sizes =
    Sizes { batch_size: 4, seq_len: SIDE * SIDE, vocab_size: 12, num_puzzle_ids: 9 };

/// Every kind of model that takes packed rows.
fn models() -> Vec<(&'static str, ModelConfig)> {
    let rope = reasoner::Config {
        hidden_size: 32,
        num_heads: 2,
        h_layers: 2,
        l_layers: 1,
        puzzle_emb_ndim: 50, // two positions of prefix
        halt_max_steps: 3,
        ..reasoner::Config::default()
    };
    let learned = reasoner::Config {
        pos_encodings: reasoner::PosEncodings::Learned,
        puzzle_emb_ndim: 32,
        q_continue: false,
        ..rope.clone()
    };
    let trm = trm::Config {
        hidden_size: 32,
        num_heads: 2,
        layers: 1,
        puzzle_emb_ndim: 32,
        mlp_t: false,
        ..trm::Config::default()
    };
    let transformer = transformer::Config {
        hidden_size: 32,
        num_heads: 2,
        layers: 2,
        dropout: 0.0,
        ..transformer::Config::default()
    };
    vec![
        ("hrm", rope.into()),
        ("hrm with learned positions", learned.into()),
        ("trm", trm.into()),
        ("transformer", transformer.into()),
    ]
}

/// A row as training has it.
#[derive(Clone)]
struct Row {
    window: Window,
    tokens: Vec<i32>,
    labels: Vec<i32>,
    puzzle_id: i32,
}

fn rows(windows: &[Window]) -> Vec<Row> {
    let mut rng = Rng::new(3, Stream::Test, 0);
    let row = |(i, &window): (usize, &Window)| {
        let mut below =
            |end: u32| -> Vec<i32> { (0..window.len()).map(|_| rng.below(end) as i32).collect() };
        let (tokens, mut labels) = (below(12), below(12));
        labels.iter_mut().step_by(3).for_each(|label| *label = IGNORE);
        Row { window, tokens, labels, puzzle_id: 1 + i as i32 }
    };
    windows.iter().enumerate().map(row).collect()
}

const fn window(top: u8, left: u8, h: u8, w: u8) -> Window {
    Window { top, left, h, w }
}

/// Everything that a segment gives, row by row, and the sum of the gradients.
struct Out {
    logits: Vec<Vec<f64>>,
    q: Vec<f64>,
    rows: Vec<f64>,
    states: Vec<Vec<Vec<f64>>>,
    gradient: Vec<f64>,
    puzzle: Vec<f64>,
}

/// Two training segments of `rows` in slots with room for `slots` cells each, of which
/// `global_batch` rows make a step.
fn train(model: &dyn Model, rows: &[Row], slots: Option<&[usize]>, global_batch: usize) -> Out {
    let (device, b) = (model.device(), rows.len());
    let carry = match slots {
        Some(slots) => Carry::packed(model, slots),
        None => Carry::of_rows(model, b),
    };
    let carry = carry.unwrap();
    let (mut inputs, mut labels, mut cells) = (vec![], vec![], vec![]);
    for (row, room) in rows.iter().zip(carry.layout.cells().sizes()) {
        let end = inputs.len() + room;
        inputs.extend(&row.tokens);
        labels.extend(&row.labels);
        cells.extend(row.window.cells(SIDE).map(|cell| cell as i32));
        inputs.resize(end, 0);
        labels.resize(end, IGNORE);
        cells.resize(end, 0);
    }
    let ids: Vec<i32> = rows.iter().map(|row| row.puzzle_id).collect();
    let batch = match slots {
        Some(_) => DeviceBatch::packed(device, &carry.layout),
        None => DeviceBatch::new(device, b, model.dims().seq_len),
    };
    let batch = batch.unwrap();
    batch.upload(&inputs, &labels, &ids).unwrap();
    if let Some(placed) = &batch.placed {
        let prefix = model.dims().prefix;
        let lengths: Vec<i32> = rows.iter().map(|row| (prefix + row.window.len()) as i32).collect();
        placed.lengths.upload(&lengths).unwrap();
        placed.places.upload(&carry.layout.places_of(&cells)).unwrap();
    }
    let space = Workspace::of_rows(model, b, global_batch).unwrap();
    let mut last = None;
    for number in 0..2 {
        let draw = Draw { seed: 1, number }.words();
        let draw = Tensor::from_slice(device, &draw, [draw.len()], Purpose::Workspace).unwrap();
        let tape = Tape::new(device);
        let mode = if number == 0 { Mode::Set } else { Mode::Add };
        carry.halt_all().unwrap();
        last = Some(model.train_segment(tape, &carry, &batch, &space, &draw, mode).unwrap());
    }
    let segment = last.unwrap();
    let of_rows = |x: &Tensor, from: usize| -> Vec<Vec<f64>> {
        let width = x.shape().last();
        let all = widen(&x.to_f32s().unwrap());
        let pieces = carry.layout.positions().pieces(&all, width);
        let used = |(piece, row): (&&[f64], &Row)| {
            let end = model.dims().prefix + row.window.len();
            piece[from * width..end * width].to_vec()
        };
        pieces.iter().zip(rows).map(used).collect()
    };
    Out {
        logits: of_rows(&segment.logits, model.dims().prefix),
        q: widen(&segment.q.to_f32s().unwrap()),
        rows: widen(&segment.rows.to_f32s().unwrap()),
        states: carry.states.iter().map(|(_, state)| of_rows(state, 0)).collect(),
        gradient: widen(&model.params().grad.to_f32s().unwrap()),
        puzzle: space.puzzle_rows.map_or(vec![], |(_, d)| widen(&d.to_f32s().unwrap())),
    }
}

/// One row after the other, each alone in a batch.
fn one_at_a_time(of: usize, run: impl Fn(usize) -> Out) -> Out {
    let outs: Vec<Out> = (0..of).map(run).collect();
    let (mut logits, mut states) = (vec![], vec![vec![]; outs[0].states.len()]);
    let (mut q, mut rows, mut puzzle) = (vec![], vec![], vec![]);
    let mut gradient = vec![0.0; outs[0].gradient.len()];
    for out in outs {
        logits.extend(out.logits);
        states.iter_mut().zip(out.states).for_each(|(all, own)| all.extend(own));
        q.extend(out.q);
        rows.extend(out.rows);
        puzzle.extend(out.puzzle);
        gradient.iter_mut().zip(out.gradient).for_each(|(sum, x)| *sum += x);
    }
    Out { logits, q, rows, states, gradient, puzzle }
}

fn assert_same(at: &str, got: &Out, want: &Out, tolerance: f64) {
    let close = |what: &str, got: &[f64], want: &[f64]| {
        assert_close(&format!("{at}: {what}"), got, want, tolerance);
    };
    for (i, (got, want)) in got.logits.iter().zip(&want.logits).enumerate() {
        close(&format!("logits of row {i}"), got, want);
    }
    for (got, want) in got.states.iter().zip(&want.states) {
        for (i, (got, want)) in got.iter().zip(want).enumerate() {
            close(&format!("state of row {i}"), got, want);
        }
    }
    close("q", &got.q, &want.q);
    close("gradient", &got.gradient, &want.gradient);
    assert_eq!(got.logits.len(), want.logits.len(), "{at}");
    if !want.puzzle.is_empty() {
        close("puzzle gradient", &got.puzzle, &want.puzzle);
    }
    // Hits depend on which of two equal logits is larger.
    let loss = |rows: &[f64]| rows.chunks(4).map(|row| row[0]).collect::<Vec<f64>>();
    close("losses", &loss(&got.rows), &loss(&want.rows));
}

fn build(device: &Device, config: &ModelConfig, sizes: Sizes, dtype: DType) -> Box<dyn Model> {
    let compute = Compute { dtype, seed: 5, ..Compute::default() };
    let model = ModelShape::new(config.clone(), sizes).build(device, compute).unwrap();
    // Embeddings and heads that start at 0 would hide what they do.
    for (i, (name, tensor)) in model.tensors().unwrap().into_iter().enumerate() {
        if name.contains("puzzle_emb") || name.contains("q_head.weight") {
            let mut rng = Rng::new(i as u64, Stream::Test, 1);
            let values: Vec<f32> = (0..tensor.elems()).map(|_| 0.3 * rng.normal() as f32).collect();
            tensor.upload(&values).unwrap();
        }
    }
    model.refresh().unwrap();
    model
}

const DTYPES: [(DType, f64); 2] = [(DType::F32, 2e-5), (DType::Bf16, 0.03)];

#[test]
fn a_row_in_a_packed_batch_is_the_row_alone() {
    let windows = [window(0, 0, 6, 5), window(1, 2, 4, 3), window(3, 0, 2, 6), window(5, 5, 1, 1)];
    let rows = rows(&windows);
    for (device_name, device) in devices() {
        for (name, config) in models() {
            for (dtype, tolerance) in DTYPES {
                let model = &*build(&device, &config, SIZES, dtype);
                let together = train(model, &rows, Some(&[33, 12, 20, 4]), 4);
                let alone =
                    one_at_a_time(4, |i| train(model, &rows[i..=i], Some(&[windows[i].len()]), 4));
                let at = format!("{name} in {dtype} on {device_name}");
                assert_same(&at, &together, &alone, tolerance);
            }
        }
    }
}

#[test]
fn whole_canvases_packed_are_padded_ones_bit_for_bit() {
    let rows = rows(&[Window::whole(SIDE); 4]);
    for (device_name, device) in devices() {
        for (name, config) in models() {
            for (dtype, _) in DTYPES {
                let model = &*build(&device, &config, SIZES, dtype);
                let packed = train(model, &rows, Some(&[SIDE * SIDE; 4]), 4);
                let padded = train(model, &rows, None, 4);
                let at = format!("{name} in {dtype} on {device_name}");
                assert_same(&at, &packed, &padded, 0.0);
                assert_eq!(packed.rows, padded.rows, "{at}");
            }
        }
    }
}

/// The first lines of a canvas have the places that a smaller canvas has.
#[test]
fn whole_lines_are_a_canvas_of_their_own() {
    let windows = [window(0, 0, 5, 6), window(0, 0, 3, 6), window(0, 0, 1, 6)];
    let rows = rows(&windows);
    for (device_name, device) in devices() {
        for (name, config) in models() {
            for (dtype, tolerance) in DTYPES {
                let model = &*build(&device, &config, SIZES, dtype);
                let packed = train(model, &rows, Some(&[31, 24, 6]), 3);
                let tensors: HashMap<String, Tensor> =
                    model.tensors().unwrap().into_iter().collect();
                let padded = one_at_a_time(3, |i| {
                    let sizes = Sizes { seq_len: windows[i].len(), batch_size: 1, ..SIZES };
                    let small = build(&device, &config, sizes, dtype);
                    for (name, tensor) in small.tensors().unwrap() {
                        // Only a table of learned positions is smaller.
                        let values = tensors[&name].to_f32s().unwrap();
                        tensor.upload(&values[..tensor.elems()]).unwrap();
                    }
                    small.refresh().unwrap();
                    let mut out = train(&*small, &rows[i..=i], None, 3);
                    out.gradient = by_name(&*small, &*model);
                    out
                });
                let packed = Out { gradient: by_name(model, model), ..packed };
                let at = format!("{name} in {dtype} on {device_name}");
                assert_same(&at, &packed, &padded, tolerance);
            }
        }
    }
}

/// Gradients of `of` in the order and the sizes of `like`: a table of positions is filled up.
fn by_name(of: &dyn Model, like: &dyn Model) -> Vec<f64> {
    let mut all = vec![];
    for name in like.params().names() {
        let part = |model: &dyn Model| model.params().part(&model.params().grad, name).unwrap();
        let mut own = widen(&part(of).to_f32s().unwrap());
        assert!(own.len() == part(like).elems() || name == EMBED_POS, "{name}");
        own.resize(part(like).elems(), 0.0);
        all.extend(own);
    }
    all
}
