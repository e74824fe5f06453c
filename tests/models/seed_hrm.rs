//! Every tensor of the `seed_hrm` goldens: the cases plain, early and max1 (logits, halting
//! probabilities, losses, gradients), then AdamW steps with clipping and two micro-batches each.
//!
//! A file may hold in `w/*` what training left: PyTorch hands out its parameters by reference, and the
//! optimizer steps were made after the cases. Such a file is told by `w/*` being the last step's
//! parameters; the weights that the cases began with are then drawn again as PyTorch drew them, and held
//! against `halt_bias` and the parameters after the first step, no further than its rate away.

use std::cell::RefCell;
use std::rc::Rc;

use hrm::backend::{Device, Purpose};
use hrm::data::Batch;
use hrm::dtype::DType;
use hrm::models::hrm_seed::{Config, HrmSeed, Recompute};
use hrm::models::{Carry, DeviceBatch, Model, Workspace};
use hrm::nn::sinusoids;
use hrm::ops::act_halt::metric;
use hrm::ops::draw::Draw;
use hrm::tape::{Mode, Tape};
use hrm::tensor::Tensor;
use hrm::train::optimizer::{Rates, Rule, Settings};
use hrm::train::schedule::Schedule;
use hrm::train::trainer::{Options, Trainer};
use serde_json::Value;

use super::noise::Noise;
use super::segments::{GRAD_TOLERANCE, TOLERANCE};
use crate::common::compare::widen;
use crate::common::devices::devices;
use crate::common::golden::{self, Golden, Place};
use crate::common::torch_rng::TorchRng;

const POSITIONS: &str = "w/pos_encoding.pe";
const HALT_BIAS: &str = "halt_predictor.bias";

fn config(json: &Value, recompute: Recompute) -> Config {
    let c = &json["config"];
    let int = |key: &str| c[key].as_u64().unwrap_or_else(|| panic!("config.{key}")) as usize;
    Config {
        batch_size: int("batch_size"),
        seq_len: int("seq_len"),
        vocab_size: int("vocab_size"),
        num_puzzle_ids: 1,
        hidden_size: int("hidden_size"),
        num_heads: int("num_heads"),
        h_layers: int("num_h_layers"),
        l_layers: int("num_l_layers"),
        expansion: 4.0,
        max_cycles: int("max_cycles"),
        dropout: c["dropout"].as_f64().expect("config.dropout"),
        recompute,
    }
}

fn goldens() -> Vec<Place> {
    golden::find("of arc-full's model (seed_hrm)", |name, json| {
        name.starts_with("seed_hrm") && json["cases"].is_object()
    })
}

/// What the cases began with, in the order of the parameters.
fn weights(golden: &Golden, config: &Config, names: &[String]) -> Vec<Vec<f32>> {
    let stored: Vec<_> = names.iter().map(|name| golden.f32s(&format!("w/{name}"))).collect();
    let after = |step: usize, name: &str| format!("optim/step{step}/param/{name}");
    let last = (1..).take_while(|s| !golden.names(&format!("optim/step{s}/")).is_empty()).last();
    let is_trained = last.is_some_and(|last| {
        names.iter().zip(&stored).all(|(name, stored)| {
            golden.has(&after(last, name)) && golden.f32s(&after(last, name)) == *stored
        })
    });
    if !is_trained {
        return stored;
    }
    let drawn = drawn(golden, config);
    let rate = golden.json["optimizer"]["AdamW"]["lr"].as_f64().expect("lr") as f32;
    for (name, drawn) in names.iter().zip(&drawn) {
        let stepped = golden.f32s(&after(1, name));
        let near = drawn.iter().zip(&stepped).all(|(a, b)| (a - b).abs() <= 1.1 * rate);
        assert!(near && drawn.len() == stepped.len(), "{name}: not what the cases began with");
    }
    drawn
}

