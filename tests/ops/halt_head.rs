use hrm::Result;
use hrm::dtype::DType;
use hrm::ops::halt_head::{self, Dims, ROW, reference};
use hrm::ops::real::Real;
use hrm::tape::{Tape, Var};

use crate::check::{Input, Op, input, op_tests, refuses, tensor};
use crate::common::devices::devices;

struct Case(Dims);

const fn case(b: usize, t: usize, c: usize) -> Case {
    Case(Dims { b, t, c })
}

const CASES: &[Case] = &[
    case(1, 1, 1),
    case(2, 17, 5),
    case(5, 3, 16),   // more sequences than a block has warps
    case(3, 70, 136), // more columns than a block, more than one task of rows
];

impl Op for Case {
    const COLUMNS: usize = ROW;

    fn name(&self) -> String {
        format!("halt_head {:?}", self.0)
    }
    /// h, l, w, bias
    fn inputs(&self) -> Vec<Input> {
        let Dims { b, t, c } = self.0;
        let state = |seed| input(&[b, t, c], 1.0, seed);
        vec![state(1), state(2), input(&[1, 2 * c], 0.5, 3), input(&[1], 0.5, 4)]
    }
    fn run(&self, tape: &mut Tape, x: &[Var]) -> Result<Var> {
        halt_head::forward(tape, &x[0], &x[1], &x[2], &x[3])
    }
    fn forward<R: Real>(&self, x: &[Vec<R>]) -> Vec<R> {
        let mut rows = vec![R::default(); self.0.b * ROW];
        reference::forward(self.0, &x[0], &x[1], &x[2], x[3][0], &mut rows);
        rows
    }
    fn backward<R: Real>(&self, x: &[Vec<R>], dy: &[R]) -> Vec<Vec<R>> {
        let g = reference::backward(self.0, &x[0], &x[1], &x[2], x[3][0], dy);
        vec![g.h, g.l, g.w, g.bias]
    }
}

op_tests!(CASES);

#[test]
fn mismatches_are_refused() {
    for (_, device) in devices() {
        let var = |dtype, shape: &[usize]| {
            Var::constant(tensor(&device, dtype, shape, &vec![0.0; shape.iter().product()]))
        };
        let f = DType::F32;
        let run = |l: &[usize], w: Var, bias: &[usize]| {
            let (h, l, bias) = (var(f, &[2, 3, 4]), var(f, l), var(f, bias));
            halt_head::forward(&mut Tape::new(&device), &h, &l, &w, &bias)
        };
        let l = run(&[2, 2, 4], var(f, &[1, 8]), &[1]);
        refuses("l", l, &["halt_head", "l (B, T, C)", "(2, 2, 4)"]);
        let w = run(&[2, 3, 4], var(f, &[1, 4]), &[1]);
        refuses("w", w, &["halt_head", "w (1, 2*C)", "(1, 4)", "(1, 8)"]);
        let w = run(&[2, 3, 4], var(DType::Bf16, &[1, 8]), &[1]);
        refuses("w", w, &["halt_head", "w", "bf16", "f32"]);
        let bias = run(&[2, 3, 4], var(f, &[1, 8]), &[2]);
        refuses("bias", bias, &["halt_head", "bias (1)", "(2)"]);
    }
}
