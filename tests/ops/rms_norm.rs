use hrm::Result;
use hrm::dtype::DType;
use hrm::ops::real::Real;
use hrm::ops::rms_norm::{self, reference};
use hrm::tape::{Tape, Var};

use crate::check::{Input, Op, input, normal, op_tests, refuses, tensor};
use crate::common::devices::devices;

const EPS: f32 = 1e-5;

struct Case {
    n: usize,
    c: usize,
}

const CASES: &[Case] = &[
    Case { n: 1, c: 8 },
    Case { n: 17, c: 3 },
    Case { n: 97, c: 13 },
    Case { n: 5, c: 512 },
    Case { n: 5, c: 1024 }, // the widest row that a warp holds
    Case { n: 5, c: 1032 },
    Case { n: 101, c: 128 }, // more than two tasks
];

impl Case {
    fn saved<R: Real>(&self, x: &[Vec<R>]) -> (Vec<R>, Vec<R>) {
        let mut y = vec![R::default(); self.n * self.c];
        let mut rstd = vec![R::default(); self.n];
        reference::forward(&x[0], &x[1], self.c, EPS, &mut y, &mut rstd);
        (y, rstd)
    }
}

impl Op for Case {
    fn name(&self) -> String {
        format!("rms_norm n {} c {}", self.n, self.c)
    }
    fn inputs(&self) -> Vec<Input> {
        vec![input(&[self.n, self.c], 1.0, 1), input(&[self.n, self.c], 2.0, 2)]
    }
    fn run(&self, tape: &mut Tape, x: &[Var]) -> Result<Var> {
        rms_norm::forward(tape, &x[0], &x[1], EPS)
    }
    fn forward<R: Real>(&self, x: &[Vec<R>]) -> Vec<R> {
        self.saved(x).0
    }
    fn backward<R: Real>(&self, x: &[Vec<R>], dy: &[R]) -> Vec<Vec<R>> {
        let (y, rstd) = self.saved(x);
        let mut ds = vec![R::default(); y.len()];
        reference::backward(&y, &rstd, self.c, dy, &mut ds);
        vec![ds.clone(), ds]
    }
}

op_tests!(CASES);

/// Without a residual as with one of zeros, bit for bit.
#[test]
fn alone_is_the_norm_of_what_comes_in() {
    for (name, device) in devices() {
        for dtype in [DType::F32, DType::Bf16] {
            for (n, c) in [(3, 5), (33, 128), (2, 1032)] {
                let values = normal(n * c, 1.0, 3);
                let run = |with_zeros: bool| {
                    let mut tape = Tape::new(&device);
                    let x = tape.leaf(tensor(&device, dtype, &[n, c], &values));
                    let zeros = tensor(&device, dtype, &[n, c], &vec![0.0; n * c]);
                    let y = match with_zeros {
                        true => rms_norm::forward(&mut tape, &x, &Var::constant(zeros), EPS),
                        false => rms_norm::alone(&mut tape, &x, EPS),
                    };
                    let y = y.unwrap();
                    let dy = tensor(&device, dtype, &[n, c], &normal(n * c, 1.0, 4));
                    let grads = tape.backward(&[(&y, dy)]).unwrap();
                    let dx = grads.get(x.id).unwrap().to_f32s().unwrap();
                    (y.tensor.to_f32s().unwrap(), dx)
                };
                assert_eq!(run(false), run(true), "{name} {dtype} n {n} c {c}");
            }
        }
    }
}

#[test]
fn a_row_of_zeros_stays_zero() {
    for (_, device) in devices() {
        let zeros = Var::constant(tensor(&device, DType::F32, &[2, 5], &[0.0; 10]));
        let y = rms_norm::forward(&mut Tape::no_grad(&device), &zeros, &zeros, EPS).unwrap();
        assert_eq!(y.tensor.download::<f32>().unwrap(), [0.0; 10]);
    }
}

#[test]
fn a_residual_of_another_shape_or_dtype_is_refused() {
    for (_, device) in devices() {
        let mut tape = Tape::new(&device);
        let x = Var::constant(tensor(&device, DType::F32, &[2, 4], &[0.0; 8]));
        let r = Var::constant(tensor(&device, DType::F32, &[2, 3], &[0.0; 6]));
        let h = Var::constant(tensor(&device, DType::Bf16, &[2, 4], &[0.0; 8]));
        let run = |tape: &mut Tape, r| rms_norm::forward(tape, &x, r, EPS);
        refuses("shape", run(&mut tape, &r), &["rms_norm", "residual", "(2, 3)", "(2, 4)"]);
        refuses("dtype", run(&mut tape, &h), &["rms_norm", "residual", "bf16", "f32"]);
    }
}
