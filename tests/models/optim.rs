//! Parameters after optimizer steps, against the goldens of the official training script.

use hrm::backend::Device;
use hrm::dtype::DType;
use hrm::models::hrm::Recompute;
use hrm::train::optimizer::{Rates, Rule, Settings};
use hrm::train::trainer::{HostBatch, Options, Trainer};

use super::hrm::{PREFIX, TOLERANCE, check_sums, config, load_weights};
use crate::common::compare::{relative_error, widen};
use crate::common::devices::devices;
use crate::common::golden::Golden;

/// Below this share of a tensor's largest gradient an element's direction is rounding noise, which
/// sign and early atan2 steps blow up to a full step.
const NOISE: f64 = 1e-5;

#[test]
fn golden_hrm_optim_every_tensor() {
    for name in Golden::list(|name, json| name.starts_with("hrm_") && json["optimizer"].is_object())
    {
        for (device_name, device) in devices() {
            let Some(golden) = Golden::open(&name) else { continue };
            println!("{name} on {device_name}");
            for run in ["atan2", "adamw"] {
                follow(&device, &golden, run);
            }
            golden.finish();
        }
    }
}

fn follow(device: &Device, golden: &Golden, run: &str) {
    let Some(base) = Golden::open(golden.json["base"].as_str().expect("base")) else { return };
    let o = &golden.json["optimizer"];
    let number = |key: &str| o[key].as_f64().unwrap_or_else(|| panic!("optimizer.{key}"));
    let options = Options {
        dtype: DType::F32,
        grad_accum: 1,
        optimizer: Settings {
            rule: if run == "atan2" { Rule::AdamAtan2 } else { Rule::AdamW },
            beta1: number("beta1"),
            beta2: number("beta2"),
            weight_decay: number("weight_decay"),
            puzzle_emb_weight_decay: number("puzzle_emb_weight_decay"),
            clip: 0.0,
            ema: 0.0,
        },
        seed: 0,
    };
    let mut trainer = Trainer::new(device, config(&base.json, Recompute::None), options).unwrap();
    load_weights(&*trainer.model, &base);
    let mut noisy: std::collections::HashMap<String, Vec<bool>> = Default::default();

    for step in 1.. {
        let at = format!("{run}/step{step}");
        if golden.names(&format!("{at}/")).is_empty() {
            break;
        }
        let [puzzle_emb_lr, lr] = golden.f64s(&format!("{at}/lr"))[..] else { panic!("lr") };
        let read = |name: &str| base.i32s(&format!("step{step}/batch/{name}"));
        let (inputs, labels, ids) = (read("inputs"), read("labels"), read("puzzle_identifiers"));
        let batch = HostBatch { inputs: &inputs, labels: &labels, puzzle_ids: &ids };
        let report = trainer.step(&[batch], Rates { lr, puzzle_emb_lr }).unwrap();
        check_sums(golden, &at, &report.sums);

        let carry = trainer.carry(0);
        golden.check_exact(&format!("{at}/carry/steps"), &carry.steps.download::<i32>().unwrap());
        golden.check_exact(&format!("{at}/carry/halted"), &carry.halted.download::<u8>().unwrap());
        let local_ids = carry.current.puzzle_ids.download::<i32>().unwrap();
        golden.check_exact(&format!("{at}/puzzle_emb.local_ids"), &local_ids);
        let q = trainer.last_q().unwrap().download::<f32>().unwrap();
        let q_halt: Vec<f64> = q.chunks(2).map(|q| q[0] as f64).collect();
        golden.check(&format!("{at}/out/q_halt_logits"), &q_halt, TOLERANCE);

        let gradient = |name: &str| match name {
            "puzzle_emb.weights" => puzzle_gradient(&trainer),
            _ => widen(&part(&trainer, &trainer.model.params().grad, name)),
        };
        let local = format!("{at}/grad/{PREFIX}puzzle_emb.local_weights");
        if golden.has(&local) {
            let rows = trainer.puzzle_rows().unwrap().1.download::<f32>().unwrap();
            golden.check_f32(&local, &rows, 2.0 * TOLERANCE);
        }
        for full in golden.names(&format!("{at}/param/")) {
            let name = full.strip_prefix(&format!("{at}/param/{PREFIX}")).expect("prefix");
            let got = match name {
                "puzzle_emb.weights" => {
                    trainer.model.puzzle_table().unwrap().1.download::<f32>().unwrap()
                }
                _ => part(&trainer, &trainer.model.params().master, name),
            };
            let want = golden.f64s(&full);
            let g = gradient(name);
            let floor = NOISE * g.iter().fold(0.0_f64, |m, g| m.max(g.abs()));
            let noisy = noisy.entry(name.to_owned()).or_insert_with(|| vec![false; g.len()]);
            noisy.iter_mut().zip(&g).for_each(|(n, g)| *n |= *g != 0.0 && g.abs() < floor);
            let keep = |x: &[f64]| -> Vec<f64> {
                x.iter().zip(&*noisy).filter(|(_, n)| !**n).map(|(x, _)| *x).collect()
            };
            let share = noisy.iter().filter(|n| **n).count() as f64 / g.len() as f64;
            assert!(share <= 0.05, "{full}: {share} of the gradient is noise");
            let error = relative_error(&keep(&widen(&got)), &keep(&want));
            if !(error <= TOLERANCE) {
                golden.fail(format!("{full}: error {error:e}"));
            }
        }
        for (kind, flat) in
            [("exp_avg", &trainer.moments().m), ("exp_avg_sq", &trainer.moments().v)]
        {
            for full in golden.names(&format!("{at}/{kind}/")) {
                let name = full.strip_prefix(&format!("{at}/{kind}/{PREFIX}")).expect("prefix");
                golden.check(&full, &widen(&part(&trainer, flat, name)), 2.0 * TOLERANCE);
            }
        }
        if run == "atan2" {
            refuse_textbook(golden, &trainer, step);
        }
    }
}

/// The bias correction inside atan2 is what the published package does *not* do.
fn refuse_textbook(golden: &Golden, trainer: &Trainer, step: u64) {
    let at = format!("atan2_textbook/step{step}");
    if golden.names(&format!("{at}/")).is_empty() {
        return;
    }
    golden.f64s(&format!("{at}/lr"));
    for full in golden.names(&format!("{at}/param/")) {
        let name = full.strip_prefix(&format!("{at}/param/{PREFIX}")).expect("prefix");
        let got = widen(&part(trainer, &trainer.model.params().master, name));
        let error = relative_error(&got, &golden.f64s(&full));
        // The bias starts at -5, so that a step of 1e-4 is a small share of it.
        assert!(error > 1e-6, "{full}: agrees with the textbook rule ({error:e})");
    }
}

fn part(trainer: &Trainer, flat: &hrm::tensor::Tensor, name: &str) -> Vec<f32> {
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
