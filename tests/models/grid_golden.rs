//! The grid model against plain PyTorch: a training pass with gradients, ten steps of NorMuon and
//! AdamW, answers read token by token.

use std::sync::Arc;

use hrm::backend::Device;
use hrm::data::{Batch, Lengths, Sequence};
use hrm::dtype::DType;
use hrm::models::decode::Next;
use hrm::models::grid_lm::{Config, Recompute};
use hrm::models::{Carry, DeviceBatch, ModelShape, Sizes, Workspace};
use hrm::ops::act_halt::metric;
use hrm::ops::normuon::Hyper;
use hrm::sequence::{Position, TURNS, VOCABULARY};
use hrm::train::optimizer::{OptimizerConfig, Rates, Rule};
use hrm::train::trainer::{Options, Trainer};
use serde_json::Value;

use super::segments::{GRAD_TOLERANCE, TOLERANCE};
use crate::common::compare::{relative_error, widen};
use crate::common::devices::devices;
use crate::common::golden::{self, Golden};

/// A canvas with room for every place of the goldens: an answer may be one long row.
const SIDE: usize = 30;
/// Of weights after ten steps: orthogonalised updates double what differs in a gradient.
const STEPS_TOLERANCE: f64 = 2e-3;

#[test]
fn golden_grid_lm_every_tensor() {
    let of_grid = |name: &str, _: &Value| name.starts_with("grid_lm");
    for place in golden::find("of the grid model (grid_lm)", of_grid) {
        for (device_name, device) in devices() {
            println!("{} on {device_name}", place.name);
            let golden = place.open();
            check(&device, &golden);
            golden.finish();
        }
    }
}

fn check(device: &Device, golden: &Golden) {
    let c = &golden.json["config"];
    let int = |key: &str| c[key].as_u64().unwrap_or_else(|| panic!("config.{key}")) as usize;
    let config = Config {
        hidden_size: int("hidden_size"),
        num_heads: int("num_heads"),
        layers: int("layers"),
        expansion: c["expansion"].as_f64().expect("config.expansion"),
        dropout: 0.0,
    };
    let steps: Vec<Step> = (1..=10).map(|t| Step::read(golden, &format!("step{t}"))).collect();
    let rooms = |step: &Step| step.rows.iter().map(|(s, ..)| s.tokens.len()).collect::<Vec<_>>();
    let shares = rooms(&steps[0]).into_iter().map(|room| (room, 1.0));
    let lengths = Lengths::from_weights(shares.fold(Default::default(), |mut all, (room, w)| {
        *std::collections::BTreeMap::entry(&mut all, room).or_insert(0.0) += w;
        all
    }));
    let rows = steps[0].rows.len();
    let sizes = Sizes {
        batch_size: rows,
        seq_len: SIDE * SIDE,
        vocab_size: 12,
        num_puzzle_ids: int("tasks") * TURNS,
    };
    let shape = ModelShape::new(config, sizes).with_lengths(Some(Arc::new(lengths)));
    let mut trainer = Trainer::new(device, &shape, options(&golden.json)).unwrap();
    let params = trainer.model.params();
    assert_eq!(golden.names("w/").len(), params.names().count(), "{}: parameters", golden.name);
    for name in params.names() {
        let (tensor, full) = (params.part(&params.master, name).unwrap(), format!("w/{name}"));
        assert_eq!(tensor.shape().dims(), golden.shape(&full), "{full}");
        tensor.upload(&golden.f32s(&full)).unwrap();
    }
    trainer.model.refresh().unwrap();
    answers(&trainer, golden);
    logits(&trainer, golden, &steps[0]);
    let o = &golden.json["optimizer"];
    let number = |key: &str| o[key].as_f64().unwrap_or_else(|| panic!("optimizer.{key}"));
    let rates = Rates { lr: number("lr"), muon_lr: number("muon_lr"), ..Rates::default() };
    let slots = shape.slots().expect("packed");
    for (t, step) in (1..).zip(&steps) {
        let report = trainer.step(vec![step.batch(&slots)], rates).unwrap();
        let losses = golden.f64s(&format!("step{t}/row_losses"));
        let (got, want) = (report.sums[metric::LM_LOSS], losses.iter().sum::<f64>());
        let tolerance = if t == 1 { TOLERANCE } else { STEPS_TOLERANCE };
        golden.judge(&format!("step{t}/row_losses"), ((got - want) / want).abs(), tolerance);
        golden.check(&format!("step{t}/grad_norm"), &[report.grad_norm as f64], tolerance);
        if t == 1 {
            // Before it was clipped, as the reference keeps it.
            let params = trainer.model.params();
            for name in params.names() {
                let gradient = params.part(&params.grad, name).unwrap().to_f32s().unwrap();
                golden.check_f32(&format!("step1/grad/{name}"), &gradient, GRAD_TOLERANCE);
            }
        }
    }
    let params = trainer.model.params();
    for name in params.names() {
        let got = widen(&params.part(&params.master, name).unwrap().to_f32s().unwrap());
        golden.check(&format!("step10/param/{name}"), &got, STEPS_TOLERANCE);
    }
}