/// PyTorch's defaults from the json's seed, in the order in which its modules are made; vectors moved by
/// 0.1 randn of the next seed.
fn drawn(golden: &Golden, config: &Config) -> Vec<Vec<f32>> {
    let seed = golden.json["seed"].as_u64().expect("seed");
    let (mut rng, mut moves) = (TorchRng::new(seed), TorchRng::new(seed + 1));
    let (c, v, f) = (config.hidden_size, config.vocab_size, config.mlp_width());
    let linear = |rng: &mut TorchRng, out: usize, inp: usize| {
        let bound = 1.0 / (inp as f64).sqrt();
        [rng.uniform(out * inp, bound), rng.uniform(out, bound)]
    };
    let norm = || [vec![1.0_f32; c], vec![0.0; c]];
    let mut all = vec![rng.normal(v * c)];
    for _ in 0..config.layers() {
        let [out, _] = linear(&mut rng, c, c);
        let in_proj = rng.uniform(3 * c * c, (6.0 / (4 * c) as f64).sqrt());
        all.extend([in_proj, vec![0.0; 3 * c], out, vec![0.0; c]]);
        all.extend(linear(&mut rng, f, c));
        all.extend(linear(&mut rng, c, f));
        all.extend(norm().into_iter().chain(norm()));
    }
    for (out, inp) in [(c, c), (c, c), (1, 2 * c), (v, c)] {
        all.extend(linear(&mut rng, out, inp));
    }
    all.extend(norm().into_iter().chain(norm()));
    let names = hrm::models::hrm_seed::names::specs(config);
    for (spec, values) in names.iter().zip(&mut all).filter(|(spec, _)| spec.shape.rank() == 1) {
        let by = moves.normal(spec.shape.elems());
        values.iter_mut().zip(by).for_each(|(x, by)| *x += 0.1 * by);
    }
    all
}

fn load(model: &dyn Model, golden: &Golden, config: &Config) {
    let params = model.params();
    let names: Vec<String> = params.names().map(str::to_owned).collect();
    let others = golden.names("w/").into_iter().filter(|name| name != POSITIONS);
    assert_eq!(others.count(), names.len(), "{}: parameters", golden.name);
    for (name, values) in names.iter().zip(weights(golden, config, &names)) {
        let tensor = params.part(&params.master, name).unwrap();
        assert_eq!(tensor.shape().dims(), golden.shape(&format!("w/{name}")), "{name}");
        tensor.upload(&values).unwrap();
    }
    model.refresh().unwrap();
}

#[test]
fn golden_seed_hrm_every_tensor() {
    for place in goldens() {
        for (device_name, device) in devices() {
            println!("{} on {device_name}", place.name);
            let golden = place.open();
            for recompute in [Recompute::None, Recompute::Layer, Recompute::Cycle] {
                cases(&device, &golden, recompute);
            }
            optimizer_steps(&device, &golden);
            golden.finish();
        }
    }
}

fn cases(device: &Device, golden: &Golden, recompute: Recompute) {
    let base = config(&golden.json, recompute);
    let (rows, c) = (golden.shape(POSITIONS)[0], base.hidden_size);
    golden.check_f32(POSITIONS, &sinusoids::table(rows, c), TOLERANCE);
    for (case, how) in golden.json["cases"].as_object().expect("cases") {
        let given = how["max_cycles_argument"].as_u64().map(|n| n as usize);
        let config = Config { max_cycles: given.unwrap_or(base.max_cycles), ..base.clone() };
        let model = HrmSeed::new(device, config.clone(), DType::F32, 0).unwrap();
        load(&model, golden, &config);
        let params = model.params();
        let bias = params.part(&params.master, HALT_BIAS).unwrap();
        bias.upload(&golden.f32s(&format!("{case}/halt_bias"))).unwrap();
        let batch = DeviceBatch::new(device, config.batch_size, config.seq_len).unwrap();
        let ids = vec![0; config.batch_size];
        batch.upload(&golden.i32s("inputs"), &golden.i32s("targets"), &ids).unwrap();
        let space = Workspace::new(&model, config.batch_size).unwrap();
        let carry = Carry::new(&model).unwrap();

        let halts: Rc<RefCell<Vec<f32>>> = Rc::default();
        let sink = halts.clone();
        let tape = Tape::new(device).with_probe(Box::new(move |path, tensor| {
            if path == "halt_predictor" {
                let rows = tensor.download::<f32>().unwrap();
                sink.borrow_mut().extend(rows.chunks(2).map(|row| row[1]));
            }
        }));
        let draw = draw(device);
        let out = model.train_segment(tape, &carry, &batch, &space, &draw, Mode::Set).unwrap();
        golden.check_f32(&format!("{case}/logits"), &out.logits.download().unwrap(), TOLERANCE);
        golden.check_f32(&format!("{case}/halt_probs"), &halts.borrow(), TOLERANCE);
        let sums = widen(&space.metrics.download::<f32>().unwrap());
        let b = config.batch_size as f64;
        let (task, halt) = (sums[metric::LM_LOSS] / b, sums[metric::Q_HALT_LOSS] / b);
        golden.check(&format!("{case}/loss_task"), &[task], TOLERANCE);
        golden.check(&format!("{case}/loss_halt"), &[halt], TOLERANCE);
        golden.check(&format!("{case}/loss_total"), &[task + 0.01 * halt], TOLERANCE);
        let cycles = sums[metric::STEPS] / sums[metric::COUNT];
        assert_eq!(Some(cycles), how["num_cycles"].as_f64(), "{case}: cycles");
        for kind in ["grad", "grad_norm"] {
            let prefix = format!("{case}/{kind}/");
            for full in golden.names(&prefix) {
                let grad = params.part(&params.grad, &full[prefix.len()..]).expect("known name");
                let values = widen(&grad.download::<f32>().unwrap());
                match kind {
                    "grad" => golden.check(&full, &values, GRAD_TOLERANCE),
                    _ => {
                        let norm = values.iter().map(|x| x * x).sum::<f64>().sqrt();
                        golden.check(&full, &[norm], GRAD_TOLERANCE);
                    }
                }
            }
        }
        let out = model.eval_segment(&carry, &batch, &space).unwrap();
        let logits = out.logits.download::<f32>().unwrap();
        golden.check_f32(&format!("{case}/eval_logits"), &logits, TOLERANCE);
    }
}

