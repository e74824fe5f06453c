use hrm::Result;
use hrm::dtype::DType;
use hrm::ops::real::Real;
use hrm::ops::sigmoid::{self, reference};
use hrm::tape::{Tape, Var};

use crate::check::{Input, Op, input, op_tests, refuses, tensor};
use crate::common::devices::devices;

struct Case {
    n: usize,
}

/// Single elements, the tail of a vector, more than two CPU tasks.
const CASES: &[Case] = &[Case { n: 1 }, Case { n: 7 }, Case { n: 1030 }, Case { n: 33_000 }];

impl Op for Case {
    fn name(&self) -> String {
        format!("sigmoid n {}", self.n)
    }
    fn inputs(&self) -> Vec<Input> {
        vec![input(&[self.n], 1.0, 1)]
    }
    fn run(&self, tape: &mut Tape, x: &[Var]) -> Result<Var> {
        sigmoid::forward(tape, &x[0])
    }
    fn forward<R: Real>(&self, x: &[Vec<R>]) -> Vec<R> {
        let mut y = vec![R::default(); x[0].len()];
        reference::forward(&x[0], &mut y);
        y
    }
    fn backward<R: Real>(&self, x: &[Vec<R>], dy: &[R]) -> Vec<Vec<R>> {
        let mut dx = vec![R::default(); dy.len()];
        reference::backward(&self.forward(x), dy, &mut dx);
        vec![dx]
    }
}

op_tests!(CASES, f32);

#[test]
fn extremes_saturate_nan_stays_and_other_dtypes_are_refused() {
    for (name, device) in devices() {
        let run = |dtype| {
            let x = tensor(&device, dtype, &[4], &[f64::NAN, -200.0, 200.0, 0.0]);
            sigmoid::forward(&mut Tape::no_grad(&device), &Var::constant(x))
        };
        let y = run(DType::F32).unwrap().tensor.download::<f32>().unwrap();
        assert!(y[0].is_nan() && y[1..] == [0.0, 1.0, 0.5], "{name}: {y:?}");
        refuses("dtype", run(DType::Bf16), &["sigmoid", "bf16", "f32"]);
    }
}
