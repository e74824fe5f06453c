use hrm::backend::Device;
use hrm::dtype::DType;
use hrm::ops::act_halt::{self, Halting, metric, reference};
use hrm::ops::bce_logits::NO_TARGET;
use hrm::ops::draw::Draw;
use hrm::ops::layout::Layout;
use hrm::rng::{Rng, Stream};
use hrm::tensor::Tensor;

use crate::check::{compare, ints, normal, numbers, reals, refuses, tensor};
use crate::common::devices::devices;

const TRAINING: Halting =
    Halting { max_steps: 6, training: true, q_continue: true, exploration_prob: 0.4 };
const DRAW: Draw = Draw { seed: 11, number: 3 };

fn flags(device: &Device, halted: &[u8]) -> Tensor {
    let wide: Vec<f64> = halted.iter().map(|&h| h as f64).collect();
    tensor(device, DType::U8, &[halted.len()], &wide)
}

/// Logits with what a broken step may leave in them, counters and flags of `b` slots.
fn slots(b: usize, max_steps: i32) -> (Vec<f64>, Vec<i32>, Vec<u8>) {
    let mut q = normal(2 * b, 2.0, 1);
    if b > 4 {
        (q[0], q[3], q[4], q[5]) = (f64::NAN, f64::NAN, f64::INFINITY, f64::NEG_INFINITY);
    }
    let mut rng = Rng::new(2, Stream::Test, 0);
    let steps = (0..b).map(|_| rng.below(max_steps as u32) as i32).collect();
    let halted = (0..b).map(|_| rng.below(2) as u8).collect();
    (q, steps, halted)
}

fn decide(
    device: &Device,
    dtype: DType,
    q: &[f64],
    how: Halting,
    draw: Draw,
    s: &[i32],
    h: &[u8],
) -> (Vec<i32>, Vec<u8>) {
    let (steps, halted) = (ints(device, &[s.len()], s), flags(device, h));
    let q = tensor(device, dtype, &[s.len(), 2], q);
    let draw = ints(device, &[Draw::WORDS], &draw.words());
    act_halt::decide(&q, how, Some(&draw), &steps, &halted).unwrap();
    (steps.download().unwrap(), halted.download().unwrap())
}

#[test]
fn decide_agrees_with_reference() {
    for (name, device) in devices() {
        for b in [1, 2, 33] {
            for how in [
                TRAINING,
                Halting { q_continue: false, ..TRAINING },
                Halting { exploration_prob: 0.0, ..TRAINING },
                Halting { exploration_prob: 1.0, max_steps: 2, ..TRAINING },
                Halting { max_steps: 1, ..TRAINING },
                Halting { training: false, ..TRAINING },
            ] {
                for dtype in [DType::F32, DType::Bf16] {
                    let (q, steps, halted) = slots(b, how.max_steps);
                    let q = numbers(&tensor(&device, dtype, &[2 * b], &q));
                    let got = decide(&device, dtype, &q, how, DRAW, &steps, &halted);
                    let (mut steps, mut halted) = (steps, halted);
                    reference::decide::<f64>(&q, how, DRAW, &mut steps, &mut halted);
                    assert_eq!(got, (steps, halted), "{how:?} b {b} {dtype} on {name}");
                }
            }
        }
    }
}

/// The minimum is uniform on 2..=max with probability p, else none: of the slots that want to halt,
/// those at step s may with probability 1 - p + p (s - 1) / (max - 1).
#[test]
fn exploration_is_uniform() {
    const B: usize = 20_000;
    for (_, device) in devices() {
        let q: Vec<f64> = (0..B).flat_map(|_| [1.0, -1.0]).collect();
        let p = TRAINING.exploration_prob as f64;
        for s in 1..=TRAINING.max_steps {
            let (steps, halted) =
                decide(&device, DType::F32, &q, TRAINING, DRAW, &vec![s - 1; B], &vec![0; B]);
            assert!(steps.iter().all(|&n| n == s));
            let share = halted.iter().filter(|&&h| h != 0).count() as f64 / B as f64;
            let want = 1.0 - p + p * (s - 1) as f64 / (TRAINING.max_steps - 1) as f64;
            let sigma = (want * (1.0 - want) / B as f64).sqrt();
            assert!((share - want).abs() <= 4.0 * sigma, "step {s}: {share}, want {want}");
        }
    }
}

#[test]
fn exploration_is_a_function_of_seed_and_draw() {
    const B: usize = 200;
    for (_, device) in devices() {
        let q: Vec<f64> = (0..B).flat_map(|_| [1.0, -1.0]).collect();
        let run = |draw| decide(&device, DType::F32, &q, TRAINING, draw, &[0; B], &[0; B]).1;
        let first = run(DRAW);
        assert_eq!(first, run(DRAW));
        assert_ne!(first, run(Draw { number: 4, ..DRAW }));
        assert_ne!(first, run(Draw { number: DRAW.number + (1 << 32), ..DRAW }));
        assert_ne!(first, run(Draw { seed: 12, ..DRAW }));
    }
}

