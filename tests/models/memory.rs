//! The plan of a run is the run: same peak, same span, and nothing new once training is steady.

use std::sync::Arc;

use hrm::config::{PRESETS, Settings};
use hrm::data::{Batch, Lengths, Window};
use hrm::dtype::DType;
use hrm::eval::Evaluator;
use hrm::models::hrm::{Config, Loss, PosEncodings, Recompute};
use hrm::models::{ModelShape, Sizes, trm};
use hrm::ops::normuon::Hyper;
use hrm::train::needed::Needed;
use hrm::train::optimizer::{OptimizerConfig, Rates, Rule};
use hrm::train::setup;
use hrm::train::trainer::{Options, Trainer};

use crate::common::devices::devices;

const SIZES: Sizes = Sizes { batch_size: 3, seq_len: 16, vocab_size: 6, num_puzzle_ids: 5 };

fn config() -> Config {
    Config {
        hidden_size: 24,
        num_heads: 2,
        h_layers: 2,
        l_layers: 1,
        h_cycles: 2,
        l_cycles: 2,
        expansion: 4.0,
        puzzle_emb_ndim: 30,
        pos_encodings: PosEncodings::Rope,
        loss: Loss::Stablemax,
        halt_max_steps: 3,
        halt_exploration_prob: 0.5,
        q_continue: true,
        start_noise: 0.0,
        depth_curriculum: false,
    }
}

fn trm() -> trm::Config {
    let c = config();
    trm::Config {
        hidden_size: c.hidden_size,
        num_heads: c.num_heads,
        layers: 2,
        h_cycles: c.h_cycles,
        l_cycles: c.l_cycles,
        expansion: c.expansion,
        mlp_t: false,
        puzzle_emb_ndim: c.puzzle_emb_ndim,
        puzzle_emb_len: 5,
        pos_encodings: c.pos_encodings,
        loss: c.loss,
        halt_max_steps: c.halt_max_steps,
        halt_exploration_prob: c.halt_exploration_prob,
        start_noise: 0.0,
        depth_curriculum: false,
    }
}

fn options() -> Options {
    Options {
        dtype: DType::F32,
        recompute: Recompute::None,
        grad_accum: 1,
        optimizer: OptimizerConfig {
            rule: Rule::AdamAtan2,
            beta1: 0.9,
            beta2: 0.95,
            weight_decay: 0.1,
            puzzle_emb_weight_decay: 0.1,
            clip: 1.0,
            ema: 0.0,
        },
        seed: 1,
    }
}

fn shape(config: impl Into<hrm::models::ModelConfig>) -> ModelShape {
    ModelShape::new(config, SIZES)
}

fn cases() -> Vec<(&'static str, ModelShape, Options)> {
    let rule = Rule::NorMuon(Hyper { momentum: 0.95, beta2: 0.95 });
    let normuon = OptimizerConfig { rule, ..options().optimizer };
    let with_ema = OptimizerConfig { ema: 0.99, rule: Rule::AdamW, ..options().optimizer };
    vec![
        ("plain", shape(config()), options()),
        ("bf16", shape(config()), Options { dtype: DType::Bf16, ..options() }),
        (
            "recomputed layers, two micro-batches",
            shape(config()),
            Options { recompute: Recompute::Layer, grad_accum: 2, dtype: DType::Bf16, ..options() },
        ),
        (
            "no puzzle embedding, learned positions, one network pass",
            shape(Config {
                puzzle_emb_ndim: 0,
                pos_encodings: PosEncodings::Learned,
                q_continue: false,
                ..config()
            }),
            Options { optimizer: with_ema, ..options() },
        ),
        (
            "packed rows, two micro-batches",
            shape(config()).with_lengths(Some(Arc::new(Lengths::from_weights(
                [(3, 1.0), (7, 2.0)].into_iter().collect(),
            )))),
            Options { grad_accum: 2, ..options() },
        ),
        ("orthogonalised", shape(config()), Options { optimizer: normuon, ..options() }),
        (
            "orthogonalised in bf16",
            shape(config()),
            Options { optimizer: normuon, dtype: DType::Bf16, ..options() },
        ),
        ("trm", shape(trm()), Options { optimizer: with_ema, ..options() }),
        (
            "trm with mlp_t, recomputed layers",
            shape(trm::Config { mlp_t: true, pos_encodings: PosEncodings::None, ..trm() }),
            Options { recompute: Recompute::Layer, dtype: DType::Bf16, ..options() },
        ),
    ]
}

