//! `train.optimizer=normuon`: PyTorch's ten steps on stored gradients, and a loss that falls.

use hrm::backend::{Device, Purpose};
use hrm::data::Batch;
use hrm::dtype::DType;
use hrm::models::hrm::{Config, Recompute};
use hrm::models::{ModelShape, Sizes};
use hrm::nn::init::Init;
use hrm::nn::params::{Params, Role, Spec};
use hrm::ops::act_halt::metric;
use hrm::ops::global_norm;
use hrm::ops::normuon::Hyper;
use hrm::tensor::Tensor;
use hrm::train::optimizer::{Optimizer, OptimizerConfig, Rates, Rule, StepFactors};
use hrm::train::trainer::{Options, Trainer};
use serde_json::Value;

use crate::common::compare::widen;
use crate::common::devices::devices;
use crate::common::golden::{self, Golden};

/// Newton-Schulz raises small singular values, and what rounding adds to them, nearly 500 times.
const TOLERANCE: f64 = 1e-4;

fn number(json: &Value, key: &str) -> f64 {
    json[key].as_f64().unwrap_or_else(|| panic!("{key}"))
}

/// What the golden says of a parameter.
fn spec(golden: &Golden, about: &Value) -> Spec {
    let name = about["name"].as_str().expect("a name");
    let spec = Spec::new(name, golden.shape(&format!("init/{name}")), Init::Constant(0.0));
    match about["blocks"].as_u64() {
        Some(blocks) => spec.hidden(blocks as usize, number(about, "decay_share")),
        None => Spec {
            role: match about["decays"].as_bool().expect("whether it decays") {
                true => Role::Decayed,
                false => Role::Undecayed,
            },
            ..spec
        },
    }
}

fn follow(device: &Device, golden: &Golden) {
    let json = &golden.json;
    let specs: Vec<Spec> =
        json["parameters"].as_array().expect("all").iter().map(|p| spec(golden, p)).collect();
    let params = Params::new(device, &specs, DType::F32, 0).unwrap();
    let fill = |flat: &Tensor, at: &str| {
        for spec in &specs {
            let values = golden.f32s(&format!("{at}/{}", spec.name));
            params.part(flat, &spec.name).unwrap().upload(&values).unwrap();
        }
    };
    fill(&params.master, "init");
    let beta = |i: usize| json["betas"][i].as_f64().expect("a beta");
    let hyper = Hyper { momentum: number(json, "momentum"), beta2: number(json, "beta2") };
    let settings = OptimizerConfig {
        rule: Rule::NorMuon(hyper),
        beta1: beta(0),
        beta2: beta(1),
        weight_decay: number(json, "weight_decay"),
        puzzle_emb_weight_decay: 0.0,
        clip: number(json, "clip"),
        ema: 0.0,
    };
    let of = |values: &[f32]| {
        Tensor::from_slice(device, values, [values.len()], Purpose::Workspace).unwrap()
    };
    let guard = of(&[0.0; global_norm::GUARD]);
    let optimizer = Optimizer::new(device, &params, settings, guard.clone()).unwrap();
    let rates =
        Rates { lr: number(json, "lr"), muon_lr: number(json, "muon_lr"), ..Rates::default() };
    let mut steps = 0;
    for t in 1.. {
        let at = format!("step{t}");
        if !golden.has(&format!("{at}/grad_norm")) {
            break;
        }
        steps = t;
        fill(&params.grad, &format!("{at}/grad"));
        let factors = StepFactors::over(&of(&optimizer.factors(rates, t))).unwrap();
        optimizer.step(&params, None, &of(&[0.0]), &factors).unwrap();
        let norm = guard.download::<f32>().unwrap()[0];
        golden.check(&format!("{at}/grad_norm"), &[norm as f64], TOLERANCE);
        for spec in &specs {
            let p = params.part(&params.master, &spec.name).unwrap();
            let full = format!("{at}/param/{}", spec.name);
            golden.check(&full, &widen(&p.download().unwrap()), TOLERANCE);
        }
    }
    assert!(steps >= 10, "{steps} steps");
    for (name, moment) in optimizer.state(&params).unwrap() {
        let (role, name) = name.split_once('.').expect("a role");
        let full = format!("step{steps}/{role}/{name}");
        golden.check(&full, &widen(&moment.download().unwrap()), TOLERANCE);
    }
}

#[test]
fn golden_normuon_every_tensor() {
    let of_normuon = |_: &str, json: &Value| json["parameters"].is_array();
    for place in golden::find("of NorMuon's steps (normuon)", of_normuon) {
        for (device_name, device) in devices() {
            println!("{} on {device_name}", place.name);
            let golden = place.open();
            follow(&device, &golden);
            golden.finish();
        }
    }
}

#[test]
fn the_loss_of_a_small_hrm_falls() {
    let config = Config {
        hidden_size: 32,
        num_heads: 2,
        h_layers: 1,
        l_layers: 1,
        h_cycles: 1,
        l_cycles: 1,
        puzzle_emb_ndim: 0,
        halt_max_steps: 1,
        ..Config::default()
    };
    let sizes = Sizes { batch_size: 4, seq_len: 9, vocab_size: 6, num_puzzle_ids: 1 };
    let (shape, cells) = (ModelShape::new(config, sizes), sizes.batch_size * sizes.seq_len);
    let inputs: Vec<i32> = (0..cells).map(|i| (i * i % 5) as i32).collect();
    let labels = inputs.iter().map(|token| (token + 1) % 5).collect();
    let batch = Batch::new(inputs, labels, vec![0; sizes.batch_size]);
    for dtype in [DType::F32, DType::Bf16] {
        let optimizer = OptimizerConfig {
            rule: Rule::NorMuon(Hyper { momentum: 0.95, beta2: 0.95 }),
            beta1: 0.9,
            beta2: 0.95,
            weight_decay: 0.1,
            puzzle_emb_weight_decay: 0.0,
            clip: 1.0,
            ema: 0.0,
        };
        let (recompute, grad_accum, seed) = (Recompute::None, 1, 3);
        let options = Options { dtype, recompute, grad_accum, optimizer, seed };
        let mut trainer = Trainer::new(&Device::cpu(), &shape, options).unwrap();
        let losses: Vec<f64> = (0..40)
            .map(|_| {
                let rates = Rates { lr: 3e-3, muon_lr: 0.02, ..Rates::default() };
                let report = trainer.step(vec![batch.clone()], rates).unwrap();
                report.sums[metric::LM_LOSS] / report.rows as f64
            })
            .collect();
        let (first, last) = (losses[0], losses[39]);
        assert!(first > 1.0 && last < 0.3 * first, "{dtype}: {first} to {last}");
    }
}
