use hrm::Result;
use hrm::dtype::DType;
use hrm::ops::bce_logits::{self, NO_TARGET, reference};
use hrm::ops::real::Real;
use hrm::tape::{Tape, Var};

use crate::check::{Input, Op, input, op_tests, refuses, tensor};
use crate::common::devices::devices;

struct Case {
    b: usize,
    scale: f64,
}

const CASES: &[Case] =
    &[Case { b: 1, scale: 1.0 }, Case { b: 17, scale: 5.0 }, Case { b: 33, scale: 40.0 }];

impl Case {
    /// 0, 1, between, and switched off.
    fn targets(&self) -> Vec<f64> {
        (0..2 * self.b).map(|i| [0.0, 0.75, 1.0, NO_TARGET as f64, 0.125][i % 5]).collect()
    }
}

impl Op for Case {
    fn name(&self) -> String {
        format!("bce_logits b {} scale {}", self.b, self.scale)
    }
    fn inputs(&self) -> Vec<Input> {
        vec![input(&[self.b, 2], self.scale, 1)]
    }
    fn run(&self, tape: &mut Tape, x: &[Var]) -> Result<Var> {
        let targets = tensor(tape.device(), DType::F32, &[self.b, 2], &self.targets());
        bce_logits::forward(tape, &x[0], &targets)
    }
    fn forward<R: Real>(&self, x: &[Vec<R>]) -> Vec<R> {
        let targets: Vec<R> = crate::check::reals(&self.targets());
        let mut rows = vec![R::default(); targets.len()];
        reference::forward(&x[0], &targets, &mut rows);
        rows
    }
    fn backward<R: Real>(&self, x: &[Vec<R>], dy: &[R]) -> Vec<Vec<R>> {
        let targets: Vec<R> = crate::check::reals(&self.targets());
        let mut dq = vec![R::default(); targets.len()];
        reference::backward(&x[0], &targets, dy, &mut dq);
        vec![dq]
    }
}

op_tests!(CASES);

/// Whatever the logit is: the entry takes no part.
#[test]
fn an_entry_without_target_has_no_loss_and_no_gradient() {
    for (_, device) in devices() {
        let mut tape = Tape::new(&device);
        let q = tape.leaf(tensor(&device, DType::F32, &[1, 2], &[f64::INFINITY, 80.0]));
        let targets = tensor(&device, DType::F32, &[1, 2], &[NO_TARGET as f64; 2]);
        let rows = bce_logits::forward(&mut tape, &q, &targets).unwrap();
        assert_eq!(rows.tensor.download::<f32>().unwrap(), [0.0; 2]);
        let ones = tensor(&device, DType::F32, &[1, 2], &[1.0; 2]);
        let grads = tape.backward(&[(&rows, ones)]).unwrap();
        assert_eq!(grads.get(q.id).unwrap().download::<f32>().unwrap(), [0.0; 2]);
    }
}

#[test]
fn targets_of_another_shape_or_dtype_are_refused() {
    for (_, device) in devices() {
        let q = Var::constant(tensor(&device, DType::F32, &[3, 2], &[0.0; 6]));
        let run = |targets| bce_logits::forward(&mut Tape::new(&device), &q, &targets);
        let short = tensor(&device, DType::F32, &[2, 2], &[0.0; 4]);
        refuses("shape", run(short), &["bce_logits", "targets (B, 2)", "(2, 2)", "(3, 2)"]);
        let half = tensor(&device, DType::Bf16, &[3, 2], &[0.0; 6]);
        refuses("dtype", run(half), &["bce_logits", "targets", "bf16", "f32"]);
    }
}
