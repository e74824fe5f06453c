//! Every tensor of a reasoner's golden: training segments with the carry running on, evaluation
//! segments, rotary tables, and the insides of the first segment call by call.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use hrm::backend::Purpose;
use hrm::models::{Carry, DeviceBatch, Model, Segment, Workspace};
use hrm::ops::act_halt::metric;
use hrm::ops::attention::Rope;
use hrm::ops::draw::Draw;
use hrm::ops::embedding;
use hrm::ops::layout::Layout;
use hrm::tape::{Mode, Tape, Var};
use hrm::tensor::Tensor;

use crate::common::compare::widen;
use crate::common::golden::Golden;

pub const TOLERANCE: f64 = 1e-3;
pub const GRAD_TOLERANCE: f64 = 2e-3;
/// Official names carry this before ours.
pub const PREFIX: &str = "model.inner.";

/// Fill a model with the golden's weights; none may be left over on either side.
pub fn load_weights(model: &dyn Model, golden: &Golden) {
    let tensors: HashMap<String, Tensor> = model.tensors().unwrap().into_iter().collect();
    let names = golden.names("w/");
    for full in &names {
        let tensor = &tensors[full.strip_prefix("w/").expect("prefix")];
        assert_eq!(tensor.shape().dims(), golden.shape(full), "{full}");
        tensor.upload(&golden.f32s(full)).unwrap();
    }
    assert_eq!(names.len(), tensors.len(), "{}: weights that the golden lacks", golden.name);
    model.refresh().unwrap();
}

pub fn load_batch(golden: &Golden, prefix: &str, batch: &DeviceBatch) {
    let read = |name: &str| golden.i32s(&format!("{prefix}/{name}"));
    batch.upload(&read("inputs"), &read("labels"), &read("puzzle_identifiers")).unwrap();
}

/// All segments of a golden; `rope`: the model's tables.
pub fn follow(golden: &Golden, model: &dyn Model, rope: Option<&Rope>) {
    let (device, dims) = (model.device(), model.dims());
    let global_batch = golden.json["global_batch_size"].as_u64().unwrap() as usize;
    load_weights(model, golden);
    let batch = DeviceBatch::new(device, dims.batch_size, dims.seq_len).unwrap();
    let space = Workspace::new(model, global_batch).unwrap();

    let carry = Carry::new(model).unwrap();
    for step in 1.. {
        let at = format!("step{step}");
        if golden.names(&format!("{at}/")).is_empty() {
            break;
        }
        load_batch(golden, &format!("{at}/batch"), &batch);
        let seen: Rc<RefCell<HashMap<String, Vec<f64>>>> = Rc::default();
        let sink = seen.clone();
        let counts: RefCell<HashMap<String, usize>> = RefCell::default();
        let tape = Tape::new(device).with_probe(Box::new(move |path, tensor| {
            let mut counts = counts.borrow_mut();
            let call = counts.entry(path.to_owned()).or_default();
            let values = widen(&tensor.download::<f32>().unwrap());
            sink.borrow_mut().insert(format!("debug/{path}/call{call}"), values);
            *call += 1;
        }));
        let draw = Draw { seed: 0, number: step }.words();
        let draw = Tensor::from_slice(device, &draw, [draw.len()], Purpose::Workspace).unwrap();
        let out = model.train_segment(tape, &carry, &batch, &space, &draw, Mode::Set).unwrap();
        let q_targets = space.q_targets.download::<f32>().unwrap();
        let q_continue: Vec<f32> = q_targets.chunks(2).map(|t| t[1]).collect();
        if golden.has(&format!("{at}/out/target_q_continue")) {
            golden.check_f32(&format!("{at}/out/target_q_continue"), &q_continue, TOLERANCE);
        }
        check_segment(golden, &at, &carry, &out, &space);
        for (name, tensor) in carry.tensors().into_iter().skip(4) {
            golden.check_exact(&format!("{at}/current/{name}"), &tensor.download::<i32>().unwrap());
        }
        check_gradients(golden, &at, model, &carry, &space);
        if step == 1 {
            check_debug(golden, model, &carry, &seen.borrow());
        }
    }

    if golden.has("rope/cos") {
        let rope = rope.expect("rope tables");
        golden.check_f32("rope/cos", &rope.cos.download().unwrap(), TOLERANCE);
        golden.check_f32("rope/sin", &rope.sin.download().unwrap(), TOLERANCE);
    }

    let carry = Carry::new(model).unwrap();
    load_batch(golden, "step1/batch", &batch);
    for step in 1.. {
        let at = format!("eval{step}");
        if golden.names(&format!("{at}/")).is_empty() {
            break;
        }
        let out = model.eval_segment(&carry, &batch, &space).unwrap();
        check_segment(golden, &at, &carry, &out, &space);
    }
}