fn draw(device: &Device) -> Tensor {
    let words = Draw { seed: 3, number: 5 }.words();
    Tensor::from_slice(device, &words, [words.len()], Purpose::Workspace).unwrap()
}

fn optimizer_steps(device: &Device, golden: &Golden) {
    let o = &golden.json["optimizer"];
    let adamw = |key: &str| o["AdamW"][key].as_f64().unwrap_or_else(|| panic!("AdamW.{key}"));
    let beta = |i: usize| o["AdamW"]["betas"][i].as_f64().expect("betas");
    let accum = o["grad_accumulation"].as_u64().expect("grad_accumulation") as usize;
    let options = Options {
        dtype: DType::F32,
        grad_accum: accum,
        optimizer: Settings {
            rule: Rule::AdamW,
            beta1: beta(0),
            beta2: beta(1),
            weight_decay: adamw("weight_decay"),
            puzzle_emb_weight_decay: 0.0,
            clip: o["clip"].as_f64().expect("clip"),
            ema: 0.0,
        },
        seed: 0,
    };
    let total_steps = o["cosine_T_max"].as_u64().expect("cosine_T_max");
    let schedule = Schedule { warmup_steps: 0, total_steps, min_ratio: 0.0 };
    let config = config(&golden.json, Recompute::None);
    let mut trainer = Trainer::new(device, config.clone(), options).unwrap();
    load(&*trainer.model, golden, &config);
    let ids = vec![0; config.batch_size];
    let mut noise = Noise::default();
    for step in 1.. {
        let at = format!("optim/step{step}");
        if golden.names(&format!("{at}/")).is_empty() {
            break;
        }
        let micros = ((step - 1) * accum + 1)..=(step * accum);
        let micros: Vec<String> = micros.map(|i| format!("optim/micro{i}")).collect();
        let read = |micro: &String, name: &str| golden.i32s(&format!("{micro}/{name}"));
        let batches = micros
            .iter()
            .map(|m| Batch::new(read(m, "inputs"), read(m, "targets"), ids.clone()))
            .collect();
        // PyTorch's schedulers count from 0.
        let lr = schedule.lr(adamw("lr"), step as i64 - 1);
        golden.check(&format!("{at}/lr"), &[lr], 1e-6);
        let report = trainer.step(batches, Rates { lr, puzzle_emb_lr: 0.0 }).unwrap();
        let rows = config.batch_size as f64;
        let loss = (report.sums[metric::LM_LOSS] + 0.01 * report.sums[metric::Q_HALT_LOSS]) / rows;
        let want: f64 = micros.iter().map(|m| golden.f64s(&format!("{m}/loss_total"))[0]).sum();
        if !((loss - want).abs() <= TOLERANCE * want) {
            golden.fail(format!("{at}: losses {loss}, golden {want}"));
        }
        golden.check(&format!("{at}/grad_norm"), &[report.grad_norm as f64], GRAD_TOLERANCE);
        let params = trainer.model.params();
        for name in params.names() {
            let of = |flat| widen(&params.part(flat, name).unwrap().download::<f32>().unwrap());
            let g = of(&params.grad);
            noise.note(name, &g, lr);
            let full = format!("{at}/param/{name}");
            if !golden.has(&full) {
                continue;
            }
            // A third of in_proj's bias, that of the keys, has no gradient but rounding.
            noise.check(golden, (&full, name), &of(&params.master), TOLERANCE, 0.4);
        }
    }
}

