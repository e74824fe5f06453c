//! Parameters after optimizer steps, against the goldens of the official training scripts.

use std::collections::HashMap;

use hrm::backend::Device;
use hrm::data::Batch;
use hrm::dtype::DType;
use hrm::models::ModelShape;
use hrm::models::hrm::Recompute;
use hrm::tensor::Tensor;
use hrm::train::optimizer::{OptimizerConfig, Rates, Rule};
use hrm::train::trainer::{Options, Trainer};
use serde_json::Value;

use super::hrm::{config, sizes};
use super::noise::Noise;
use super::segments::{PREFIX, TOLERANCE, check_sums, load_weights};
use crate::common::compare::{relative_error, widen};
use crate::common::devices::devices;
use crate::common::golden::{self, Golden};

/// Most elements of a tensor that may have no direction but rounding: of weights that hold queries,
/// keys and values together two thirds, where scores hardly depend on the first two.
const MOST_NOISE: f64 = 0.7;

#[test]
fn golden_hrm_optim_every_tensor() {
    let of_steps =
        |name: &str, json: &Value| name.starts_with("hrm_") && json["optimizer"].is_object();
    for place in golden::find("of optimizer steps (hrm_*_optim)", of_steps) {
        for (device_name, device) in devices() {
            let golden = place.open();
            let base = golden.beside(golden.json["base"].as_str().expect("base"));
            println!("{} on {device_name}", place.name);
            let shape = ModelShape::new(config(&base.json), sizes(&base.json));
            for (run, rule) in [("atan2", Rule::AdamAtan2), ("adamw", Rule::AdamW)] {
                let settings = settings(&golden.json["optimizer"], rule);
                let rates = |at: &str| {
                    let [puzzle_emb_lr, lr] = golden.f64s(&format!("{at}/lr"))[..] else {
                        panic!("lr")
                    };
                    Rates { lr, puzzle_emb_lr, ..Rates::default() }
                };
                follow(
                    &device,
                    &Run { golden: &golden, base: &base, name: run },
                    &shape,
                    settings,
                    rates,
                );
            }
            golden.finish();
        }
    }
}

/// Steps `<name>/step<n>` of a golden from the weights and on the batches of another.
pub struct Run<'a> {
    pub golden: &'a Golden,
    pub base: &'a Golden,
    pub name: &'a str,
}

/// The optimizer of a golden's json.
pub fn settings(optimizer: &Value, rule: Rule) -> OptimizerConfig {
    let number = |key: &str| optimizer[key].as_f64();
    let known = |key: &str| number(key).unwrap_or_else(|| panic!("optimizer.{key}"));
    OptimizerConfig {
        rule,
        beta1: known("beta1"),
        beta2: known("beta2"),
        weight_decay: known("weight_decay"),
        puzzle_emb_weight_decay: known("puzzle_emb_weight_decay"),
        clip: 0.0,
        ema: number("ema_rate").unwrap_or(0.0),
    }
}

pub fn follow(
    device: &Device,
    run: &Run,
    shape: &ModelShape,
    optimizer: OptimizerConfig,
    rates: impl Fn(&str) -> Rates,
) {
    let Run { golden, base, name: run } = *run;
    let options = Options {
        dtype: DType::F32,
        recompute: Recompute::None,
        grad_accum: 1,
        optimizer,
        seed: 0,
    };
    let mut trainer = Trainer::new(device, shape, options).unwrap();
    load_weights(&*trainer.model, base);
    // Averages start from the weights, and these have just changed.
    let state: HashMap<String, Tensor> = trainer.state().unwrap().into_iter().collect();
    for (name, average) in state.iter().filter_map(|(k, t)| Some((k.strip_prefix("ema.")?, t))) {
        average.copy_from(&state[&format!("{PREFIX}{name}")]).unwrap();
    }
    drop(state);
    let mut noise = Noise::default();

    for step in 1.. {
        let at = format!("{run}/step{step}");
        if golden.names(&format!("{at}/")).is_empty() {
            break;
        }
        let read = |name: &str| base.i32s(&format!("step{step}/batch/{name}"));
        let (inputs, labels, ids) = (read("inputs"), read("labels"), read("puzzle_identifiers"));
        let batch = Batch::new(inputs, labels, ids);
        let rates = rates(&at);
        let report = trainer.step(vec![batch], rates).unwrap();
        check_sums(golden, &at, &report.sums);
        check_segment(golden, &at, &trainer);
        note(&mut noise, &trainer, rates);
        check_state(golden, &at, &trainer, &noise);
        if run == "atan2" {
            refuse_textbook(golden, &trainer, step);
        }
    }
}

