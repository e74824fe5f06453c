//! Every tensor of the `seed_hrm` goldens: the cases plain, early and max1 (logits, halting
//! probabilities, losses, gradients), then AdamW steps with clipping and two micro-batches each.

use std::cell::RefCell;
use std::rc::Rc;

use hrm::backend::{Device, Purpose};
use hrm::data::Batch;
use hrm::dtype::DType;
use hrm::models::hrm_seed::{Config, HrmSeed, Recompute};
use hrm::models::{Carry, Compute, DeviceBatch, Model, ModelShape, Sizes, Workspace};
use hrm::nn::sinusoids;
use hrm::ops::act_halt::metric;
use hrm::ops::draw::Draw;
use hrm::tape::{Mode, Tape};
use hrm::tensor::Tensor;
use hrm::train::optimizer::{OptimizerConfig, Rates, Rule};
use hrm::train::schedule::{Decay, Schedule};
use hrm::train::trainer::{Options, Trainer};
use serde_json::Value;

use super::noise::Noise;
use super::segments::{GRAD_TOLERANCE, TOLERANCE};
use crate::common::compare::widen;
use crate::common::devices::devices;
use crate::common::golden::{self, Golden, Place};

const POSITIONS: &str = "w/pos_encoding.pe";
const HALT_BIAS: &str = "halt_predictor.bias";

fn config(json: &Value) -> (Config, Sizes) {
    let c = &json["config"];
    let int = |key: &str| c[key].as_u64().unwrap_or_else(|| panic!("config.{key}")) as usize;
    let config = Config {
        hidden_size: int("hidden_size"),
        num_heads: int("num_heads"),
        h_layers: int("num_h_layers"),
        l_layers: int("num_l_layers"),
        expansion: 4.0,
        max_cycles: int("max_cycles"),
        dropout: c["dropout"].as_f64().expect("config.dropout"),
    };
    let [batch_size, seq_len, vocab_size] = ["batch_size", "seq_len", "vocab_size"].map(int);
    (config, Sizes { batch_size, seq_len, vocab_size, num_puzzle_ids: 1 })
}

fn goldens() -> Vec<Place> {
    golden::find("of arc-full's model (seed_hrm)", |name, json| {
        name.starts_with("seed_hrm") && json["cases"].is_object()
    })
}