fn check_segment(golden: &Golden, at: &str, carry: &Carry, out: &Segment, space: &Workspace) {
    let [_, t, v] = out.logits.dims("logits (B, T, V)").unwrap();
    let prefix = t - carry.current.inputs.shape().last();
    let logits = out.logits.download::<f32>().unwrap();
    let cells: Vec<f32> = logits.chunks(t * v).flat_map(|row| row[prefix * v..].to_vec()).collect();
    golden.check_f32(&format!("{at}/out/logits"), &cells, TOLERANCE);
    let q = out.q.download::<f32>().unwrap();
    let column = |i: usize| q.chunks(2).map(|q| q[i]).collect::<Vec<f32>>();
    golden.check_f32(&format!("{at}/out/q_halt_logits"), &column(0), TOLERANCE);
    golden.check_f32(&format!("{at}/out/q_continue_logits"), &column(1), TOLERANCE);
    golden.check_exact(&format!("{at}/carry/halted"), &carry.halted.download::<u8>().unwrap());
    golden.check_exact(&format!("{at}/carry/steps"), &carry.steps.download::<i32>().unwrap());
    golden.check_f32(&format!("{at}/carry/z_H"), &carry.states[0].1.download().unwrap(), TOLERANCE);
    golden.check_f32(&format!("{at}/carry/z_L"), &carry.states[1].1.download().unwrap(), TOLERANCE);
    let all_halted = carry.halted.download::<u8>().unwrap().iter().all(|h| *h != 0);
    golden.check_exact(&format!("{at}/all_halted"), &[all_halted as u8]);
    check_sums(golden, at, &widen(&space.metrics.download::<f32>().unwrap()));
}

pub fn check_sums(golden: &Golden, at: &str, sums: &[f64]) {
    let total =
        sums[metric::LM_LOSS] + 0.5 * (sums[metric::Q_HALT_LOSS] + sums[metric::Q_CONTINUE_LOSS]);
    let losses = [
        ("loss/total", total),
        ("loss/lm", sums[metric::LM_LOSS]),
        ("loss/q_halt", sums[metric::Q_HALT_LOSS]),
        ("loss/q_continue", sums[metric::Q_CONTINUE_LOSS]),
        ("metrics/accuracy", sums[metric::ACCURACY]),
    ];
    for (name, value) in losses {
        if golden.has(&format!("{at}/{name}")) {
            golden.check(&format!("{at}/{name}"), &[value], TOLERANCE);
        }
    }
    let counts = [
        ("metrics/count", metric::COUNT),
        ("metrics/exact_accuracy", metric::EXACT_ACCURACY),
        ("metrics/q_halt_accuracy", metric::Q_HALT_ACCURACY),
        ("metrics/steps", metric::STEPS),
    ];
    for (name, index) in counts {
        if golden.has(&format!("{at}/{name}")) {
            golden.check_exact(&format!("{at}/{name}"), &[sums[index]]);
        }
    }
}

fn check_gradients(golden: &Golden, at: &str, model: &dyn Model, carry: &Carry, space: &Workspace) {
    let gradient = |name: &str| -> Vec<f64> {
        let tensor = match name {
            "puzzle_emb.local_weights" => {
                space.puzzle_rows.as_ref().expect("puzzle rows").1.clone()
            }
            _ => model.params().part(&model.params().grad, name).expect("known name"),
        };
        widen(&tensor.download::<f32>().unwrap())
    };
    for kind in ["grad", "grad_norm"] {
        let prefix = format!("{at}/{kind}/");
        for full in golden.names(&prefix) {
            let name = full.strip_prefix(&format!("{prefix}{PREFIX}")).expect("prefix");
            let values = gradient(name);
            match kind {
                "grad" => golden.check(&full, &values, GRAD_TOLERANCE),
                _ => {
                    let norm = values.iter().map(|x| x * x).sum::<f64>().sqrt();
                    golden.check(&full, &[norm], GRAD_TOLERANCE);
                }
            }
        }
    }
    // No gradient is missing from the file either.
    for name in model.params().names() {
        let present = |kind: &str| golden.has(&format!("{at}/{kind}/{PREFIX}{name}"));
        assert!(present("grad") || present("grad_norm"), "{}: no gradient of {name}", golden.name);
    }
    let ids = format!("{at}/puzzle_emb.local_ids");
    if golden.has(&ids) {
        golden.check_exact(&ids, &carry.current.puzzle_ids.download::<i32>().unwrap());
    }
}

fn check_debug(
    golden: &Golden,
    model: &dyn Model,
    carry: &Carry,
    seen: &HashMap<String, Vec<f64>>,
) {
    for full in golden.names("debug/") {
        if full == "debug/embed_tokens/call0" {
            let table = model.params().part(&model.params().work, "embed_tokens.embedding_weight");
            let table = Var::constant(table.unwrap());
            let mut tape = Tape::no_grad(model.device());
            let tokens = &carry.current.inputs;
            let dims = model.dims();
            let layout = Layout::padded(model.device(), dims.batch_size, 0, dims.seq_len).unwrap();
            let e = embedding::forward(&mut tape, tokens, &table, None, None, 1.0, &layout);
            let e = e.unwrap();
            golden.check_f32(&full, &e.tensor.download().unwrap(), TOLERANCE);
            continue;
        }
        let key = if full.contains("/call") { full.clone() } else { format!("{full}/call0") };
        match seen.get(&key) {
            Some(values) => golden.check(&full, values, TOLERANCE),
            None => golden.fail(format!("{full}: the model has no such scope")),
        }
    }
}
