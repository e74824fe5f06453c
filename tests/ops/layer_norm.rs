use hrm::Result;
use hrm::dtype::DType;
use hrm::ops::layer_norm::{self, Affine, EPS, reference};
use hrm::ops::real::Real;
use hrm::tape::{Tape, Var};

use crate::check::{Input, Op, input, op_tests, refuses, tensor};
use crate::common::devices::devices;

struct Case {
    n: usize,
    c: usize,
}

const CASES: &[Case] = &[
    Case { n: 1, c: 8 },
    Case { n: 17, c: 3 },
    Case { n: 97, c: 13 },
    Case { n: 5, c: 512 },
    Case { n: 5, c: 1024 }, // the widest row that a warp holds
    Case { n: 5, c: 1032 },
    Case { n: 300, c: 64 }, // more than two parts of the column sums
];

impl Case {
    /// y and what is saved.
    fn saved<R: Real>(&self, x: &[Vec<R>]) -> (Vec<R>, reference::Saved<R>) {
        let mut y = vec![R::default(); self.n * self.c];
        let saved = reference::forward(&x[0], &x[1], &x[2], &x[3], EPS, &mut y);
        (y, saved)
    }
}

impl Op for Case {
    fn name(&self) -> String {
        format!("layer_norm n {} c {}", self.n, self.c)
    }
    /// x, residual, gain, bias
    fn inputs(&self) -> Vec<Input> {
        let x = [input(&[self.n, self.c], 1.0, 1), input(&[self.n, self.c], 2.0, 2)];
        x.into_iter().chain([input(&[self.c], 1.0, 3), input(&[self.c], 0.5, 4)]).collect()
    }
    fn run(&self, tape: &mut Tape, x: &[Var]) -> Result<Var> {
        layer_norm::forward(tape, &x[0], &x[1], Affine { gain: &x[2], bias: &x[3] }, EPS)
    }
    fn forward<R: Real>(&self, x: &[Vec<R>]) -> Vec<R> {
        self.saved(x).0
    }
    fn backward<R: Real>(&self, x: &[Vec<R>], dy: &[R]) -> Vec<Vec<R>> {
        let mut ds = vec![R::default(); self.n * self.c];
        let [mut dgain, mut dbias] = [(); 2].map(|_| vec![R::default(); self.c]);
        reference::backward(&self.saved(x).1, &x[2], dy, &mut ds, &mut dgain, &mut dbias);
        vec![ds.clone(), ds, dgain, dbias]
    }
}

op_tests!(CASES);

#[test]
fn a_large_mean_does_not_eat_the_variance() {
    for (name, device) in devices() {
        for c in [5, 64] {
            let x: Vec<f64> = (0..c).map(|i| 4096.0 + (i % 5) as f64).collect();
            let of = |x: &[f64]| Var::constant(tensor(&device, DType::F32, &[c], x));
            let (x, zeros, ones) = (of(&x), of(&vec![0.0; c]), of(&vec![1.0; c]));
            let affine = Affine { gain: &ones, bias: &zeros };
            let mut tape = Tape::no_grad(&device);
            let y = layer_norm::forward(&mut tape, &x, &zeros, affine, EPS).unwrap();
            let y = y.tensor.download::<f32>().unwrap();
            let mean = y.iter().sum::<f32>() / c as f32;
            let square = y.iter().map(|y| y * y).sum::<f32>() / c as f32;
            assert!(mean.abs() <= 1e-3 && (square - 1.0).abs() <= 1e-3, "{name}: {mean} {square}");
        }
    }
}

#[test]
fn mismatches_are_refused() {
    for (_, device) in devices() {
        let var = |dtype, shape: &[usize]| {
            Var::constant(tensor(&device, dtype, shape, &vec![0.0; shape.iter().product()]))
        };
        let (f, h) = (DType::F32, DType::Bf16);
        let x = var(f, &[2, 4]);
        let run = |r: Var, gain: Var, bias: Var| {
            let affine = Affine { gain: &gain, bias: &bias };
            layer_norm::forward(&mut Tape::new(&device), &x, &r, affine, EPS)
        };
        let r = run(var(f, &[2, 3]), var(f, &[4]), var(f, &[4]));
        refuses("residual", r, &["layer_norm", "residual", "(2, 3)", "(2, 4)"]);
        let gain = run(var(f, &[2, 4]), var(f, &[3]), var(f, &[4]));
        refuses("gain", gain, &["layer_norm", "gain (C)", "(3)", "(4)"]);
        let bias = run(var(f, &[2, 4]), var(f, &[4]), var(h, &[4]));
        refuses("bias", bias, &["layer_norm", "bias", "bf16", "f32"]);
    }
}
