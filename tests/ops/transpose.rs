use hrm::Result;
use hrm::dtype::DType;
use hrm::ops::real::Real;
use hrm::ops::transpose::{self, reference};
use hrm::tape::{Tape, Var};

use crate::check::{Input, Op, input, numbers, op_tests, refuses, tensor};
use crate::common::devices::devices;

struct Case {
    b: usize,
    t: usize,
    c: usize,
}

const CASES: &[Case] = &[
    Case { b: 1, t: 1, c: 1 },
    Case { b: 1, t: 17, c: 5 },
    Case { b: 3, t: 40, c: 1 },
    Case { b: 2, t: 1, c: 70 },
    Case { b: 2, t: 97, c: 64 }, // a tail in one direction
    Case { b: 3, t: 33, c: 75 }, // and in both
];

impl Op for Case {
    fn name(&self) -> String {
        format!("transpose b {} t {} c {}", self.b, self.t, self.c)
    }
    fn inputs(&self) -> Vec<Input> {
        vec![input(&[self.b, self.t, self.c], 1.0, 1)]
    }
    fn run(&self, tape: &mut Tape, x: &[Var]) -> Result<Var> {
        transpose::forward(tape, &x[0])
    }
    fn forward<R: Real>(&self, x: &[Vec<R>]) -> Vec<R> {
        let mut y = vec![R::default(); x[0].len()];
        reference::forward(&x[0], self.t, self.c, &mut y);
        y
    }
    fn backward<R: Real>(&self, _: &[Vec<R>], dy: &[R]) -> Vec<Vec<R>> {
        let mut dx = vec![R::default(); dy.len()];
        reference::forward(dy, self.c, self.t, &mut dx);
        vec![dx]
    }
}

op_tests!(CASES);

#[test]
fn elements_change_places_and_nothing_else() {
    for (name, device) in devices() {
        let (x, y) = ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
        for dtype in [DType::F32, DType::Bf16] {
            let x = Var::constant(tensor(&device, dtype, &[1, 2, 3], &x));
            let mut tape = Tape::new(&device);
            let got = transpose::forward(&mut tape, &x).unwrap();
            assert_eq!(got.tensor.shape().dims(), [1, 3, 2], "{name}");
            assert_eq!(numbers(&got.tensor), y, "{name}");
            let back = transpose::forward(&mut tape, &got).unwrap();
            assert_eq!(numbers(&back.tensor), numbers(&x.tensor), "{name}");
        }
    }
}

#[test]
fn another_rank_is_refused() {
    for (_, device) in devices() {
        let x = Var::constant(tensor(&device, DType::F32, &[2, 3], &[0.0; 6]));
        let y = transpose::forward(&mut Tape::new(&device), &x);
        refuses("rank", y, &["transpose", "x (B, T, C)", "(2, 3)", "3 dimensions"]);
    }
}