fn full_config(recompute: Recompute) -> Config {
    Config {
        batch_size: 1,
        seq_len: 900,
        vocab_size: 12,
        num_puzzle_ids: 1,
        hidden_size: 256,
        num_heads: 8,
        h_layers: 4,
        l_layers: 3,
        expansion: 4.0,
        max_cycles: 8,
        dropout: 0.1,
        recompute,
    }
}

#[test]
fn full_config_has_its_parameters() {
    let device = Device::shape_only(hrm::backend::DeviceKind::Cpu);
    let model = HrmSeed::new(&device, full_config(Recompute::None), DType::F32, 0).unwrap();
    assert_eq!(model.trainable_elems(), 5_667_597);
    for golden in goldens().iter().map(Place::open) {
        let full = golden.json["full_config_trainable_params"].as_u64();
        assert_eq!(full, Some(5_667_597), "{}", golden.name);
    }
}

/// Losses and gradients of one step, and the cycles that it ran.
fn step(device: &Device, dtype: DType, config: Config, halt_bias: f32) -> (Vec<f32>, Vec<f32>) {
    let model = HrmSeed::new(device, config.clone(), dtype, 7).unwrap();
    let params = model.params();
    params.part(&params.master, HALT_BIAS).unwrap().upload(&[halt_bias]).unwrap();
    model.refresh().unwrap();
    let batch = DeviceBatch::new(device, config.batch_size, config.seq_len).unwrap();
    let cells = |k: usize| -> Vec<i32> {
        (0..config.batch_size * config.seq_len)
            .map(|i| (i * k % config.vocab_size) as i32)
            .collect()
    };
    batch.upload(&cells(7), &cells(5), &vec![0; config.batch_size]).unwrap();
    let space = Workspace::new(&model, config.batch_size).unwrap();
    let carry = Carry::new(&model).unwrap();
    let tape = Tape::new(device);
    model.train_segment(tape, &carry, &batch, &space, &draw(device), Mode::Set).unwrap();
    (space.metrics.download().unwrap(), params.grad.download().unwrap())
}

fn small(dropout: f64, recompute: Recompute) -> Config {
    Config {
        batch_size: 2,
        seq_len: 9,
        vocab_size: 6,
        hidden_size: 16,
        num_heads: 2,
        h_layers: 2,
        l_layers: 1,
        max_cycles: 3,
        dropout,
        ..full_config(recompute)
    }
}

#[test]
fn recomputation_changes_no_bit() {
    for (name, device) in devices() {
        for (dtype, dropout) in [(DType::F32, 0.0), (DType::F32, 0.25), (DType::Bf16, 0.25)] {
            let run = |recompute| step(&device, dtype, small(dropout, recompute), 0.0);
            let kept = run(Recompute::None);
            assert!(kept.1.iter().any(|g| *g != 0.0));
            for recompute in [Recompute::Layer, Recompute::Cycle] {
                let again = run(recompute);
                let at = format!("{name}, {dtype}, dropout {dropout}, {recompute:?}");
                assert_eq!(again.0, kept.0, "{at}: losses");
                assert!(again.1 == kept.1, "{at}: gradients");
            }
        }
    }
}

#[test]
fn the_batch_halts_together_from_the_second_cycle_on() {
    for (name, device) in devices() {
        let cycles = |halt_bias| {
            let (sums, _) = step(&device, DType::F32, small(0.0, Recompute::Cycle), halt_bias);
            sums[metric::STEPS] / sums[metric::COUNT]
        };
        assert_eq!([cycles(-9.0), cycles(9.0)], [3.0, 2.0], "{name}");
    }
}

/// Every run of a layer has masks of its own, and so has every step.
#[test]
fn dropout_draws_anew_for_each_cycle() {
    let device = Device::cpu();
    let one = |max_cycles| {
        let config = Config { max_cycles, ..small(0.5, Recompute::None) };
        step(&device, DType::F32, config, 0.0).0[metric::LM_LOSS]
    };
    let without = step(&device, DType::F32, small(0.0, Recompute::None), 0.0).0[metric::LM_LOSS];
    assert!(one(1) != one(2) && one(3) != without);
}
