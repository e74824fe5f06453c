use hrm::Result;
use hrm::dtype::DType;
use hrm::ops::layout::Layout;
use hrm::ops::real::Real;
use hrm::ops::take_first::{self, reference};
use hrm::tape::{Tape, Var};

use crate::check::{Input, Op, input, op_tests, refuses, tensor};
use crate::common::devices::devices;

struct Case {
    b: usize,
    t: usize,
    c: usize,
}

const CASES: &[Case] = &[
    Case { b: 1, t: 1, c: 1 },
    Case { b: 1, t: 17, c: 5 },
    Case { b: 3, t: 2, c: 13 },
    Case { b: 3, t: 4, c: 16 },
];

impl Op for Case {
    fn name(&self) -> String {
        format!("take_first b {} t {} c {}", self.b, self.t, self.c)
    }
    fn inputs(&self) -> Vec<Input> {
        vec![input(&[self.b, self.t, self.c], 1.0, 1)]
    }
    fn run(&self, tape: &mut Tape, x: &[Var]) -> Result<Var> {
        take_first::forward(tape, &x[0], &Layout::of(&x[0].tensor, 0)?)
    }
    fn forward<R: Real>(&self, x: &[Vec<R>]) -> Vec<R> {
        let mut y = vec![R::default(); self.b * self.c];
        reference::forward(&x[0], self.t, self.c, &mut y);
        y
    }
    fn backward<R: Real>(&self, x: &[Vec<R>], dy: &[R]) -> Vec<Vec<R>> {
        let mut dx = vec![R::default(); x[0].len()];
        reference::backward(dy, self.t, self.c, &mut dx);
        vec![dx]
    }
}

op_tests!(CASES);

#[test]
fn other_positions_are_refused() {
    for (_, device) in devices() {
        let x = Var::constant(tensor(&device, DType::F32, &[2, 3], &[0.0; 6]));
        let layout = Layout::padded(&device, 1, 0, 3).unwrap();
        let y = take_first::forward(&mut Tape::new(&device), &x, &layout);
        refuses("rows", y, &["take_first", "x (N, C)", "(2, 3)", "3 positions"]);
    }
}
