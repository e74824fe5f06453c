use hrm::Result;
use hrm::dtype::DType;
use hrm::ops::real::Real;
use hrm::ops::relu::{self, reference};
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
        format!("relu n {}", self.n)
    }
    fn inputs(&self) -> Vec<Input> {
        vec![input(&[self.n], 1.0, 1)]
    }
    fn run(&self, tape: &mut Tape, x: &[Var]) -> Result<Var> {
        relu::forward(tape, &x[0])
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
    fn is_smooth_at(&self, x: f64) -> bool {
        x.abs() > 1e-3
    }
}

op_tests!(CASES, f32);

#[test]
fn nan_is_not_hidden_and_other_dtypes_are_refused() {
    for (name, device) in devices() {
        let run = |dtype| {
            let x = Var::constant(tensor(&device, dtype, &[3], &[f64::NAN, -1.0, 1.0]));
            relu::forward(&mut Tape::no_grad(&device), &x)
        };
        let y = run(DType::F32).unwrap().tensor.download::<f32>().unwrap();
        assert!(y[0].is_nan() && y[1..] == [0.0, 1.0], "{name}: {y:?}");
        refuses("dtype", run(DType::Bf16), &["relu", "bf16", "f32"]);
    }
}
