//! The tape itself: who gets which gradient, what is kept, and that recomputing changes no bit.

use hrm::Result;
use hrm::backend::{Device, DeviceKind, Mode, Purpose};
use hrm::dtype::DType;
use hrm::ops::{add, matmul, rms_norm, swiglu};
use hrm::tape::{Grads, Tape, Var, checkpoint};
use hrm::tensor::Tensor;

use crate::check::{compare, normal, numbers, tensor};
use crate::common::devices::devices;

const N: usize = 5;
const C: usize = 6;

fn f32s(device: &Device, shape: &[usize], seed: u64) -> Tensor {
    tensor(device, DType::F32, shape, &normal(shape.iter().product(), 1.0, seed))
}

/// norm(x + down(swiglu(up x))): a residual, so x is used twice.
fn mlp(tape: &mut Tape, x: &Var, [up, down]: [&Var; 2]) -> Result<Var> {
    let gate_up = matmul::linear(tape, x, up, None)?;
    let inner = swiglu::forward(tape, &gate_up)?;
    let y = matmul::linear(tape, &inner, down, None)?;
    rms_norm::forward(tape, x, &y, 1e-5)
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Keep {
    All,
    Inputs,
    /// Checkpoints inside a checkpoint.
    Nested,
}

/// Two blocks that share their weights.
fn two_blocks(tape: &mut Tape, x: &Var, w: [&Var; 2], keep: Keep) -> Result<Var> {
    let block = |tape: &mut Tape, x: &Var, keep: Keep| match keep {
        Keep::All => mlp(tape, x, w),
        _ => {
            let [x_again, up, down] = [x, w[0], w[1]].map(Var::clone);
            checkpoint(tape, &[x, w[0], w[1]], move |tape| mlp(tape, &x_again, [&up, &down]))
        }
    };
    if keep == Keep::Nested {
        let [x_again, up, down] = [x, w[0], w[1]].map(Var::clone);
        return checkpoint(tape, &[x, w[0], w[1]], move |tape| {
            two_blocks(tape, &x_again, [&up, &down], Keep::Inputs)
        });
    }
    let h = block(tape, x, keep)?;
    block(tape, &h, keep)
}

/// Gradients of x, up and down; x is used a third time and the blocks' output twice.
fn gradients(device: &Device, dtype: DType, keep: Keep, mode: Mode) -> Vec<Vec<u8>> {
    let mut tape = Tape::new(device);
    let values = |shape: &[usize], seed| {
        tensor(device, dtype, shape, &normal(shape.iter().product(), 1.0, seed))
    };
    let x = tape.leaf(values(&[N, C], 1));
    let (dup, ddown) = (f32s(device, &[2 * C, C], 52), f32s(device, &[C, C], 53));
    let up = tape.bind(values(&[2 * C, C], 2), dup.clone(), mode);
    let down = tape.bind(values(&[C, C], 3), ddown.clone(), mode);
    let h = two_blocks(&mut tape, &x, [&up, &down], keep).unwrap();
    let y = add::forward(&mut tape, &[&h, &x, &h]).unwrap();
    let grads = tape.backward(&[(&y, values(&[N, C], 9))]).unwrap();
    let all = [grads.get(x.id).unwrap(), &dup, &ddown];
    all.iter().map(|t| t.read_bytes().unwrap().to_vec()).collect()
}

#[test]
fn checkpoint_gives_the_same_bits() {
    for (name, device) in devices() {
        for dtype in [DType::F32, DType::Bf16] {
            for mode in [Mode::Set, Mode::Add] {
                let all = gradients(&device, dtype, Keep::All, mode);
                assert!(all.iter().flatten().any(|&b| b != 0));
                for keep in [Keep::Inputs, Keep::Nested] {
                    let again = gradients(&device, dtype, keep, mode);
                    assert!(all == again, "{keep:?} {dtype} {mode:?} on {name}");
                }
            }
        }
    }
}

#[test]
fn checkpoint_of_a_block_that_hands_on_its_input_keeps_every_gradient() {
    for (_, device) in devices() {
        let mut tape = Tape::new(&device);
        let x = tape.leaf(f32s(&device, &[2, 2], 1));
        let inner = x.clone();
        let same = checkpoint(&mut tape, &[&x], move |_| Ok(inner.clone())).unwrap();
        let y = add::forward(&mut tape, &[&same, &x]).unwrap();
        let grads = tape.backward(&[(&y, tensor(&device, DType::F32, &[2, 2], &[1.0; 4]))]);
        assert_eq!(numbers(grads.unwrap().get(x.id).unwrap()), [2.0; 4]);
    }
}

fn activation_bytes(device: &Device) -> usize {
    device.usage().now_bytes[Purpose::Activations as usize]
}

#[test]
fn without_gradient_nothing_is_recorded_and_nothing_kept() {
    for device in devices().into_iter().map(|(_, d)| d).chain([Device::shape_only(DeviceKind::Cpu)])
    {
        let up = f32s(&device, &[2 * C, C], 2);
        let down = f32s(&device, &[C, C], 3);
        let x = f32s(&device, &[N, C], 1);
        let output_bytes = (N * C * 4).next_multiple_of(256);

        let mut tape = Tape::no_grad(&device);
        let [x_var, up_var, down_var] = [&x, &up, &down].map(|t| tape.leaf(t.clone()));
        let before = activation_bytes(&device);
        let y = mlp(&mut tape, &x_var, [&up_var, &down_var]).unwrap();
        assert!(y.id.is_none());
        assert_eq!(activation_bytes(&device) - before, output_bytes, "only y is alive");
        drop(y);
        assert_eq!(activation_bytes(&device), before);

        let mut tape = Tape::new(&device);
        let [x_var, up_var, down_var] = [&x, &up, &down].map(|t| tape.leaf(t.clone()));
        let weights = [&up_var, &down_var];
        let y = tape.paused(|tape| mlp(tape, &x_var, weights)).unwrap();
        assert!(y.id.is_none() && !tape.wants_grad(&[&y]));
        assert_eq!(activation_bytes(&device) - before, output_bytes, "only y is alive");
        let y = mlp(&mut tape, &y, weights).unwrap();
        assert!(y.id.is_some() && tape.wants_grad(&[&y]), "recording goes on after a pause");
        let kept = activation_bytes(&device);
        drop((tape, y));
        assert!(activation_bytes(&device) < kept - output_bytes, "a recorded block keeps more");
    }
}

#[test]
fn unused_parameters_get_a_zero_gradient() {
    for (_, device) in devices() {
        let mut tape = Tape::new(&device);
        let (set, kept) = (f32s(&device, &[3], 1), f32s(&device, &[3], 2));
        let before = numbers(&kept);
        tape.bind(f32s(&device, &[3], 3), set.clone(), Mode::Set);
        tape.bind(f32s(&device, &[3], 4), kept.clone(), Mode::Add);
        let unused = tape.leaf(f32s(&device, &[3], 5));
        let grads = tape.backward(&[]).unwrap();
        assert_eq!(numbers(&set), [0.0; 3]);
        assert_eq!(numbers(&kept), before, "a later micro-batch adds nothing");
        assert!(grads.get(unused.id).is_none());
    }
}

/// Gradients of `x` and of the seed after `f`, dy being all ones.
fn of_ones(device: &Device, f: impl Fn(&mut Tape, &Var) -> Result<Var>) -> Vec<f64> {
    let mut tape = Tape::new(device);
    let x = tape.leaf(f32s(device, &[2, 2], 1));
    let y = f(&mut tape, &x).unwrap();
    let dy = tensor(device, DType::F32, &[2, 2], &[1.0; 4]);
    let grads: Grads = tape.backward(&[(&y, dy.clone())]).unwrap();
    assert_eq!(numbers(&dy), [1.0; 4], "the caller's gradient was written to");
    numbers(grads.get(x.id).unwrap())
}

#[test]
fn a_shared_gradient_is_copied_before_it_is_written() {
    for (_, device) in devices() {
        let add = |tape: &mut Tape, terms: &[&Var]| add::forward(tape, terms);
        assert_eq!(of_ones(&device, |t, x| add(t, &[x, x])), [2.0; 4]);
        assert_eq!(of_ones(&device, |t, x| add(t, &[x, x, x])), [3.0; 4]);
        // c = b + a, b = a + x, a = x + x: dc/dx = 3 + 2
        let chain = of_ones(&device, |t, x| {
            let a = add(t, &[x, x])?;
            let b = add(t, &[&a, x])?;
            add(t, &[&b, &a])
        });
        assert_eq!(chain, [5.0; 4]);
        // Two consumers share dy; the one that adds must not change what the other still reads.
        let diamond = of_ones(&device, |t, x| {
            let (a, b) = (add(t, &[x, x])?, add(t, &[x, x, x])?);
            add(t, &[&a, &b, &a])
        });
        assert_eq!(diamond, [7.0; 4]);
        // One term is a constant.
        let constant = of_ones(&device, |t, x| add(t, &[&x.detach(), x]));
        assert_eq!(constant, [1.0; 4]);
    }
}

#[test]
fn a_residual_gets_the_sum_of_both_paths() {
    for (name, device) in devices() {
        let (x, w) = (normal(N * C, 1.0, 1), normal(C * C, 1.0, 2));
        let (dy, d) = (normal(N * C, 1.0, 3), matmul::Dims { m: N, n: C, k: C });
        let zeros = || vec![0.0; N * C];
        let (mut r, mut y, mut rstd) = (zeros(), zeros(), vec![0.0; N]);
        matmul::reference::forward::<f64>(d, &x, &w, None, &mut r);
        rms_norm::reference::forward::<f64>(&x, &r, C, 1e-5, &mut y, &mut rstd);
        let (mut ds, mut dx, mut dw, mut db) = (zeros(), zeros(), vec![0.0; C * C], vec![0.0; C]);
        rms_norm::reference::backward::<f64>(&y, &rstd, C, &dy, &mut ds);
        matmul::reference::backward::<f64>(d, &x, &w, &ds, [&mut dx, &mut dw, &mut db]);
        let want: Vec<f64> = ds.iter().zip(&dx).map(|(a, b)| a + b).collect();

        for swapped in [false, true] {
            let mut tape = Tape::new(&device);
            let x = tape.leaf(tensor(&device, DType::F32, &[N, C], &x));
            let w = tape.leaf(tensor(&device, DType::F32, &[C, C], &w));
            let r = matmul::linear(&mut tape, &x, &w, None).unwrap();
            let (a, b) = if swapped { (&r, &x) } else { (&x, &r) };
            let y = rms_norm::forward(&mut tape, a, b, 1e-5).unwrap();
            let grads = tape.backward(&[(&y, tensor(&device, DType::F32, &[N, C], &dy))]).unwrap();
            for (what, id, want) in [("dx", x.id, &want), ("dw", w.id, &dw)] {
                let got = numbers(grads.get(id).unwrap());
                compare(&format!("{what} on {name}"), &got, want, want, DType::F32, 1e-5);
            }
        }
    }
}

#[test]
fn two_gradients_for_one_output_are_refused() {
    for (_, device) in devices() {
        let mut tape = Tape::new(&device);
        let x = tape.leaf(f32s(&device, &[2], 1));
        let y = add::forward(&mut tape, &[&x, &x]).unwrap();
        let dy = f32s(&device, &[2], 2);
        assert!(tape.backward(&[(&y, dy.clone()), (&y, dy)]).is_err());
    }
}

#[test]
fn the_first_bad_value_is_named_by_op_and_place() {
    for (_, device) in devices() {
        let mut tape = Tape::new(&device).checking_finite();
        let mut x = vec![0.0; 4];
        x[2] = f64::INFINITY;
        let x = tape.leaf(tensor(&device, DType::F32, &[1, 4], &x));
        let y = tape.scope("layers.3", |t| t.scope("mlp", |t| swiglu::forward(t, &x)));
        let error = y.err().expect("refused").to_string();
        assert!(error.contains("layers.3.mlp.swiglu"), "{error}");
    }
}