#[test]
fn evaluation_never_halts_early() {
    for (_, device) in devices() {
        let how = Halting { training: false, ..TRAINING };
        let (mut steps, mut halted) = (vec![5, 0], vec![1, 0]);
        for s in 1..=how.max_steps {
            let q = [9.0, -9.0, -9.0, 9.0];
            (steps, halted) = decide(&device, DType::F32, &q, how, DRAW, &steps, &halted);
            assert_eq!(steps, [s, s]);
            assert_eq!(halted, [(s == how.max_steps) as u8; 2], "step {s}");
        }
    }
}

#[test]
fn with_one_step_every_slot_halts_at_once() {
    for (_, device) in devices() {
        for training in [true, false] {
            let how = Halting { max_steps: 1, training, exploration_prob: 1.0, ..TRAINING };
            let (steps, halted) =
                decide(&device, DType::F32, &[-9.0, 9.0, -9.0, 9.0], how, DRAW, &[1, 0], &[1, 0]);
            assert_eq!((steps, halted), (vec![1, 1], vec![1, 1]));
        }
    }
}

/// Select, never multiply: the old content may be anything, and what is kept is kept bit for bit.
#[test]
fn reset_and_admit_do_not_let_old_content_leak() {
    const HALTED: [u8; 3] = [1, 0, 1];
    let old = |elems: usize| -> Vec<f64> {
        (0..elems).map(|i| [f64::NAN, f64::INFINITY, -0.0, 1.5][i % 4]).collect()
    };
    let bytes = |t: &Tensor| t.read_bytes().unwrap().to_vec();
    for (name, device) in devices() {
        let halted = flags(&device, &HALTED);
        for (dtype, c) in [(DType::F32, 5), (DType::Bf16, 5), (DType::F32, 8), (DType::Bf16, 8)] {
            let z = tensor(&device, dtype, &[3, 2, c], &old(6 * c));
            let init = tensor(&device, dtype, &[c], &normal(c, 1.0, 8));
            let (before, init_bytes) = (bytes(&z), bytes(&init));
            let mut want = before;
            reference::reset(&HALTED, &init_bytes, 2, &mut want);
            act_halt::reset(&halted, &init, &z, &Layout::of(&z, 0).unwrap()).unwrap();
            assert!(bytes(&z) == want, "reset of {dtype}, c {c} on {name}");
        }
        for (dtype, s) in [(DType::F32, 2), (DType::I32, 3), (DType::I32, 8), (DType::U8, 5)] {
            let src = tensor(&device, dtype, &[3, s], &[1.0].repeat(3 * s));
            let dst = tensor(&device, dtype, &[3, s], &old(3 * s));
            let mut want = bytes(&dst);
            reference::admit(&HALTED, s * dtype.size_bytes(), &bytes(&src), &mut want);
            let layout = Layout::padded(&device, 3, 0, s).unwrap();
            act_halt::admit(&halted, layout.cells(), &src, &dst).unwrap();
            assert!(bytes(&dst) == want, "admit of {dtype}, s {s} on {name}");
        }
    }
}

/// rows of `cross_entropy`: loss, valid, right, all right; some slots without labels.
fn rows(b: usize) -> Vec<f64> {
    let mut rng = Rng::new(4, Stream::Test, 0);
    (0..b)
        .flat_map(|b| {
            let valid = if b % 4 == 3 { 0 } else { 1 + rng.below(9) };
            let right = if b % 3 == 0 { valid } else { rng.below(valid + 1) };
            [
                hrm::rng::unit_f32(rng.u32()) as f64,
                valid as f64,
                right as f64,
                (right == valid) as u32 as f64,
            ]
        })
        .collect()
}

#[test]
fn targets_agree_with_reference() {
    for (name, device) in devices() {
        for b in [1, 17] {
            let rows = rows(b);
            let rows_dev = tensor(&device, DType::F32, &[b, 4], &rows);
            let (_, steps, _) = slots(b, 3);
            let steps_dev = ints(&device, &[b], &steps);
            let out = tensor(&device, DType::F32, &[b, 2], &vec![f64::NAN; 2 * b]);
            for dtype in [DType::F32, DType::Bf16] {
                let next = tensor(&device, dtype, &[b, 2], &normal(2 * b, 3.0, 5));
                act_halt::targets(&rows_dev, Some(&next), &steps_dev, 2, &out).unwrap();
                let mut want = vec![0.0; 2 * b];
                reference::targets::<f64>(&rows, Some(&numbers(&next)), &steps, 2, &mut want);
                let at = format!("targets b {b} {dtype} on {name}");
                compare(&at, &numbers(&out), &want, &want, DType::F32, 1e-6);
            }
            act_halt::targets(&rows_dev, None, &steps_dev, 2, &out).unwrap();
            assert!(numbers(&out).chunks(2).all(|t| t[1] == NO_TARGET as f64));
        }
    }
}

