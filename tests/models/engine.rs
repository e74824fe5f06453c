//! The whole engine on a CUDA device beside the CPU: the same steps from the same start. On CUDA
//! the second step is recorded as a graph, and from then on replayed.

use std::sync::Arc;

use hrm::backend::{Device, DeviceKind};
use hrm::data::{Batch, Lengths, Window};
use hrm::dtype::DType;
use hrm::models::hrm::{Config, Loss, PosEncodings, Recompute};
use hrm::models::{Compute, Depth, ModelConfig, ModelShape, Sizes, hrm_seed, transformer, trm};
use hrm::ops::act_halt::metric;
use hrm::ops::normuon::Hyper;
use hrm::rng::{Rng, Stream};
use hrm::train::needed::Needed;
use hrm::train::optimizer::{OptimizerConfig, Rates, Rule};
use hrm::train::trainer::{Options, Report, Trainer};

use crate::common::compare::said;
use crate::common::devices::devices;

const STEPS: u64 = 4;

const SIZES: Sizes = Sizes { batch_size: 3, seq_len: 25, vocab_size: 12, num_puzzle_ids: 7 };

fn config() -> Config {
    Config {
        hidden_size: 64,
        num_heads: 4,
        h_layers: 1,
        l_layers: 1,
        h_cycles: 2,
        l_cycles: 2,
        expansion: 4.0,
        puzzle_emb_ndim: 64,
        pos_encodings: PosEncodings::Rope,
        loss: Loss::Stablemax,
        halt_max_steps: 3,
        halt_exploration_prob: 0.5,
        q_continue: true,
        start_noise: 0.0,
        depth_curriculum: false,
    }
}

fn options(dtype: DType) -> Options {
    Options {
        dtype,
        recompute: Recompute::None,
        grad_accum: 1,
        optimizer: OptimizerConfig {
            rule: Rule::AdamAtan2,
            beta1: 0.9,
            beta2: 0.95,
            weight_decay: 0.1,
            puzzle_emb_weight_decay: 0.1,
            clip: 1.0,
            ema: 0.9,
        },
        seed: 4,
    }
}

fn trm() -> trm::Config {
    let c = config();
    trm::Config {
        hidden_size: c.hidden_size,
        num_heads: c.num_heads,
        layers: 1,
        h_cycles: c.h_cycles,
        l_cycles: c.l_cycles,
        expansion: c.expansion,
        mlp_t: false,
        puzzle_emb_ndim: c.puzzle_emb_ndim,
        puzzle_emb_len: 4,
        pos_encodings: c.pos_encodings,
        loss: c.loss,
        halt_max_steps: c.halt_max_steps,
        halt_exploration_prob: c.halt_exploration_prob,
        start_noise: c.start_noise,
        depth_curriculum: c.depth_curriculum,
    }
}

/// 29 positions: rows of the MLP over the sequence that no 16-byte access fits.
fn trm_mlp_t() -> trm::Config {
    trm::Config { mlp_t: true, pos_encodings: PosEncodings::None, ..trm() }
}

fn batch(config: &ModelShape, seed: u64) -> Batch {
    let config = config.sizes;
    let mut rng = Rng::new(seed, Stream::Test, 0);
    let cells = config.batch_size * config.seq_len;
    let mut below = |n: usize, end: usize| -> Vec<i32> {
        (0..n).map(|_| rng.below(end as u32) as i32).collect()
    };
    let mut labels = below(cells, config.vocab_size);
    labels.iter_mut().step_by(4).for_each(|l| *l = hrm::ops::cross_entropy::IGNORE);
    let inputs = below(cells, config.vocab_size);
    Batch::new(inputs, labels, below(config.batch_size, config.num_puzzle_ids))
}

fn rates(step: u64) -> Rates {
    Rates { lr: 1e-3 * step as f64, puzzle_emb_lr: 1e-2, muon_lr: 1e-2 }
}

/// Slots of several lengths, rows that leave some of them empty, places with gaps.
fn packed(batch: Batch, slots: &[usize]) -> Batch {
    let mut packed = Batch { real_rows: batch.real_rows, ..Batch::default() };
    let rows = batch.inputs.chunks(SIZES.seq_len).zip(batch.labels.chunks(SIZES.seq_len));
    for (((input, label), &id), &slot) in rows.zip(&batch.puzzle_ids).zip(slots) {
        let (h, w) = (slot.isqrt() as u8, (slot / slot.isqrt()).min(5) as u8);
        let window = Window { top: 5 - h, left: 0, h, w };
        packed.push_packed(input, label, id as u32, window, 5, slot).unwrap();
    }
    packed
}

