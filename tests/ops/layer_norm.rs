use hrm::Result;
use hrm::dtype::DType;
use hrm::ops::layer_norm::{self, Affine, EPS, reference};
use hrm::ops::real::Real;
use hrm::tape::{Tape, Var};

use crate::check::{Input, Op, input, op_tests, refuses, tensor};
use crate::common::devices::devices;

struct Case {
    n: usize,
    c: usize,
    residual: bool,
}

const fn case(n: usize, c: usize) -> Case {
    Case { n, c, residual: true }
}

const CASES: &[Case] = &[
    case(1, 8),
    case(17, 3),
    case(97, 13),
    case(5, 512),
    case(5, 1024), // the widest row that a warp holds
    case(5, 1032),
    case(300, 64), // more than two parts of the column sums
    Case { residual: false, ..case(17, 3) },
    Case { residual: false, ..case(5, 512) },
    Case { residual: false, ..case(37, 1032) },
];

impl Case {
    /// y and what is saved.
    fn saved<R: Real>(&self, x: &[Vec<R>]) -> (Vec<R>, reference::Saved<R>) {
        let mut y = vec![R::default(); self.n * self.c];
        let (residual, gain, bias) = self.rest(x);
        let zeros = vec![R::default(); y.len()];
        let residual = residual.map_or(&zeros, |r| r);
        let saved = reference::forward(&x[0], residual, gain, bias, EPS, &mut y);
        (y, saved)
    }

    /// residual, gain, bias
    fn rest<'a, T>(&self, x: &'a [T]) -> (Option<&'a T>, &'a T, &'a T) {
        match x {
            [_, r, gain, bias] => (Some(r), gain, bias),
            [_, gain, bias] => (None, gain, bias),
            _ => unreachable!("as inputs() lists them"),
        }
    }
}

impl Op for Case {
    fn name(&self) -> String {
        format!("layer_norm n {} c {} residual {}", self.n, self.c, self.residual)
    }
    /// x, residual if there is one, gain, bias
    fn inputs(&self) -> Vec<Input> {
        let wide = |scale, seed| input(&[self.n, self.c], scale, seed);
        let mut x = vec![wide(1.0, 1)];
        x.extend(self.residual.then(|| wide(2.0, 2)));
        x.extend([input(&[self.c], 1.0, 3), input(&[self.c], 0.5, 4)]);
        x
    }
    fn run(&self, tape: &mut Tape, x: &[Var]) -> Result<Var> {
        let (residual, gain, bias) = self.rest(x);
        let affine = Affine { gain, bias };
        match residual {
            Some(residual) => layer_norm::forward(tape, &x[0], residual, affine, EPS),
            None => layer_norm::alone(tape, &x[0], affine, EPS),
        }
    }
    fn forward<R: Real>(&self, x: &[Vec<R>]) -> Vec<R> {
        self.saved(x).0
    }
    fn backward<R: Real>(&self, x: &[Vec<R>], dy: &[R]) -> Vec<Vec<R>> {
        let mut ds = vec![R::default(); self.n * self.c];
        let [mut dgain, mut dbias] = [(); 2].map(|_| vec![R::default(); self.c]);
        let gain = self.rest(x).1;
        reference::backward(&self.saved(x).1, gain, dy, &mut ds, &mut dgain, &mut dbias);
        let of_residual = self.residual.then(|| ds.clone());
        [Some(ds), of_residual, Some(dgain), Some(dbias)].into_iter().flatten().collect()
    }
}

op_tests!(CASES);

#[test]
fn a_large_mean_does_not_eat_the_variance() {
    for (name, device) in devices() {
        for c in [5, 64] {
            let x: Vec<f64> = (0..c).map(|i| 4096.0 + (i % 5) as f64).collect();
            let of = |x: &[f64]| Var::constant(tensor(&device, DType::F32, &[c], x));
            let (x, zeros, ones) = (of(&x), of(&vec![0.0; c]), of(&vec![1.0; c]));
            let affine = Affine { gain: &ones, bias: &zeros };
            let mut tape = Tape::no_grad(&device);
            let y = layer_norm::forward(&mut tape, &x, &zeros, affine, EPS).unwrap();
            let y = y.tensor.download::<f32>().unwrap();
            let mean = y.iter().sum::<f32>() / c as f32;
            let square = y.iter().map(|y| y * y).sum::<f32>() / c as f32;
            assert!(mean.abs() <= 1e-3 && (square - 1.0).abs() <= 1e-3, "{name}: {mean} {square}");
        }
    }
}

#[test]
fn mismatches_are_refused() {
    for (_, device) in devices() {
        let var = |dtype, shape: &[usize]| {
            Var::constant(tensor(&device, dtype, shape, &vec![0.0; shape.iter().product()]))
        };
        let (f, h) = (DType::F32, DType::Bf16);
        let x = var(f, &[2, 4]);
        let run = |r: Var, gain: Var, bias: Var| {
            let affine = Affine { gain: &gain, bias: &bias };
            layer_norm::forward(&mut Tape::new(&device), &x, &r, affine, EPS)
        };
        let r = run(var(f, &[2, 3]), var(f, &[4]), var(f, &[4]));
        refuses("residual", r, &["layer_norm", "residual", "(2, 3)", "(2, 4)"]);
        let gain = run(var(f, &[2, 4]), var(f, &[3]), var(f, &[4]));
        refuses("gain", gain, &["layer_norm", "gain (C)", "(3)", "(4)"]);
        let bias = run(var(f, &[2, 4]), var(f, &[4]), var(h, &[4]));
        refuses("bias", bias, &["layer_norm", "bias", "bf16", "f32"]);
    }
}