#[test]
fn metrics_agree_with_reference() {
    for (name, device) in devices() {
        for b in [1, 33] {
            let (_, steps, mut halted) = slots(b, 6);
            halted[0] = 1;
            let (rows, q, q_rows) = (rows(b), normal(2 * b, 2.0, 6), normal(2 * b, 1.0, 7));
            let of = |width: usize, x: &[f64]| tensor(&device, DType::F32, &[b, width], x);
            let out = tensor(&device, DType::F32, &[metric::LEN], &[f64::NAN; metric::LEN]);
            act_halt::metrics(
                &of(4, &rows),
                &of(2, &q),
                &of(2, &q_rows),
                &ints(&device, &[b], &steps),
                &flags(&device, &halted),
                &out,
            )
            .unwrap();
            let mut want: Vec<f64> = reals(&[0.0; metric::LEN]);
            reference::metrics::<f64>(&rows, &q, &q_rows, &steps, &halted, &mut want);
            for (i, (got, want)) in numbers(&out).into_iter().zip(want).enumerate() {
                let at = format!("metric {i} of {b} slots on {name}");
                compare(&at, &[got], &[want], &[want], DType::F32, 1e-6);
            }
        }
    }
}

#[test]
fn mismatches_are_refused() {
    for (_, device) in devices() {
        let f32s = |shape: &[usize]| {
            tensor(&device, DType::F32, shape, &vec![0.0; shape.iter().product()])
        };
        let (halted, steps) = (flags(&device, &[0; 3]), ints(&device, &[3], &[0; 3]));
        let two = flags(&device, &[0; 2]);
        let layout = Layout::padded(&device, 3, 0, 4).unwrap();
        let cells = layout.cells();
        let admit = act_halt::admit(&two, cells, &f32s(&[3, 4]), &f32s(&[3, 4]));
        refuses("admit", admit, &["act_halt", "halted (B)", "(2)", "(3)"]);
        let admit = act_halt::admit(&halted, cells, &f32s(&[3, 5]), &f32s(&[3, 4]));
        refuses("admit", admit, &["act_halt", "src", "(3, 5)", "(3, 4)"]);
        let five = act_halt::admit(&halted, cells, &f32s(&[3, 5]), &f32s(&[3, 5]));
        refuses("admit", five, &["act_halt", "dst", "(3, 5)", "12 elements"]);
        let layout = Layout::padded(&device, 3, 0, 2).unwrap();
        let reset = act_halt::reset(&two, &f32s(&[4]), &f32s(&[3, 2, 4]), &layout);
        refuses("reset", reset, &["act_halt", "halted (B)", "(2)", "(3)"]);
        let reset = act_halt::reset(&halted, &f32s(&[5]), &f32s(&[3, 2, 4]), &layout);
        refuses("reset", reset, &["act_halt", "init (C)", "(5)", "(4)"]);
        let decide = act_halt::decide(&f32s(&[3, 3]), TRAINING, None, &steps, &halted);
        refuses("decide", decide, &["act_halt", "q (B, 2)", "(3, 3)"]);
        let decide = act_halt::decide(&f32s(&[3, 2]), TRAINING, None, &f32s(&[3]), &halted);
        refuses("decide", decide, &["act_halt", "steps (B)", "f32", "i32"]);
        let decide = act_halt::decide(&f32s(&[3, 2]), TRAINING, None, &steps, &halted);
        refuses("decide", decide, &["act_halt", "draw"]);
        let next = Some(f32s(&[2, 2]));
        let targets = act_halt::targets(&f32s(&[3, 4]), next.as_ref(), &steps, 2, &f32s(&[3, 2]));
        refuses("targets", targets, &["act_halt", "next_q (B, 2)", "(2, 2)", "(3, 2)"]);
        let (q, out) = (f32s(&[3, 2]), f32s(&[metric::LEN]));
        let metrics = act_halt::metrics(&f32s(&[2, 4]), &q, &q, &steps, &halted, &out);
        refuses("metrics", metrics, &["act_halt", "rows (B, 4)", "(2, 4)", "(3, 4)"]);
        let metrics = act_halt::metrics(&f32s(&[3, 4]), &q, &q, &steps, &two, &out);
        refuses("metrics", metrics, &["act_halt", "halted (B)", "(2)", "(3)"]);
    }
}
