use approx::relative_eq;
use hrm::Result;
use hrm::backend::Device;
use hrm::dtype::DType;
use hrm::ops::batch_norm::{self, Affine, How, MOMENTUM, Statistics, reference};
use hrm::ops::ema;
use hrm::ops::real::Real;
use hrm::tape::{Tape, Var};

use crate::check::{Input, Op, compare, input, normal, numbers, op_tests, reals, refuses, tensor};
use crate::common::devices::devices;

struct Case {
    shape: [usize; 4],
    training: bool,
    relu: bool,
}

const fn case(shape: [usize; 4], training: bool, relu: bool) -> Case {
    Case { shape, training, relu }
}

const CASES: &[Case] = &[
    case([3, 1, 1, 1], true, false), // one pixel
    case([3, 5, 1, 3], true, true),  // no 16-byte access
    case([3, 5, 1, 3], false, true),
    case([7, 3, 2, 2], true, true), // planes of one vector
    case([7, 3, 2, 2], false, false),
    case([5, 2, 32, 32], true, true), // more than one part of a channel
    case([2, 300, 3, 3], true, false), // more channels than threads of a block
];

impl Case {
    fn c(&self) -> usize {
        self.shape[1]
    }
    fn s(&self) -> usize {
        self.shape[2] * self.shape[3]
    }
    fn running(&self) -> [Vec<f64>; 2] {
        let var = normal(self.c(), 0.5, 12).iter().map(|v| (v.abs() + 0.3) as f32 as f64).collect();
        [normal(self.c(), 0.4, 11), var]
    }
    /// What x is normalised by.
    fn used<R: Real>(&self, x: &[R]) -> [Vec<R>; 2] {
        if self.training {
            let (mean, var) = reference::moments(x, self.c(), self.s(), 0);
            return [mean, var];
        }
        self.running().map(|v| reals(&v))
    }
    fn reference<'a, R: Real>(
        &self,
        [mean, var]: &'a [Vec<R>; 2],
        gain: &'a [R],
    ) -> reference::Given<'a, R> {
        reference::Given { s: self.s(), mean, var, gain, relu: self.relu }
    }
}

fn statistics(device: &Device, [mean, var]: &[Vec<f64>; 2]) -> Statistics {
    let of = |values: &[f64]| tensor(device, DType::F32, &[values.len()], values);
    Statistics { mean: of(mean), var: of(var) }
}

impl Op for Case {
    const RTOL: f64 = 2e-5;

    fn name(&self) -> String {
        format!("batch_norm {:?} training {} relu {}", self.shape, self.training, self.relu)
    }
    /// x is moved until no output is near the kink.
    fn inputs(&self) -> Vec<Input> {
        let mut x = input(&self.shape, 1.0, 1);
        x.values.iter_mut().for_each(|x| *x = (*x + 0.7) as f32 as f64);
        let (gain, bias) = (input(&[self.c()], 1.0, 2), input(&[self.c()], 0.5, 3));
        let near = |x: &[f64]| -> Vec<usize> {
            let used = self.used(x);
            let linear = reference::Given { relu: false, ..self.reference(&used, &gain.values) };
            let y = linear.forward(x, &bias.values);
            (0..y.len()).filter(|&i| self.relu && y[i].abs() < 1e-3).collect()
        };
        loop {
            let moved = near(&x.values);
            if moved.is_empty() {
                break;
            }
            moved.iter().for_each(|&i| x.values[i] = (x.values[i] + 0.01) as f32 as f64);
        }
        vec![x, gain, bias]
    }
    fn run(&self, tape: &mut Tape, x: &[Var]) -> Result<Var> {
        let given = statistics(tape.device(), &self.running());
        let how = match self.training {
            true => How::Training { seen: &given },
            false => How::Evaluation { running: &given },
        };
        batch_norm::forward(tape, &x[0], Affine { gain: &x[1], bias: &x[2] }, how, self.relu)
    }
    fn forward<R: Real>(&self, x: &[Vec<R>]) -> Vec<R> {
        let used = self.used(&x[0]);
        self.reference(&used, &x[1]).forward(&x[0], &x[2])
    }
    fn backward<R: Real>(&self, x: &[Vec<R>], dy: &[R]) -> Vec<Vec<R>> {
        let used = self.used(&x[0]);
        let given = self.reference(&used, &x[1]);
        let y = given.forward(&x[0], &x[2]);
        given.backward(&x[0], &y, dy, self.training).to_vec()
    }
}

op_tests!(CASES, f32);