/// What the step's segment left, as far as the golden holds it.
fn check_segment(golden: &Golden, at: &str, trainer: &Trainer) {
    let present = |name: &str| Some(format!("{at}/{name}")).filter(|full| golden.has(full));
    let carry = trainer.carry(0);
    if let Some(full) = present("carry/steps") {
        golden.check_exact(&full, &carry.steps.download::<i32>().unwrap());
    }
    if let Some(full) = present("carry/halted") {
        golden.check_exact(&full, &carry.halted.download::<u8>().unwrap());
    }
    if let Some(full) = present("puzzle_emb.local_ids") {
        golden.check_exact(&full, &carry.current.puzzle_ids.download::<i32>().unwrap());
    }
    if let Some(full) = present("out/q_halt_logits") {
        let q = trainer.last_q().unwrap().download::<f32>().unwrap();
        let q_halt: Vec<f64> = q.chunks(2).map(|q| q[0] as f64).collect();
        golden.check(&full, &q_halt, TOLERANCE);
    }
    if let Some(full) = present(&format!("grad/{PREFIX}puzzle_emb.local_weights")) {
        let rows = trainer.puzzle_rows().unwrap().1.download::<f32>().unwrap();
        golden.check_f32(&full, &rows, 2.0 * TOLERANCE);
    }
}

/// Parameters, averages and moments after a step.
fn check_state(golden: &Golden, at: &str, trainer: &Trainer, noise: &Noise) {
    let state: HashMap<String, Tensor> = trainer.state().unwrap().into_iter().collect();
    for kind in ["param", "ema", "exp_avg", "exp_avg_sq"] {
        for full in golden.names(&format!("{at}/{kind}/")) {
            let name = full.strip_prefix(&format!("{at}/{kind}/{PREFIX}")).expect("prefix");
            let key = match kind {
                "param" => format!("{PREFIX}{name}"),
                _ => format!("{kind}.{name}"),
            };
            let got = widen(&state[&key].download::<f32>().unwrap());
            if kind.starts_with("exp") {
                golden.check(&full, &got, 2.0 * TOLERANCE);
                continue;
            }
            noise.check(golden, (&full, name), &got, TOLERANCE, MOST_NOISE);
        }
    }
}

fn note(noise: &mut Noise, trainer: &Trainer, rates: Rates) {
    let params = trainer.model.params();
    for name in params.names() {
        noise.note(name, &widen(&part(trainer, &params.grad, name)), rates.lr);
    }
    if let Some((name, _)) = trainer.model.puzzle_table() {
        noise.note(name, &puzzle_gradient(trainer), rates.puzzle_emb_lr);
    }
}

/// The bias correction inside atan2 is what the published package does *not* do.
fn refuse_textbook(golden: &Golden, trainer: &Trainer, step: u64) {
    let at = format!("atan2_textbook/step{step}");
    if golden.names(&format!("{at}/")).is_empty() {
        return;
    }
    golden.f64s(&format!("{at}/lr"));
    let mut differ = 0;
    let all = golden.names(&format!("{at}/param/"));
    for full in &all {
        let name = full.strip_prefix(&format!("{at}/param/{PREFIX}")).expect("prefix");
        let got = widen(&part(trainer, &trainer.model.params().master, name));
        // The bias starts at -5, so that a step of 1e-4 is a small share of it.
        differ += usize::from(relative_error(&got, &golden.f64s(full)) > 1e-6);
    }
    // What has no gradient moves by neither rule.
    assert!(differ > 0, "{at}: all {} tensors agree with the textbook", all.len());
}

fn part(trainer: &Trainer, flat: &Tensor, name: &str) -> Vec<f32> {
    trainer.model.params().part(flat, name).unwrap().download().unwrap()
}

/// Gradients of the touched rows at their places in the table, the rest zero.
fn puzzle_gradient(trainer: &Trainer) -> Vec<f64> {
    let (ids, rows) = trainer.puzzle_rows().unwrap();
    let d = rows.shape().last();
    let mut table = vec![0.0; trainer.model.puzzle_table().unwrap().1.elems()];
    let rows = rows.download::<f32>().unwrap();
    for (id, row) in ids.download::<i32>().unwrap().into_iter().zip(rows.chunks(d)) {
        let at = &mut table[id as usize * d..][..d];
        at.iter_mut().zip(row).for_each(|(sum, g)| *sum += *g as f64);
    }
    table
}
