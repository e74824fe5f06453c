use hrm::Result;
use hrm::dtype::DType;
use hrm::ops::add::{self, reference};
use hrm::ops::real::Real;
use hrm::tape::{Tape, Var};

use crate::check::{Input, Op, input, op_tests, refuses, tensor};
use crate::common::devices::devices;

struct Case {
    terms: usize,
    shape: [usize; 3],
}

const CASES: &[Case] = &[
    Case { terms: 2, shape: [1, 1, 1] },
    Case { terms: 3, shape: [2, 17, 5] },
    Case { terms: 3, shape: [4, 101, 97] }, // more than two tasks
];

impl Op for Case {
    fn name(&self) -> String {
        format!("add {} x {:?}", self.terms, self.shape)
    }
    fn inputs(&self) -> Vec<Input> {
        (0..self.terms).map(|i| input(&self.shape, 1.0, i as u64)).collect()
    }
    fn run(&self, tape: &mut Tape, x: &[Var]) -> Result<Var> {
        add::forward(tape, &x.iter().collect::<Vec<_>>())
    }
    fn forward<R: Real>(&self, x: &[Vec<R>]) -> Vec<R> {
        let terms: Vec<&[R]> = x.iter().map(|x| &x[..]).collect();
        let mut y = vec![R::default(); x[0].len()];
        reference::forward(&terms, &mut y);
        y
    }
    fn backward<R: Real>(&self, x: &[Vec<R>], dy: &[R]) -> Vec<Vec<R>> {
        let mut dx = vec![R::default(); dy.len()];
        reference::backward(dy, &mut dx);
        vec![dx; x.len()]
    }
}

op_tests!(CASES);

#[test]
fn terms_of_another_shape_or_dtype_are_refused() {
    for (_, device) in devices() {
        let mut tape = Tape::new(&device);
        let x = Var::constant(tensor(&device, DType::F32, &[2, 3], &[0.0; 6]));
        let y = Var::constant(tensor(&device, DType::F32, &[3, 2], &[0.0; 6]));
        let z = Var::constant(tensor(&device, DType::Bf16, &[2, 3], &[0.0; 6]));
        refuses("shape", add::forward(&mut tape, &[&x, &y]), &["add", "x", "(3, 2)", "(2, 3)"]);
        refuses("dtype", add::forward(&mut tape, &[&x, &z]), &["add", "x", "bf16", "f32"]);
    }
}