/// The frozen model's case: gradient to x, none to the parameters.
#[test]
fn evaluation_passes_a_gradient_through_constants() {
    for (name, device) in devices() {
        let case = &CASES[2];
        let mut tape = Tape::new(&device);
        let inputs = case.inputs();
        let of = |i: &Input| tensor(&device, DType::F32, &i.shape, &i.values);
        let x = tape.leaf(of(&inputs[0]));
        let [gain, bias] = [1, 2].map(|i| Var::constant(of(&inputs[i])));
        let y = case.run(&mut tape, &[x.clone(), gain, bias]).unwrap();
        let dy = normal(y.tensor.elems(), 1.0, 4);
        let seed = tensor(&device, DType::F32, &case.shape, &dy);
        let grads = tape.backward(&[(&y, seed)]).unwrap();
        let values: Vec<Vec<f64>> = inputs.into_iter().map(|i| i.values).collect();
        let want = &case.backward(&values, &dy)[0];
        let got = numbers(grads.get(x.id).unwrap());
        compare(name, &got, want, want, DType::F32, 1e-5);
    }
}

/// PyTorch's update of the running statistics, unless the guard is down.
#[test]
fn running_statistics_follow_the_batches_under_the_guard() {
    for (name, device) in devices() {
        let case = &CASES[5];
        let (c, inputs) = (case.c(), case.inputs());
        // The layout of a model: running and seen statistics flat, side by side.
        let flat = |values: &[f64]| tensor(&device, DType::F32, &[2 * c], values);
        let (running, seen) = (flat(&case.running().concat()), flat(&vec![f64::NAN; 2 * c]));
        let of = |flat: &hrm::tensor::Tensor| Statistics {
            mean: flat.view(0, [c]).unwrap(),
            var: flat.view(c, [c]).unwrap(),
        };
        let x: Vec<Var> = inputs
            .iter()
            .map(|i| Var::constant(tensor(&device, DType::F32, &i.shape, &i.values)))
            .collect();
        let affine = Affine { gain: &x[1], bias: &x[2] };
        let how = How::Training { seen: &of(&seen) };
        batch_norm::forward(&mut Tape::no_grad(&device), &x[0], affine, how, true).unwrap();
        let (mean, var) = reference::moments(&inputs[0].values, c, case.s(), 1);
        let batch = [mean, var].concat();
        let before = case.running().concat();
        let update = |guard: f64| {
            let guard = tensor(&device, DType::F32, &[3], &[1.0, 1.0, guard]);
            ema::step(&running, &seen, &guard, MOMENTUM).unwrap();
            numbers(&running)
        };
        assert_eq!(update(0.0), before, "{name}: the guard is down");
        let want: Vec<f64> = before.iter().zip(&batch).map(|(r, b)| 0.9 * r + 0.1 * b).collect();
        compare(name, &update(1.0), &want, &want, DType::F32, 1e-6);
    }
}

/// Sums about zero would leave nothing of this variance in f32.
#[test]
fn a_large_mean_does_not_drown_the_variance() {
    for (name, device) in devices() {
        let n = 3 * 32 * 32;
        let values: Vec<f64> =
            normal(n, 1.0, 5).iter().map(|x| (x + 4096.0) as f32 as f64).collect();
        let x = Var::constant(tensor(&device, DType::F32, &[3, 1, 32, 32], &values));
        let one = |v: f64| Var::constant(tensor(&device, DType::F32, &[1], &[v]));
        let seen = statistics(&device, &[vec![0.0], vec![0.0]]);
        let (gain, bias) = (one(1.0), one(0.0));
        let affine = Affine { gain: &gain, bias: &bias };
        let how = How::Training { seen: &seen };
        batch_norm::forward(&mut Tape::no_grad(&device), &x, affine, how, false).unwrap();
        let (_, want) = reference::moments(&values, 1, 1024, 1);
        let got = numbers(&seen.var);
        let near = relative_eq!(got[0], want[0], max_relative = 1e-3);
        assert!(near, "{name}: {got:?}, not {want:?}");
    }
}

#[test]
fn nonsense_is_refused() {
    for (_, device) in devices() {
        let run = |shape: &[usize], c: usize, training: bool| {
            let n = shape.iter().product();
            let x = Var::constant(tensor(&device, DType::F32, shape, &vec![0.0; n]));
            let of_channels = || tensor(&device, DType::F32, &[c], &vec![1.0; c]);
            let (gain, bias) = (Var::constant(of_channels()), Var::constant(of_channels()));
            let given = Statistics { mean: of_channels(), var: of_channels() };
            let how = match training {
                true => How::Training { seen: &given },
                false => How::Evaluation { running: &given },
            };
            let affine = Affine { gain: &gain, bias: &bias };
            batch_norm::forward(&mut Tape::no_grad(&device), &x, affine, how, false)
        };
        refuses("rank", run(&[2, 3], 3, true), &["batch_norm", "x (B, C, GH, GW)"]);
        refuses("channels", run(&[2, 3, 1, 1], 4, true), &["batch_norm", "gain (C)", "(4)", "(3)"]);
        refuses("one value", run(&[1, 3, 1, 1], 3, true), &["batch_norm", "no variance"]);
        run(&[1, 3, 1, 1], 3, false).unwrap();
    }
}
