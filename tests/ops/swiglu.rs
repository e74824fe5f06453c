use hrm::Result;
use hrm::dtype::DType;
use hrm::ops::real::Real;
use hrm::ops::swiglu::{self, reference};
use hrm::tape::{Tape, Var};

use crate::check::{Input, Op, input, op_tests, refuses, tensor};
use crate::common::devices::devices;

struct Case {
    n: usize,
    f: usize,
}

const CASES: &[Case] = &[
    Case { n: 1, f: 1 },
    Case { n: 17, f: 3 },
    Case { n: 33, f: 13 },
    Case { n: 9, f: 12 },
    Case { n: 70, f: 64 },
];

impl Op for Case {
    fn name(&self) -> String {
        format!("swiglu n {} f {}", self.n, self.f)
    }
    fn inputs(&self) -> Vec<Input> {
        vec![input(&[self.n, 2 * self.f], 2.0, 1)]
    }
    fn run(&self, tape: &mut Tape, x: &[Var]) -> Result<Var> {
        swiglu::forward(tape, &x[0])
    }
    fn forward<R: Real>(&self, x: &[Vec<R>]) -> Vec<R> {
        let mut y = vec![R::default(); self.n * self.f];
        reference::forward(&x[0], self.f, &mut y);
        y
    }
    fn backward<R: Real>(&self, x: &[Vec<R>], dy: &[R]) -> Vec<Vec<R>> {
        let mut dx = vec![R::default(); x[0].len()];
        reference::backward(&x[0], self.f, dy, &mut dx);
        vec![dx]
    }
}

op_tests!(CASES);

#[test]
fn gates_far_from_zero_stay_finite() {
    for (_, device) in devices() {
        let mut tape = Tape::new(&device);
        let x = tape.leaf(tensor(&device, DType::F32, &[2, 2], &[1e4, 3.0, -1e4, 3.0]));
        let y = swiglu::forward(&mut tape, &x).unwrap();
        assert_eq!(y.tensor.download::<f32>().unwrap(), [3e4, 0.0]);
        let dy = tensor(&device, DType::F32, &[2, 1], &[1.0, 1.0]);
        let grads = tape.backward(&[(&y, dy)]).unwrap();
        let dx = grads.get(x.id).unwrap().download::<f32>().unwrap();
        assert_eq!(dx, [3.0, 1e4, 0.0, 0.0]);
    }
}

#[test]
fn odd_width_and_integers_are_refused() {
    for (_, device) in devices() {
        let mut tape = Tape::new(&device);
        let x = Var::constant(tensor(&device, DType::F32, &[2, 3], &[0.0; 6]));
        refuses("odd", swiglu::forward(&mut tape, &x), &["swiglu", "gate_up", "(2, 3)"]);
        let x = Var::constant(tensor(&device, DType::I32, &[2, 4], &[0.0; 8]));
        refuses("dtype", swiglu::forward(&mut tape, &x), &["swiglu", "i32", "f32 or bf16"]);
    }
}