fn options(json: &Value) -> Options {
    let (o, clip) = (&json["optimizer"], json["clip"].as_f64().expect("clip"));
    let number = |key: &str| o[key].as_f64().unwrap_or_else(|| panic!("optimizer.{key}"));
    let beta = |i: usize| o["betas"][i].as_f64().expect("optimizer.betas");
    Options {
        dtype: DType::F32,
        recompute: Recompute::None,
        grad_accum: 1,
        optimizer: OptimizerConfig {
            rule: Rule::NorMuon(Hyper { momentum: number("momentum"), beta2: number("beta2") }),
            beta1: beta(0),
            beta2: beta(1),
            weight_decay: number("weight_decay"),
            puzzle_emb_weight_decay: 0.0,
            clip,
            ema: 0.0,
        },
        seed: 0,
    }
}

/// Sequences, their conditions and their places in the golden, longest first as slots are.
struct Step {
    rows: Vec<(Sequence, u32, usize)>,
}

impl Step {
    /// The reference also reads each sequence's end, which nothing follows.
    fn read(golden: &Golden, at: &str) -> Self {
        let ints = |what: &str| golden.i32s(&format!("{at}/{what}"));
        let (tokens, labels, xyz) = (ints("tokens"), ints("labels"), ints("places"));
        let (lengths, tasks, turns) = (ints("lengths"), ints("task"), ints("turn"));
        let (mut start, mut rows) = (0, vec![]);
        for (row, &length) in lengths.iter().enumerate() {
            let own = start..start + length as usize - 1;
            let place = |at: &[i32]| {
                let [x, y, z] = [0, 1, 2].map(|axis| at[axis] as usize);
                Position::new(x, y, z).place(SIDE) as i32
            };
            let sequence = Sequence {
                tokens: tokens[own.clone()].to_vec(),
                places: xyz[3 * own.start..3 * own.end].chunks_exact(3).map(place).collect(),
                labels: labels[own].to_vec(),
            };
            rows.push((sequence, condition(tasks[row], turns[row]), start));
            start += length as usize;
        }
        rows.sort_by_key(|(sequence, ..)| std::cmp::Reverse(sequence.tokens.len()));
        Self { rows }
    }

    fn batch(&self, slots: &[usize]) -> Batch {
        let mut batch = Batch { real_rows: self.rows.len(), ..Batch::default() };
        for ((sequence, condition, _), &slot) in self.rows.iter().zip(slots) {
            batch.push_sequence(sequence, *condition, slot).unwrap();
        }
        batch
    }
}

fn condition(task: i32, turn: i32) -> u32 {
    task as u32 * TURNS as u32 + turn as u32
}

