use hrm::Result;
use hrm::dtype::DType;
use hrm::ops::bias_relu::{self, reference};
use hrm::ops::real::Real;
use hrm::tape::{Tape, Var};

use crate::check::{Input, Op, input, op_tests, refuses, tensor};
use crate::common::devices::devices;

struct Case {
    n: usize,
    c: usize,
}

const CASES: &[Case] = &[
    Case { n: 1, c: 1 },
    Case { n: 17, c: 3 },
    Case { n: 97, c: 13 },
    Case { n: 5, c: 1032 },
    Case { n: 300, c: 64 }, // more than two parts of the column sums
];

impl Op for Case {
    fn name(&self) -> String {
        format!("bias_relu n {} c {}", self.n, self.c)
    }
    /// x and bias, whose sum keeps away from the kink.
    fn inputs(&self) -> Vec<Input> {
        let (mut x, bias) = (input(&[self.n, self.c], 1.0, 1), input(&[self.c], 0.5, 2));
        for (x, bias) in x.values.iter_mut().zip(bias.values.iter().cycle()) {
            if (*x + bias).abs() < 1e-2 {
                *x += 0.25;
            }
        }
        vec![x, bias]
    }
    fn run(&self, tape: &mut Tape, x: &[Var]) -> Result<Var> {
        bias_relu::forward(tape, &x[0], &x[1])
    }
    fn forward<R: Real>(&self, x: &[Vec<R>]) -> Vec<R> {
        let mut y = vec![R::default(); x[0].len()];
        reference::forward(&x[0], &x[1], &mut y);
        y
    }
    fn backward<R: Real>(&self, x: &[Vec<R>], dy: &[R]) -> Vec<Vec<R>> {
        let [mut dx, mut dbias] = [x[0].len(), self.c].map(|n| vec![R::default(); n]);
        reference::backward(&self.forward(x), dy, &mut dx, &mut dbias);
        vec![dx, dbias]
    }
}

op_tests!(CASES);

#[test]
fn nan_is_not_hidden() {
    for (name, device) in devices() {
        let x = Var::constant(tensor(&device, DType::F32, &[1, 3], &[f64::NAN, -1.0, 1.0]));
        let bias = Var::constant(tensor(&device, DType::F32, &[3], &[0.0; 3]));
        let y = bias_relu::forward(&mut Tape::no_grad(&device), &x, &bias).unwrap();
        let y = y.tensor.download::<f32>().unwrap();
        assert!(y[0].is_nan() && y[1..] == [0.0, 1.0], "{name}: {y:?}");
    }
}

#[test]
fn a_bias_of_another_shape_or_dtype_is_refused() {
    for (_, device) in devices() {
        let x = Var::constant(tensor(&device, DType::F32, &[2, 4], &[0.0; 8]));
        let run = |bias| bias_relu::forward(&mut Tape::new(&device), &x, &Var::constant(bias));
        let short = tensor(&device, DType::F32, &[3], &[0.0; 3]);
        refuses("shape", run(short), &["bias_relu", "bias (C)", "(3)", "(4)"]);
        let half = tensor(&device, DType::Bf16, &[4], &[0.0; 4]);
        refuses("dtype", run(half), &["bias_relu", "bias", "bf16", "f32"]);
    }
}
