//! The optimizers on stored gradients, at 1e-6 absolute.

use hrm::backend::{Device, Purpose};
use hrm::dtype::DType;
use hrm::ops::adam::{self, Hyper, Moments, Rule};
use hrm::ops::{global_norm, sign_sgd_rows};
use hrm::tensor::Tensor;
use serde_json::Value;

use crate::common::compare::{absolute_error, widen};
use crate::common::devices::devices;
use crate::common::golden::{self, Golden};

const TOLERANCE: f64 = 1e-6;
const CLIP: f32 = 1.0;

/// The golden's parameters one after another in a flat buffer, as a model has them.
struct Flat {
    /// Name, start, elements.
    parts: Vec<(String, usize, usize)>,
    p: Tensor,
    moments: Moments,
}

impl Flat {
    fn new(golden: &Golden, device: &Device) -> Self {
        let (mut parts, mut values) = (vec![], vec![]);
        for full in golden.names("init/") {
            let own = golden.f32s(&full);
            let name = full.strip_prefix("init/").unwrap().to_owned();
            parts.push((name, values.len(), own.len()));
            values.extend(own);
        }
        assert!(!parts.is_empty(), "{}: no init/*", golden.name);
        let zeros = vec![0.0; values.len()];
        let moments = Moments { m: upload(device, &zeros), v: upload(device, &zeros) };
        Self { parts, p: upload(device, &values), moments }
    }

    fn gradient(&self, golden: &Golden, step: u64) -> Tensor {
        let read =
            |(name, ..): &(String, usize, usize)| golden.f32s(&format!("step{step}/grad/{name}"));
        let values: Vec<f32> = self.parts.iter().flat_map(read).collect();
        upload(self.p.device(), &values)
    }

    fn part(&self, flat: &Tensor, name: &str) -> Vec<f64> {
        let (_, start, elems) = self.parts.iter().find(|(n, ..)| n == name).expect("known name");
        widen(&flat.view(*start, [*elems]).unwrap().download::<f32>().unwrap())
    }
}

fn upload(device: &Device, values: &[f32]) -> Tensor {
    Tensor::from_slice(device, values, [values.len()], Purpose::Weights).unwrap()
}

fn hyper(golden: &Golden, t: u64) -> Hyper {
    let json = &golden.json;
    let number = |v: &serde_json::Value| v.as_f64().expect("a number");
    Hyper {
        lr: number(&json["lr"][t as usize - 1]),
        weight_decay: number(&json["weight_decay"]),
        beta1: number(&json["betas"][0]),
        beta2: number(&json["betas"][1]),
        t,
    }
}

fn steps(golden: &Golden) -> u64 {
    golden.json["lr"].as_array().expect("lr").len() as u64
}

/// One rule over all steps; everything that the file holds under `run` is compared.
fn follow(device: &Device, golden: &Golden, run: &str, max_norm: f32, not_matched: Option<&str>) {
    let flat = Flat::new(golden, device);
    let guard = upload(device, &[0.0; global_norm::GUARD]);
    let rule = if run == "atan2" { Rule::AdamAtan2 } else { Rule::AdamW };
    for t in 1..=steps(golden) {
        let g = flat.gradient(golden, t);
        global_norm::guard(&g, &upload(device, &[0.0]), max_norm, &guard).unwrap();
        let factors = hyper(golden, t).on(device).unwrap();
        adam::step(rule, &flat.p, None, &g, &flat.moments, &guard, &factors).unwrap();
        let at = format!("{run}/step{t}/");
        let names = golden.names(&at);
        assert!(!names.is_empty(), "{}: no {at}*", golden.name);
        for full in names {
            let got = match full.strip_prefix(&at).unwrap().split_once('/') {
                Some(("exp_avg", name)) => flat.part(&flat.moments.m, name),
                Some(("exp_avg_sq", name)) => flat.part(&flat.moments.v, name),
                Some((kind, _)) => panic!("{full}: {kind} is not known"),
                None if full.ends_with("/grad_norm") => vec![widen(&guard.download().unwrap())[0]],
                None => flat.part(&flat.p, full.strip_prefix(&at).unwrap()),
            };
            golden.check_absolute(&full, &got, TOLERANCE);
        }
        for full in not_matched.iter().flat_map(|run| golden.names(&format!("{run}/step{t}/"))) {
            let got = flat.part(&flat.p, full.rsplit('/').next().unwrap());
            let error = absolute_error(&got, &golden.f64s(&full));
            assert!(error > 10.0 * TOLERANCE, "{full}: agrees with the textbook rule ({error:e})");
        }
    }
}

fn follow_sparse(device: &Device, golden: &Golden) {
    let shape = golden.shape("sparse/init");
    let table =
        Tensor::from_slice(device, &golden.f32s("sparse/init"), shape, Purpose::Weights).unwrap();
    let guard = upload(device, &[0.0, 1.0, 1.0]);
    for t in 1.. {
        let read = |what: &str| format!("sparse/step{t}/{what}");
        if !golden.has(&read("ids")) {
            break;
        }
        let (ids, g) = (golden.i32s(&read("ids")), golden.f32s(&read("local_grad")));
        let g_shape = golden.shape(&read("local_grad"));
        let g = Tensor::from_slice(device, &g, g_shape, Purpose::Workspace).unwrap();
        let ids = Tensor::from_slice(device, &ids, [ids.len()], Purpose::Workspace).unwrap();
        assert_eq!(ids.dtype(), DType::I32);
        // The rate and the decay that the golden's `rules.sparse` states.
        let factors = upload(device, &sign_sgd_rows::factors(0.01 * t as f64, 0.1));
        sign_sgd_rows::step(&table, &ids, &g, &guard, &factors).unwrap();
        golden.check_absolute(&read("weights"), &widen(&table.download().unwrap()), TOLERANCE);
    }
}

#[test]
fn golden_optim_unit_every_tensor() {
    let of_optimizers =
        |name: &str, json: &Value| name.starts_with("optim") && json["rules"].is_object();
    for place in golden::find("of optimizers (optim_unit)", of_optimizers) {
        for (device_name, device) in devices() {
            let golden = place.open();
            println!("{} on {device_name}", place.name);
            follow(&device, &golden, "atan2", 0.0, Some("atan2_textbook"));
            follow(&device, &golden, "adamw", 0.0, None);
            follow(&device, &golden, "adamw_clip", CLIP, None);
            follow_sparse(&device, &golden);
            golden.finish();
        }
    }
}