/// Logits of the first step's sequences, in one packed batch.
fn logits(trainer: &Trainer, golden: &Golden, step: &Step) {
    let (model, rooms) = (&*trainer.model, step.rows.iter().map(|(s, ..)| s.tokens.len()));
    let rooms: Vec<usize> = rooms.collect();
    let carry = Carry::packed(model, &rooms).unwrap();
    let device_batch = DeviceBatch::packed(model.device(), &carry.layout).unwrap();
    let batch = step.batch(&rooms);
    device_batch.upload(&batch.inputs, &batch.labels, &batch.puzzle_ids).unwrap();
    let placed = device_batch.placed.as_ref().unwrap();
    placed.lengths.upload(&batch.lengths).unwrap();
    placed.places.upload(&batch.cells).unwrap();
    let space = Workspace::of_rows(model, rooms.len(), rooms.len()).unwrap();
    let segment = model.eval_segment(&carry, &device_batch, &space).unwrap();
    let (got, all) = (segment.logits.to_f32s().unwrap(), golden.f64s("step1/logits"));
    let (mut want, mut start) = (vec![], 0);
    let mut of_row = step.rows.iter().map(|(_, _, at)| *at);
    for room in rooms {
        let at = of_row.next().unwrap();
        want.extend_from_slice(&all[at * VOCABULARY..][..room * VOCABULARY]);
        start += room;
    }
    assert_eq!(got.len(), start * VOCABULARY);
    golden.judge("step1/logits", relative_error(&widen(&got), &want), TOLERANCE);
}

/// What each of the reference's own tokens is followed by, read from a cache; all answers at once.
fn answers(trainer: &Trainer, golden: &Golden) {
    let (model, count) = (&*trainer.model, 3);
    let decoder = model.decoder().expect("a decoder");
    let memory = decoder.memory(count).unwrap();
    let read: Vec<(Vec<i32>, Vec<i32>, u32, usize)> =
        (0..count).map(|i| question(golden, &format!("answer{i}"))).collect();
    let mut logits = vec![vec![]; count];
    for at in 0..read.iter().map(|(tokens, ..)| tokens.len()).max().unwrap() {
        let of = |part: &dyn Fn(usize) -> i32, idle| -> Vec<i32> {
            let is_read = |i: usize| at < read[i].0.len();
            (0..count).map(|i| if is_read(i) { part(i) } else { idle }).collect()
        };
        let conditions: Vec<i32> = read.iter().map(|(_, _, id, _)| *id as i32).collect();
        let next = Next {
            tokens: &of(&|i| read[i].0[at], 0),
            places: &of(&|i| read[i].1[at], 0),
            conditions: &conditions,
            lengths: &of(&|_| at as i32, -1),
        };
        let out = decoder.read(&memory, &next).unwrap().to_f32s().unwrap();
        for (i, own) in out.chunks_exact(VOCABULARY).enumerate() {
            if at < read[i].0.len() && at + 1 >= read[i].3 {
                logits[i].extend_from_slice(own);
            }
        }
    }
    for (i, got) in logits.iter().enumerate() {
        golden.check_f32(&format!("answer{i}/logits"), got, TOLERANCE);
    }
}

/// Tokens and places of a question with its answer but for the last token, its condition, the
/// length of the question.
fn question(golden: &Golden, at: &str) -> (Vec<i32>, Vec<i32>, u32, usize) {
    let ints = |what: &str| golden.i32s(&format!("{at}/{what}"));
    let (h, w) = match *golden.shape(&format!("{at}/input")) {
        [h, w] => (h, w),
        ref other => panic!("{at}/input is {other:?}"),
    };
    let cells = ints("input").into_iter().map(|cell| cell as u8).collect();
    let input = hrm::data::Grid::new(h, w, cells).unwrap();
    let Sequence { mut tokens, mut places, .. } = Sequence::prompt(&input, SIDE);
    let (asked, answer) = (tokens.len(), ints("answer"));
    let (mut x, mut y) = (0, 0);
    for &token in &answer[..answer.len() - 1] {
        tokens.push(token);
        places.push(Position::new(x, y, 3).place(SIDE) as i32);
        (x, y) = if token == hrm::sequence::NEWLINE { (0, y + 1) } else { (x + 1, y) };
    }
    let [task, turn] = ["task", "turn"].map(|what| ints(what)[0]);
    (tokens, places, condition(task, turn), asked)
}