fn step(trainer: &mut Trainer, seed: i32) {
    let c = trainer.model.dims();
    let cells = |k: i32, n: i32| -> Vec<i32> {
        (0..c.batch_size * c.seq_len).map(|i| (i as i32 * k + seed) % n).collect()
    };
    if let Some(slots) = trainer.slots() {
        let mut batch = Batch { real_rows: slots.len(), ..Batch::default() };
        for (row, slot) in slots.into_iter().enumerate() {
            let (input, label) = (vec![1; c.seq_len], vec![2; c.seq_len]);
            let (side, window) = (c.seq_len.isqrt(), Window { top: 0, left: 0, h: 1, w: 2 });
            batch.push_packed(&input, &label, row as u32, window, side, slot).unwrap();
        }
        let batches = vec![batch; trainer.options.grad_accum];
        trainer.step(batches, Rates { lr: 1e-3, puzzle_emb_lr: 1e-3, ..Rates::default() }).unwrap();
        return;
    }
    let (inputs, labels) = (cells(7, c.vocab_size as i32), cells(5, c.vocab_size as i32));
    let puzzle_ids: Vec<i32> = (0..c.batch_size as i32).collect();
    let batch = Batch::new(inputs, labels, puzzle_ids);
    let batches = vec![batch; trainer.options.grad_accum];
    trainer.step(batches, Rates { lr: 1e-3, puzzle_emb_lr: 1e-3, ..Rates::default() }).unwrap();
}

#[test]
fn plan_is_exactly_what_a_step_needs() {
    for (name, shape, options) in cases() {
        for (device_name, device) in devices() {
            let at = format!("{name} on {device_name}");
            let needed = Needed::of(device.kind(), &shape, options).unwrap();
            let cost = needed.work.total;
            assert!(cost.matmul_flops > 0.0 && cost.bytes > 0.0 && cost.launches > 0.0, "{at}");
            device.reserve(needed.total_bytes()).unwrap();
            let mut trainer = Trainer::new(&device, &shape, options).unwrap();
            Evaluator::new(&*trainer.model, usize::MAX).dry_run(&*trainer.model).unwrap();
            (1..=3).for_each(|i| step(&mut trainer, i));
            let run = device.usage();
            assert_eq!(needed.memory.bytes, run.peak_bytes, "{at}: peak by purpose");
            assert_eq!(needed.total_bytes(), run.span_bytes, "{at}: what was reserved");
            assert!(run.peak_total_bytes() > run.now_total_bytes(), "{at}");
        }
    }
}

/// Every preset as it is, but for a batch and a canvas that a CPU and a simulator can run. Those of
/// the same plan, which differ in data and rates, run once.
#[test]
fn every_preset_takes_what_its_plan_says() {
    let mut run_before = vec![];
    for (preset, _) in PRESETS {
        let mut small = vec!["train.batch_size=1".to_owned()];
        // One like the other, and each takes a while.
        match *preset {
            "arc-full" => small.push("model.max_cycles=2".into()),
            "grid-arc1" | "grid-arc2" => small.push("model.h_layers=2".into()),
            _ => {}
        }
        let of = Settings::load(Some(preset), None, &small).unwrap();
        let (shape, options) = (of.shape(16, 12, 8), setup::options(&of));
        for (device_name, device) in devices() {
            let needed = Needed::of(device.kind(), &shape, options).unwrap();
            let plan = (device_name, needed.memory.bytes, needed.work.total.bytes);
            if run_before.contains(&plan) {
                continue;
            }
            run_before.push(plan);
            device.reserve(needed.total_bytes()).unwrap();
            let mut trainer = Trainer::new(&device, &shape, options).unwrap();
            Evaluator::new(&*trainer.model, usize::MAX).dry_run(&*trainer.model).unwrap();
            step(&mut trainer, 1);
            let run = device.usage();
            assert_eq!(needed.memory.bytes, run.peak_bytes, "{preset} on {device_name}");
            assert_eq!(needed.total_bytes(), run.span_bytes, "{preset} on {device_name}");
        }
    }
}

#[test]
fn steady_training_allocates_nothing_new() {
    for (name, shape, options) in cases() {
        for (device_name, device) in devices() {
            let mut trainer = Trainer::new(&device, &shape, options).unwrap();
            (1..=2).for_each(|i| step(&mut trainer, i));
            let after_two = device.usage();
            (3..=7).for_each(|i| step(&mut trainer, i));
            assert_eq!(device.usage(), after_two, "{name} on {device_name}");
        }
    }
}
