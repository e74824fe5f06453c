use hrm::Result;
use hrm::dtype::DType;
use hrm::ops::matmul::{self, Dims, reference};
use hrm::ops::real::Real;
use hrm::tape::{Tape, Var};

use crate::check::{Input, Op, input, op_tests, refuses, tensor};
use crate::common::devices::devices;

struct Case {
    n: usize,
    k: usize,
    o: usize,
    bias: bool,
}

const fn case(n: usize, k: usize, o: usize, bias: bool) -> Case {
    Case { n, k, o, bias }
}

const CASES: &[Case] = &[
    case(1, 1, 1, true),
    case(1, 13, 2, true), // the Q head of one row
    case(17, 7, 11, true),
    case(33, 40, 6, false),
    case(70, 24, 12, false),
    case(97, 64, 100, false),
];

impl Case {
    fn dims(&self) -> Dims {
        Dims { m: self.n, n: self.o, k: self.k }
    }
}

impl Op for Case {
    fn name(&self) -> String {
        format!("matmul n {} k {} o {} bias {}", self.n, self.k, self.o, self.bias)
    }
    fn inputs(&self) -> Vec<Input> {
        let mut x = vec![input(&[self.n, self.k], 1.0, 1), input(&[self.o, self.k], 0.5, 2)];
        x.extend(self.bias.then(|| input(&[self.o], 1.0, 3)));
        x
    }
    fn run(&self, tape: &mut Tape, x: &[Var]) -> Result<Var> {
        matmul::linear(tape, &x[0], &x[1], x.get(2))
    }
    fn forward<R: Real>(&self, x: &[Vec<R>]) -> Vec<R> {
        let mut y = vec![R::default(); self.n * self.o];
        reference::forward(self.dims(), &x[0], &x[1], x.get(2).map(|b| &b[..]), &mut y);
        y
    }
    fn backward<R: Real>(&self, x: &[Vec<R>], dy: &[R]) -> Vec<Vec<R>> {
        let [mut dx, mut dw] = [0, 1].map(|i: usize| vec![R::default(); x[i].len()]);
        let mut db = vec![R::default(); self.o];
        reference::backward(self.dims(), &x[0], &x[1], dy, [&mut dx, &mut dw, &mut db]);
        let mut grads = vec![dx, dw, db];
        grads.truncate(x.len());
        grads
    }
}

op_tests!(CASES);

#[test]
fn mismatches_are_refused() {
    for (_, device) in devices() {
        let var = |dtype, shape: &[usize]| {
            Var::constant(tensor(&device, dtype, shape, &vec![0.0; shape.iter().product()]))
        };
        let mut tape = Tape::new(&device);
        let x = var(DType::F32, &[2, 3, 4]);
        let linear =
            |tape: &mut Tape, w: Var, b: Option<Var>| matmul::linear(tape, &x, &w, b.as_ref());
        let w = var(DType::F32, &[5, 3]);
        refuses("width", linear(&mut tape, w, None), &["matmul", "x", "(6, 4)", "(6, 3)"]);
        let w = var(DType::F32, &[5]);
        refuses("rank", linear(&mut tape, w, None), &["matmul", "w (O, K)", "(5)"]);
        let w = var(DType::Bf16, &[5, 4]);
        refuses("dtype", linear(&mut tape, w, None), &["matmul", "w", "bf16", "f32"]);
        let (w, b) = (var(DType::F32, &[5, 4]), var(DType::F32, &[4]));
        refuses("bias", linear(&mut tape, w, Some(b)), &["matmul", "b (O)", "(4)", "(5)"]);
    }
}