fn normuon(options: Options) -> Options {
    let rule = Rule::NorMuon(Hyper { momentum: 0.95, beta2: 0.95 });
    Options { optimizer: OptimizerConfig { rule, ..options.optimizer }, ..options }
}

/// All batches submitted as early as the trainer allows, as the training loop does.
fn run(device: &Device, config: &ModelShape, options: Options) -> (Trainer, Vec<Report>) {
    run_with(Trainer::new(device, config, options).unwrap(), config, rates)
}

fn run_with(
    mut trainer: Trainer,
    config: &ModelShape,
    rates: impl Fn(u64) -> Rates,
) -> (Trainer, Vec<Report>) {
    let options = trainer.options;
    let mut reports = vec![];
    for step in 1..=STEPS {
        let micro_batches = 0..options.grad_accum as u64;
        let batch = |i| match trainer.slots() {
            Some(slots) => packed(batch(config, 10 * step + i), &slots),
            None => batch(config, 10 * step + i),
        };
        let batches = micro_batches.map(batch).collect();
        if trainer.model.has_depth_curriculum() {
            trainer.set_depth(Depth::at(step, STEPS));
        }
        trainer.submit(batches, rates(step)).unwrap();
        while trainer.in_flight() > 1 {
            reports.extend(trainer.finish().unwrap());
        }
    }
    reports.extend(trainer.finish().unwrap());
    assert_eq!(reports.len() as u64, STEPS);
    (trainer, reports)
}

/// Devices to hold against the CPU.
fn others() -> Vec<(&'static str, Device)> {
    let others: Vec<_> = devices().into_iter().filter(|(name, _)| *name != "cpu").collect();
    if others.is_empty() {
        println!("skipped: the engine on CUDA (no sim or gpu here)");
    }
    others
}

fn follows(config: impl Into<ModelConfig>, options: Options, rtol: f64) {
    follows_in(ModelShape::new(config, SIZES), options, rtol);
}

fn follows_in(shape: ModelShape, options: Options, rtol: f64) {
    let config = &shape;
    for (name, device) in others() {
        let (_, want) = run(&Device::cpu(), config, options);
        let (trainer, got) = run(&device, config, options);
        let (recorded, recordable) = (trainer.is_recorded(), trainer.model.is_recordable());
        assert_eq!(recorded, recordable, "{name}: whether the step was captured as a graph");
        for (step, (got, want)) in got.iter().zip(&want).enumerate() {
            let near = |what: &str, g: f64, w: f64, rtol: f64| {
                let at = format!("step {}: {what} {g} on {name}, {w} on the CPU", step + 1);
                said(&at, (g - w).abs(), rtol * w.abs());
                assert!(w.is_finite() && (g - w).abs() <= rtol * w.abs(), "{at}");
            };
            for (what, i) in [("lm loss", metric::LM_LOSS), ("q_halt loss", metric::Q_HALT_LOSS)] {
                near(what, got.sums[i], want.sums[i], rtol);
            }
            near("gradient norm", got.grad_norm as f64, want.grad_norm as f64, 10.0 * rtol);
        }
    }
}

#[test]
fn four_steps_follow_the_cpu_in_f32() {
    follows(config(), options(DType::F32), 1e-4);
}

#[test]
fn four_steps_follow_the_cpu_in_bf16() {
    follows(config(), options(DType::Bf16), 0.02);
}

#[test]
fn micro_batches_recomputation_and_learned_positions_follow_the_cpu() {
    let config = Config {
        pos_encodings: PosEncodings::Learned,
        q_continue: false,
        puzzle_emb_ndim: 100,
        loss: Loss::Softmax,
        ..config()
    };
    let options = Options { recompute: Recompute::Layer, grad_accum: 2, ..options(DType::F32) };
    let rule = OptimizerConfig { rule: Rule::AdamW, ..options.optimizer };
    follows(config, Options { optimizer: rule, ..options }, 1e-4);
}

#[test]
fn trm_follows_the_cpu() {
    follows(trm(), options(DType::Bf16), 0.02);
    follows(trm_mlp_t(), options(DType::F32), 1e-4);
    let recomputed = Options { recompute: Recompute::Layer, grad_accum: 2, ..options(DType::Bf16) };
    follows(trm_mlp_t(), recomputed, 0.02);
}

#[test]
fn orthogonalised_steps_follow_the_cpu() {
    follows(config(), normuon(options(DType::F32)), 1e-4);
    follows(trm_mlp_t(), normuon(options(DType::Bf16)), 0.02);
}

