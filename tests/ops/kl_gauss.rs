use hrm::Result;
use hrm::dtype::DType;
use hrm::ops::kl_gauss::{self, reference};
use hrm::ops::real::Real;
use hrm::tape::{Tape, Var};

use crate::check::{Input, Op, input, numbers, op_tests, refuses, tensor};
use crate::common::devices::devices;

struct Case {
    b: usize,
    z: usize,
}

/// One element, several parts of a kernel's sum, several CPU tasks.
const CASES: &[Case] = &[Case { b: 1, z: 1 }, Case { b: 141, z: 64 }, Case { b: 65, z: 512 }];

impl Op for Case {
    fn name(&self) -> String {
        format!("kl_gauss b {} z {}", self.b, self.z)
    }
    fn inputs(&self) -> Vec<Input> {
        vec![input(&[self.b, self.z], 1.0, 1), input(&[self.b, self.z], 0.7, 2)]
    }
    fn run(&self, tape: &mut Tape, x: &[Var]) -> Result<Var> {
        kl_gauss::forward(tape, &x[0], &x[1])
    }
    fn forward<R: Real>(&self, x: &[Vec<R>]) -> Vec<R> {
        vec![reference::forward(&x[0], &x[1])]
    }
    fn backward<R: Real>(&self, x: &[Vec<R>], dy: &[R]) -> Vec<Vec<R>> {
        let [mut dmu, mut dlog_var] = [0, 1].map(|_| vec![R::default(); x[0].len()]);
        reference::backward(&x[0], &x[1], dy[0], &mut dmu, &mut dlog_var);
        vec![dmu, dlog_var]
    }
}

op_tests!(CASES, f32);

#[test]
fn the_prior_itself_diverges_by_nothing() {
    for (name, device) in devices() {
        let zeros = Var::constant(tensor(&device, DType::F32, &[2, 5], &[0.0; 10]));
        let y = kl_gauss::forward(&mut Tape::no_grad(&device), &zeros, &zeros).unwrap();
        assert_eq!(numbers(&y.tensor), [0.0], "{name}");
    }
}

#[test]
fn only_one_gradient_may_be_wanted() {
    for (name, device) in devices() {
        for of in 0..2 {
            let mut tape = Tape::new(&device);
            let x = tensor(&device, DType::F32, &[2], &[0.5, -1.0]);
            let (x, other) = (tape.leaf(x.clone()), Var::constant(x));
            let (mu, log_var) = if of == 0 { (&x, &other) } else { (&other, &x) };
            let y = kl_gauss::forward(&mut tape, mu, log_var).unwrap();
            let dy = tensor(&device, DType::F32, &[1], &[2.0]);
            let grads = tape.backward(&[(&y, dy)]).unwrap();
            let got = numbers(grads.get(x.id).unwrap());
            let want = match of {
                0 => [0.5, -1.0],
                _ => [0.5_f64, -1.0].map(|v| 0.5 * (v.exp() - 1.0)),
            };
            let near = got.iter().zip(want).all(|(got, want)| (got - want).abs() <= 1e-6);
            assert!(near, "{name}: {got:?}, not {want:?}");
        }
    }
}

#[test]
fn mismatches_are_refused() {
    for (_, device) in devices() {
        let run = |dtype, n: usize| {
            let mu = Var::constant(tensor(&device, DType::F32, &[4], &[0.0; 4]));
            let log_var = Var::constant(tensor(&device, dtype, &[n], &vec![0.0; n]));
            kl_gauss::forward(&mut Tape::no_grad(&device), &mu, &log_var)
        };
        refuses("shape", run(DType::F32, 3), &["kl_gauss", "log_var", "(3)", "(4)"]);
        refuses("dtype", run(DType::Bf16, 4), &["kl_gauss", "bf16", "f32"]);
    }
}
