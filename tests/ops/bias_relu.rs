use hrm::Result;
use hrm::dtype::DType;
use hrm::ops::bias_relu::{self, reference};
use hrm::ops::draw::Draw;
use hrm::ops::dropout::{self, Site};
use hrm::ops::real::Real;
use hrm::tape::{Tape, Var};

use crate::check::{Input, Op, input, ints, op_tests, refuses, tensor};
use crate::common::devices::devices;

const DRAW: Draw = Draw { seed: 0x1234_5678_9abc_def0, number: 7 };

struct Case {
    n: usize,
    c: usize,
    /// 0: no dropout.
    prob: f32,
}

const CASES: &[Case] = &[
    Case { n: 1, c: 1, prob: 0.0 },
    Case { n: 17, c: 3, prob: 0.3 },
    Case { n: 97, c: 13, prob: 0.0 },
    Case { n: 97, c: 24, prob: 0.1 }, // more than two tasks
    Case { n: 5, c: 1032, prob: 0.0 },
    Case { n: 300, c: 64, prob: 0.5 }, // more than two parts of the column sums
];

impl Case {
    fn site(&self) -> Site {
        Site { number: self.c as u32, prob: self.prob }
    }

    /// What dropout makes of ones: 0 or its scale.
    fn kept<R: Real>(&self) -> Vec<R> {
        let mut kept = vec![R::of(1.0); self.n * self.c];
        if self.prob > 0.0 {
            let mut mask = vec![0.0_f64; kept.len()];
            dropout::reference::apply(&vec![1.0; kept.len()], self.site(), DRAW, &mut mask);
            kept.iter_mut().zip(mask).for_each(|(kept, x)| *kept = R::of(x));
        }
        kept
    }
}

impl Op for Case {
    fn name(&self) -> String {
        format!("bias_relu n {} c {} p {}", self.n, self.c, self.prob)
    }
    /// x and bias, whose sum keeps away from the kink.
    fn inputs(&self) -> Vec<Input> {
        let (mut x, bias) = (input(&[self.n, self.c], 1.0, 1), input(&[self.c], 0.5, 2));
        for (x, bias) in x.values.iter_mut().zip(bias.values.iter().cycle()) {
            if (*x + bias).abs() < 1e-2 {
                *x += 0.25;
            }
        }
        vec![x, bias]
    }
    fn run(&self, tape: &mut Tape, x: &[Var]) -> Result<Var> {
        let draw = ints(tape.device(), &[Draw::WORDS], &DRAW.words());
        let dropout = (self.prob > 0.0).then_some((self.site(), &draw));
        bias_relu::with_dropout(tape, &x[0], &x[1], dropout)
    }
    fn forward<R: Real>(&self, x: &[Vec<R>]) -> Vec<R> {
        let mut y = vec![R::default(); x[0].len()];
        reference::forward(&x[0], &x[1], &self.kept(), &mut y);
        y
    }
    fn backward<R: Real>(&self, x: &[Vec<R>], dy: &[R]) -> Vec<Vec<R>> {
        let [mut dx, mut dbias] = [x[0].len(), self.c].map(|n| vec![R::default(); n]);
        let scale = R::of(1.0 / (1.0 - self.prob as f64));
        reference::backward(&self.forward(x), dy, scale, &mut dx, &mut dbias);
        vec![dx, dbias]
    }
}

op_tests!(CASES);

#[test]
fn nan_is_not_hidden() {
    for (name, device) in devices() {
        let x = Var::constant(tensor(&device, DType::F32, &[1, 3], &[f64::NAN, -1.0, 1.0]));
        let bias = Var::constant(tensor(&device, DType::F32, &[3], &[0.0; 3]));
        let y = bias_relu::forward(&mut Tape::no_grad(&device), &x, &bias).unwrap();
        let y = y.tensor.download::<f32>().unwrap();
        assert!(y[0].is_nan() && y[1..] == [0.0, 1.0], "{name}: {y:?}");
    }
}

#[test]
fn a_bias_of_another_shape_or_dtype_is_refused() {
    for (_, device) in devices() {
        let x = Var::constant(tensor(&device, DType::F32, &[2, 4], &[0.0; 8]));
        let run = |bias| bias_relu::forward(&mut Tape::new(&device), &x, &Var::constant(bias));
        let short = tensor(&device, DType::F32, &[3], &[0.0; 3]);
        refuses("shape", run(short), &["bias_relu", "bias (C)", "(3)", "(4)"]);
        let half = tensor(&device, DType::Bf16, &[4], &[0.0; 4]);
        refuses("dtype", run(half), &["bias_relu", "bias", "bf16", "f32"]);
    }
}