#[test]
fn packed_rows_follow_the_cpu() {
    let lengths = [(4, 1.0), (11, 1.0), (25, 1.0)].into_iter().collect();
    let lengths = Some(Arc::new(Lengths::from_weights(lengths)));
    let shape = |config: ModelConfig| ModelShape::new(config, SIZES).with_lengths(lengths.clone());
    let learned = Config { pos_encodings: PosEncodings::Learned, ..config() };
    let two = Options { grad_accum: 2, recompute: Recompute::Layer, ..options(DType::F32) };
    follows_in(shape(config().into()), options(DType::F32), 1e-4);
    follows_in(shape(config().into()), options(DType::Bf16), 0.02);
    follows_in(shape(learned.into()), two, 1e-4);
    follows_in(shape(trm().into()), options(DType::Bf16), 0.02);
}

/// Its graph is recorded anew at full depth.
#[test]
fn noise_where_rows_start_and_a_depth_that_grows_follow_the_cpu() {
    let noisy = Config { start_noise: 0.5, depth_curriculum: true, ..config() };
    let lengths = [(4, 1.0), (25, 2.0)].into_iter().collect();
    let lengths = Some(Arc::new(Lengths::from_weights(lengths)));
    let packed = ModelShape::new(noisy, SIZES).with_lengths(lengths);
    follows_in(packed, Options { grad_accum: 2, ..options(DType::F32) }, 1e-4);
    let noisy = trm::Config { start_noise: 0.5, depth_curriculum: true, ..trm() };
    follows(noisy, options(DType::Bf16), 0.02);
}

/// A third of the cycles is what a model of so many cycles does.
#[test]
fn a_shallow_segment_is_that_of_a_model_with_fewer_cycles() {
    let shallow = Depth::at(1, 100);
    let pairs: [[ModelConfig; 2]; 2] = [
        [
            Config { h_cycles: 2, l_cycles: 4, ..config() }.into(),
            Config { h_cycles: 1, l_cycles: 2, ..config() }.into(),
        ],
        [
            trm::Config { h_cycles: 3, l_cycles: 4, ..trm() }.into(),
            trm::Config { h_cycles: 1, l_cycles: 2, ..trm() }.into(),
        ],
    ];
    for [deep, few] in pairs.map(|pair| pair.map(|config| ModelShape::new(config, SIZES))) {
        let device = Device::cpu();
        let mut trainer = Trainer::new(&device, &deep, options(DType::F32)).unwrap();
        trainer.set_depth(shallow);
        let (shallow, _) = run_with(trainer, &deep, rates);
        let of = |shape| state(&run(&device, shape, options(DType::F32)).0);
        assert!(state(&shallow) == of(&few));
        assert!(of(&deep) != of(&few));
    }
}

/// The transformer's step is recorded; `hrm_seed` reads its halting back and is not.
#[test]
fn one_pass_models_follow_the_cpu() {
    let seed = hrm_seed::Config {
        hidden_size: 64,
        num_heads: 4,
        h_layers: 1,
        l_layers: 1,
        expansion: 4.0,
        max_cycles: 2,
        dropout: 0.1,
    };
    let plain = transformer::Config {
        hidden_size: seed.hidden_size,
        num_heads: seed.num_heads,
        layers: 2,
        expansion: seed.expansion,
        dropout: seed.dropout,
    };
    let options = options(DType::F32);
    let rule = OptimizerConfig { rule: Rule::AdamW, ..options.optimizer };
    let options = Options { optimizer: rule, grad_accum: 2, ..options };
    follows(plain.clone(), options, 1e-4);
    follows(plain, normuon(options), 1e-4);
    follows(seed, Options { recompute: Recompute::Cycle, ..options }, 1e-4);
}

/// Enough rows (64 whole tiles of 128) for the MLP that has its gate in the products.
#[test]
fn a_large_batch_follows_the_cpu_in_bf16() {
    let config = Config { h_cycles: 1, l_cycles: 1, q_continue: false, ..config() };
    let shape = ModelShape::new(config, Sizes { batch_size: 315, ..SIZES });
    let options = options(DType::Bf16);
    let planned = Needed::of(DeviceKind::Cuda, &shape, options).unwrap().work.launched;
    for kernel in ["matmul_swiglu_bf16", "matmul_swiglu_bwd_bf16"] {
        assert!(planned.iter().any(|l| l.kernel == kernel), "{kernel} is not part of the step");
    }
    follows_in(shape, options, 0.02);
}

/// Bytes of everything that training continues from.
fn state(trainer: &Trainer) -> Vec<(String, Vec<u8>)> {
    let named = trainer.state().unwrap();
    named.into_iter().map(|(name, t)| (name, t.read_bytes().unwrap().to_vec())).collect()
}

#[test]
fn two_runs_have_the_same_bits_and_a_graph_computes_what_single_launches_do() {
    graphs_repeat(config(), options(DType::Bf16));
    graphs_repeat(config(), normuon(options(DType::Bf16)));
    graphs_repeat(trm_mlp_t(), options(DType::Bf16));
}