fn load(model: &dyn Model, golden: &Golden) {
    let params = model.params();
    let names: Vec<String> = params.names().map(str::to_owned).collect();
    let others = golden.names("w/").into_iter().filter(|name| name != POSITIONS);
    assert_eq!(others.count(), names.len(), "{}: parameters", golden.name);
    for name in &names {
        let tensor = params.part(&params.master, name).unwrap();
        assert_eq!(tensor.shape().dims(), golden.shape(&format!("w/{name}")), "{name}");
        tensor.upload(&golden.f32s(&format!("w/{name}"))).unwrap();
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
    let (base, sizes) = config(&golden.json);
    let compute = Compute { recompute, ..Compute::default() };
    let (rows, c) = (golden.shape(POSITIONS)[0], base.hidden_size);
    golden.check_f32(POSITIONS, &sinusoids::table(rows, c), TOLERANCE);
    for (case, how) in golden.json["cases"].as_object().expect("cases") {
        let given = how["max_cycles_argument"].as_u64().map(|n| n as usize);
        let config = Config { max_cycles: given.unwrap_or(base.max_cycles), ..base.clone() };
        let model = HrmSeed::new(device, config, sizes, compute).unwrap();
        load(&model, golden);
        let params = model.params();
        let bias = params.part(&params.master, HALT_BIAS).unwrap();
        bias.upload(&golden.f32s(&format!("{case}/halt_bias"))).unwrap();
        let batch = DeviceBatch::new(device, sizes.batch_size, sizes.seq_len).unwrap();
        let ids = vec![0; sizes.batch_size];
        batch.upload(&golden.i32s("inputs"), &golden.i32s("targets"), &ids).unwrap();
        let space = Workspace::new(&model, sizes.batch_size).unwrap();
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
        let b = sizes.batch_size as f64;
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
        recompute: Recompute::None,
        grad_accum: accum,
        optimizer: OptimizerConfig {
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
    let schedule = Schedule { warmup_steps: 0, total_steps, min_ratio: 0.0, decay: Decay::Cosine };
    let (config, sizes) = config(&golden.json);
    let mut trainer = Trainer::new(device, &ModelShape::new(config, sizes), options).unwrap();
    load(&*trainer.model, golden);
    let ids = vec![0; sizes.batch_size];
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
        let report = trainer.step(batches, Rates { lr, ..Rates::default() }).unwrap();
        let rows = sizes.batch_size as f64;
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

fn full_config() -> Config {
    Config {
        hidden_size: 256,
        num_heads: 8,
        h_layers: 4,
        l_layers: 3,
        expansion: 4.0,
        max_cycles: 8,
        dropout: 0.1,
    }
}

#[test]
fn full_config_has_its_parameters() {
    let device = Device::shape_only(hrm::backend::DeviceKind::Cpu);
    let sizes = Sizes { batch_size: 1, seq_len: 900, vocab_size: 12, num_puzzle_ids: 1 };
    let model = HrmSeed::new(&device, full_config(), sizes, Compute::default()).unwrap();
    assert_eq!(model.trainable_elems(), 5_667_597);
    for golden in goldens().iter().map(Place::open) {
        let full = golden.json["full_config_trainable_params"].as_u64();
        assert_eq!(full, Some(5_667_597), "{}", golden.name);
    }
}

/// Losses and gradients of one step, and the cycles that it ran.
fn step(
    device: &Device,
    (dtype, recompute): (DType, Recompute),
    config: Config,
    halt_bias: f32,
) -> (Vec<f32>, Vec<f32>) {
    let sizes = Sizes { batch_size: 2, seq_len: 9, vocab_size: 6, num_puzzle_ids: 1 };
    let compute = Compute { dtype, recompute, seed: 7, ..Compute::default() };
    let model = HrmSeed::new(device, config, sizes, compute).unwrap();
    let params = model.params();
    params.part(&params.master, HALT_BIAS).unwrap().upload(&[halt_bias]).unwrap();
    model.refresh().unwrap();
    let batch = DeviceBatch::new(device, sizes.batch_size, sizes.seq_len).unwrap();
    let cells = |k: usize| -> Vec<i32> {
        (0..sizes.batch_size * sizes.seq_len).map(|i| (i * k % sizes.vocab_size) as i32).collect()
    };
    batch.upload(&cells(7), &cells(5), &vec![0; sizes.batch_size]).unwrap();
    let space = Workspace::new(&model, sizes.batch_size).unwrap();
    let carry = Carry::new(&model).unwrap();
    let tape = Tape::new(device);
    model.train_segment(tape, &carry, &batch, &space, &draw(device), Mode::Set).unwrap();
    (space.metrics.download().unwrap(), params.grad.download().unwrap())
}

fn small(dropout: f64) -> Config {
    Config {
        hidden_size: 16,
        num_heads: 2,
        h_layers: 2,
        l_layers: 1,
        max_cycles: 3,
        dropout,
        ..full_config()
    }
}

#[test]
fn recomputation_changes_no_bit() {
    for (name, device) in devices() {
        for (dtype, dropout) in [(DType::F32, 0.0), (DType::F32, 0.25), (DType::Bf16, 0.25)] {
            let run = |recompute| step(&device, (dtype, recompute), small(dropout), 0.0);
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
            let (sums, _) = step(&device, (DType::F32, Recompute::Cycle), small(0.0), halt_bias);
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
        let config = Config { max_cycles, ..small(0.5) };
        step(&device, (DType::F32, Recompute::None), config, 0.0).0[metric::LM_LOSS]
    };
    let without = step(&device, (DType::F32, Recompute::None), small(0.0), 0.0).0[metric::LM_LOSS];
    assert!(one(1) != one(2) && one(3) != without);
}
