use hrm::Result;
use hrm::dtype::DType;
use hrm::ops::depthwise_conv2d::{self, Conv2d, Dims, reference};
use hrm::ops::real::Real;
use hrm::tape::{Tape, Var};

use crate::check::{Input, Op, input, op_tests, refuses, tensor};
use crate::common::devices::devices;

struct Case(Dims);

const fn case(b: usize, c: usize, hw: [usize; 2], k: usize, stride: usize, padding: usize) -> Case {
    Case(Dims { b, c, h: hw[0], w: hw[1], k, stride, padding })
}

const CASES: &[Case] = &[
    case(1, 1, [1, 1], 1, 1, 0),
    case(2, 3, [5, 4], 3, 2, 1), // the last tap of the last column is outside
    case(3, 2, [4, 7], 3, 1, 0),
    case(2, 2, [6, 5], 2, 3, 2),   // places that see padding only
    case(9, 5, [16, 16], 3, 2, 1), // more places than threads of a block
];

impl Op for Case {
    fn name(&self) -> String {
        format!("depthwise_conv2d {:?}", self.0)
    }
    fn inputs(&self) -> Vec<Input> {
        let Dims { b, c, h, w, k, .. } = self.0;
        vec![input(&[b, c, h, w], 1.0, 1), input(&[c, 1, k, k], 0.5, 2), input(&[c], 0.5, 3)]
    }
    fn run(&self, tape: &mut Tape, x: &[Var]) -> Result<Var> {
        let how = Conv2d { stride: self.0.stride, padding: self.0.padding };
        depthwise_conv2d::forward(tape, &x[0], &x[1], &x[2], how)
    }
    fn forward<R: Real>(&self, x: &[Vec<R>]) -> Vec<R> {
        let mut y = vec![R::default(); self.0.b * self.0.c * self.0.oh() * self.0.ow()];
        reference::forward(self.0, &x[0], &x[1], &x[2], &mut y);
        y
    }
    fn backward<R: Real>(&self, x: &[Vec<R>], dy: &[R]) -> Vec<Vec<R>> {
        let [mut dx, mut dw, mut dbias] = [0, 1, 2].map(|i| vec![R::default(); x[i].len()]);
        reference::backward(self.0, &x[0], &x[1], dy, [&mut dx, &mut dw, &mut dbias]);
        vec![dx, dw, dbias]
    }
}

op_tests!(CASES, f32);

#[test]
fn nonsense_is_refused() {
    for (_, device) in devices() {
        let of = |shape: &[usize]| {
            Var::constant(tensor(&device, DType::F32, shape, &vec![0.0; shape.iter().product()]))
        };
        let run = |w: &[usize], stride| {
            let how = Conv2d { stride, padding: 0 };
            let (x, w, bias) = (of(&[1, 2, 3, 3]), of(w), of(&[2]));
            depthwise_conv2d::forward(&mut Tape::no_grad(&device), &x, &w, &bias, how)
        };
        refuses("channels", run(&[3, 1, 3, 3], 1), &["depthwise_conv2d", "w (C, 1, K, K)"]);
        refuses("kernel", run(&[2, 1, 4, 4], 1), &["depthwise_conv2d", "no place"]);
        refuses("stride", run(&[2, 1, 3, 3], 0), &["depthwise_conv2d", "no place"]);
    }
}