fn graphs_repeat(config: impl Into<ModelConfig>, options: Options) {
    let config = ModelShape::new(config, SIZES);
    for (name, device) in others() {
        let (first, reports) = run(&device, &config, options);
        let (again, same) = run(&device, &config, options);
        assert_eq!(reports, same, "{name}");
        assert!(state(&first) == state(&again), "{name}: another state in a second run");
        // A buffer taken between steps makes the recorded memory somebody else's: never a graph.
        let mut trainer = Trainer::new(&device, &config, options).unwrap();
        let mut held = vec![];
        for step in 1..=STEPS {
            trainer.step(vec![batch(&config, 10 * step)], rates(step)).unwrap();
            assert!(!trainer.is_recorded(), "{name}: recorded at step {step}");
            let purpose = hrm::backend::Purpose::Workspace;
            held.push(hrm::tensor::Tensor::zeros(&device, DType::F32, [64], purpose).unwrap());
        }
        assert!(state(&first) == state(&trainer), "{name}: a graph computes something else");
    }
}

/// Puzzle embeddings learn the same bits as where weights do not move for want of a rate.
#[test]
fn frozen_weights_get_no_gradients_and_puzzle_embeddings_learn_as_beside_them() {
    let still = |_| Rates { lr: 0.0, muon_lr: 0.0, ..rates(1) };
    for ((name, device), options) in devices()
        .into_iter()
        .flat_map(|d| [options, |t| normuon(options(t))].map(|o| (d.clone(), o)))
    {
        let options = options(DType::F32);
        for shape in [ModelShape::new(config(), SIZES), ModelShape::new(trm_mlp_t(), SIZES)] {
            let compute = Compute { frozen: true, ..options.compute() };
            let frozen = shape.build(&device, compute).unwrap();
            let (frozen, _) = run_with(Trainer::of(frozen, options).unwrap(), &shape, still);
            let beside = Trainer::new(&device, &shape, options).unwrap();
            let before = beside.model.params().master.read_bytes().unwrap().to_vec();
            let (beside, _) = run_with(beside, &shape, still);
            let table = |trainer: &Trainer| {
                let (_, table) = trainer.model.puzzle_table().unwrap();
                table.to_f32s().unwrap()
            };
            assert!(table(&frozen) == table(&beside), "{name}");
            assert!(table(&frozen).iter().any(|x| *x != 0.0));
            let params = frozen.model.params();
            assert!(params.grad.to_f32s().unwrap().iter().all(|g| *g == 0.0));
            assert!(beside.model.params().grad.to_f32s().unwrap().iter().any(|g| *g != 0.0));
            assert!(*params.master.read_bytes().unwrap() == before[..]);
        }
    }
}

#[test]
fn a_step_that_is_not_finite_changes_nothing_and_names_the_op() {
    let rules = [options(DType::F32), normuon(options(DType::F32))];
    for ((name, device), options) in
        devices().into_iter().flat_map(|d| rules.map(|r| (d.clone(), r)))
    {
        let config = ModelShape::new(config(), SIZES);
        let (mut trainer, _) = run(&device, &config, options);
        let head =
            trainer.model.params().part(&trainer.model.params().master, "lm_head.weight").unwrap();
        let mut values = head.download::<f32>().unwrap();
        values[5] = f32::NAN;
        head.upload(&values).unwrap();
        let before = state(&trainer);
        let error = trainer.step(vec![batch(&config, 99)], rates(1)).unwrap_err().to_string();
        assert!(error.contains("step 5") && error.contains("matmul"), "{name}: {error}");
        let changed = |name: &str| name.starts_with("carry.");
        for ((what, before), (_, after)) in before.iter().zip(&state(&trainer)) {
            assert!(changed(what) || before == after, "{name}: {what} changed");
        }
    }
}

#[test]
fn batches_that_no_kernel_may_see_are_refused_on_the_host() {
    for (_, device) in devices() {
        let config = ModelShape::new(config(), SIZES);
        let mut trainer = Trainer::new(&device, &config, options(DType::F32)).unwrap();
        let mut refused = |change: fn(&mut Batch), word: &str| {
            let mut batch = batch(&config, 1);
            change(&mut batch);
            let error = trainer.step(vec![batch], rates(1)).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        };
        refused(|batch| batch.inputs[3] = 12, "tokens 12 is not below 12");
        refused(|batch| batch.labels[2] = -1, "labels -1");
        refused(|batch| batch.puzzle_ids[0] = 7, "puzzle ids 7");
        refused(|batch| batch.inputs.truncate(5), "5 tokens, expected 75");
    }
}
