use hrm::Result;
use hrm::dtype::DType;
use hrm::ops::mse::{self, reference};
use hrm::ops::real::Real;
use hrm::tape::{Tape, Var};

use crate::check::{Input, Op, input, op_tests, refuses, tensor};
use crate::common::devices::devices;

struct Case {
    n: usize,
}

/// Single elements, the tail of a vector, several parts of a kernel's sum, several CPU tasks.
const CASES: &[Case] = &[Case { n: 1 }, Case { n: 7 }, Case { n: 9001 }, Case { n: 33_000 }];

impl Op for Case {
    fn name(&self) -> String {
        format!("mse n {}", self.n)
    }
    fn inputs(&self) -> Vec<Input> {
        vec![input(&[self.n], 1.0, 1), input(&[self.n], 0.5, 2)]
    }
    fn run(&self, tape: &mut Tape, x: &[Var]) -> Result<Var> {
        mse::forward(tape, &x[0], &x[1])
    }
    fn forward<R: Real>(&self, x: &[Vec<R>]) -> Vec<R> {
        vec![reference::forward(&x[0], &x[1])]
    }
    fn backward<R: Real>(&self, x: &[Vec<R>], dy: &[R]) -> Vec<Vec<R>> {
        let mut da = vec![R::default(); x[0].len()];
        reference::backward(&x[0], &x[1], dy[0], &mut da);
        let db = da.iter().map(|&d| -d).collect();
        vec![da, db]
    }
}

op_tests!(CASES, f32);

#[test]
fn mismatches_are_refused() {
    for (_, device) in devices() {
        let run = |dtype, n: usize| {
            let a = Var::constant(tensor(&device, DType::F32, &[4], &[0.0; 4]));
            let b = Var::constant(tensor(&device, dtype, &[n], &vec![0.0; n]));
            mse::forward(&mut Tape::no_grad(&device), &a, &b)
        };
        refuses("shape", run(DType::F32, 3), &["mse", "(3)", "(4)"]);
        refuses("dtype", run(DType::Bf16, 4), &["mse", "bf16", "f32"]);
    }
}
