//! Ops of one formula, each against its formula in f64.

use hrm::Result;
use hrm::dtype::DType;
use hrm::ops::pointwise::{relu, sigmoid};
use hrm::ops::real::Real;
use hrm::tape::{Tape, Var};

use crate::check::{Input, Op, input, op_tests, refuses, tensor};
use crate::common::devices::devices;

type Run = fn(&mut Tape, &Var) -> Result<Var>;

/// An op, y of x, dx of y and dy, where it has a kink, and (x, y) that hold exactly.
type Formula =
    (&'static str, Run, fn(f64) -> f64, fn(f64, f64) -> f64, Option<f64>, &'static [(f64, f32)]);

const FORMULAS: &[Formula] = &[
    (
        "relu",
        relu::forward,
        |x| x.max(0.0),
        |y, dy| if y > 0.0 { dy } else { 0.0 },
        Some(0.0),
        &[(-1.0, 0.0), (0.0, 0.0), (1.0, 1.0)],
    ),
    (
        "sigmoid",
        sigmoid::forward,
        |x| 1.0 / (1.0 + (-x).exp()),
        |y, dy| dy * y * (1.0 - y),
        None,
        &[(-200.0, 0.0), (0.0, 0.5), (200.0, 1.0)],
    ),
];

struct Case(Formula, usize);

/// Single elements, the tail of a vector, more than two CPU tasks.
const SIZES: [usize; 4] = [1, 7, 1030, 33_000];

fn cases() -> Vec<Case> {
    FORMULAS.iter().flat_map(|f| SIZES.map(|n| Case(*f, n))).collect()
}

impl Op for Case {
    fn name(&self) -> String {
        let Case((op, ..), n) = self;
        format!("{op} n {n}")
    }
    fn inputs(&self) -> Vec<Input> {
        vec![input(&[self.1], 1.0, 1)]
    }
    fn run(&self, tape: &mut Tape, x: &[Var]) -> Result<Var> {
        let Case((_, run, ..), _) = self;
        run(tape, &x[0])
    }
    fn forward<R: Real>(&self, x: &[Vec<R>]) -> Vec<R> {
        let Case((_, _, y, ..), _) = self;
        x[0].iter().map(|x| R::of(y(x.to_f64()))).collect()
    }
    fn backward<R: Real>(&self, x: &[Vec<R>], dy: &[R]) -> Vec<Vec<R>> {
        let Case((_, _, _, dx, ..), _) = self;
        let y = self.forward(x);
        vec![y.iter().zip(dy).map(|(y, dy)| R::of(dx(y.to_f64(), dy.to_f64()))).collect()]
    }
    fn is_smooth_at(&self, x: f64) -> bool {
        let Case((_, _, _, _, kink, _), _) = self;
        kink.is_none_or(|kink| (x - kink).abs() > 1e-3)
    }
}

op_tests!(cases(), f32);

#[test]
fn exact_values_hold_nan_stays_and_other_dtypes_are_refused() {
    for (device_name, device) in devices() {
        for (op, run, _, _, _, exact) in FORMULAS {
            let values: Vec<f64> = exact.iter().map(|(x, _)| *x).chain([f64::NAN]).collect();
            let run = |dtype| {
                let x = tensor(&device, dtype, &[values.len()], &values);
                run(&mut Tape::no_grad(&device), &Var::constant(x))
            };
            let y = run(DType::F32).unwrap().tensor.download::<f32>().unwrap();
            for ((x, want), got) in exact.iter().zip(&y) {
                assert_eq!(got, want, "{device_name}: {op} of {x}");
            }
            assert!(y[exact.len()].is_nan(), "{device_name}: {op} of NaN");
            refuses("dtype", run(DType::Bf16), &[op, "bf16", "f32"]);
        }
    }
}
