use hrm::Result;
use hrm::backend::Device;
use hrm::dtype::DType;
use hrm::ops::draw::Draw;
use hrm::ops::gauss_sample::{self, reference};
use hrm::ops::real::Real;
use hrm::tape::{Tape, Var};

use crate::check::{Input, Op, input, ints, normal, op_tests, reals, refuses, tensor};
use crate::common::devices::devices;

const DRAW: Draw = Draw { seed: 0x1234_5678_9abc_def0, number: 7 };

struct Case {
    b: usize,
    z: usize,
}

const CASES: &[Case] = &[Case { b: 1, z: 1 }, Case { b: 3, z: 7 }, Case { b: 65, z: 64 }];

impl Case {
    fn eps(&self) -> Vec<f64> {
        normal(self.b * self.z, 1.0, 3)
    }
}

impl Op for Case {
    fn name(&self) -> String {
        format!("gauss_sample b {} z {}", self.b, self.z)
    }
    fn inputs(&self) -> Vec<Input> {
        vec![input(&[self.b, self.z], 1.0, 1), input(&[self.b, self.z], 0.7, 2)]
    }
    fn run(&self, tape: &mut Tape, x: &[Var]) -> Result<Var> {
        let eps = tensor(tape.device(), DType::F32, &[self.b, self.z], &self.eps());
        gauss_sample::forward(tape, &x[0], &x[1], &eps)
    }
    fn forward<R: Real>(&self, x: &[Vec<R>]) -> Vec<R> {
        let mut z = vec![R::default(); x[0].len()];
        reference::forward(&x[0], &x[1], &reals(&self.eps()), &mut z);
        z
    }
    fn backward<R: Real>(&self, x: &[Vec<R>], dz: &[R]) -> Vec<Vec<R>> {
        let [mut dmu, mut dlog_var] = [0, 1].map(|_| vec![R::default(); dz.len()]);
        reference::backward(&x[1], &reals(&self.eps()), dz, &mut dmu, &mut dlog_var);
        vec![dmu, dlog_var]
    }
}

op_tests!(CASES, f32);

fn drawn(device: &Device, n: usize, site: u32, draw: Draw) -> Vec<f32> {
    let eps = tensor(device, DType::F32, &[n], &vec![f64::NAN; n]);
    let draw = ints(device, &[Draw::WORDS], &draw.words());
    gauss_sample::draw(&eps, site, &draw).unwrap();
    eps.download().unwrap()
}

/// Bit for bit what a CPU draws, on every device and for any length.
#[test]
fn noise_is_a_function_of_seed_number_and_site() {
    const ELEMS: usize = 20_003; // more than one CPU task
    let cpu = Device::cpu();
    let bits = |x: &[f32]| x.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    let want = bits(&drawn(&cpu, ELEMS, 3, DRAW));
    for (name, device) in devices() {
        let run = |n, site, draw| bits(&drawn(&device, n, site, draw));
        assert!(run(ELEMS, 3, DRAW) == want, "{name}: other bits than on the CPU");
        for n in [1, 2, 3, 4, 5] {
            assert!(run(n, 3, DRAW) == want[..n], "{name}: {n} numbers");
        }
        assert!(run(ELEMS, 4, DRAW) != want, "{name}: site");
        for other in [
            Draw { number: DRAW.number + 1, ..DRAW },
            Draw { number: DRAW.number + (1 << 32), ..DRAW },
            Draw { seed: DRAW.seed + (1 << 32), ..DRAW },
            Draw { seed: DRAW.seed + 1, ..DRAW },
        ] {
            assert!(run(ELEMS, 3, other) != want, "{name}: {other:?}");
        }
    }
}

/// Against the same formula in f64. Near 0 the sine's own argument is rounded, hence absolute.
#[test]
fn noise_agrees_with_reference() {
    const ELEMS: usize = 20_000;
    let want = reference::draw(ELEMS, 3, DRAW);
    for (name, device) in devices() {
        let got = drawn(&device, ELEMS, 3, DRAW);
        let error = got.iter().zip(&want).fold(0.0, |m: f64, (&g, w)| {
            let error = (g as f64 - w).abs();
            if error.is_finite() { m.max(error) } else { f64::INFINITY }
        });
        assert!(error <= 1e-6, "{name}: error {error:e}");
    }
}

#[test]
fn noise_is_standard_normal() {
    const ELEMS: usize = 200_000;
    let x: Vec<f64> = drawn(&Device::cpu(), ELEMS, 0, DRAW).iter().map(|&x| x as f64).collect();
    let moment = |k: i32| x.iter().map(|x| x.powi(k)).sum::<f64>() / ELEMS as f64;
    // Mean and standard deviation of each sample moment of N(0, 1): within four deviations.
    for (k, mean, deviation) in [(1, 0.0, 1.0_f64), (2, 1.0, 2.0), (3, 0.0, 15.0), (4, 3.0, 96.0)] {
        let bound = 4.0 * (deviation / ELEMS as f64).sqrt();
        assert!((moment(k) - mean).abs() <= bound, "moment {k}: {}", moment(k));
    }
    let pairs = x.chunks_exact(2).map(|p| p[0] * p[1]).sum::<f64>() / (ELEMS / 2) as f64;
    assert!(pairs.abs() <= 4.0 / ((ELEMS / 2) as f64).sqrt(), "pairs correlate: {pairs}");
    let beyond_two = x.iter().filter(|x| x.abs() > 2.0).count() as f64 / ELEMS as f64;
    assert!((beyond_two - 0.0455).abs() <= 0.002, "beyond two deviations: {beyond_two}");
}

#[test]
fn nonsense_is_refused() {
    for (_, device) in devices() {
        let zeros = |n: usize| tensor(&device, DType::F32, &[n], &vec![0.0; n]);
        let draw = |site, words: usize| {
            gauss_sample::draw(&zeros(4), site, &ints(&device, &[words], &vec![0; words]))
        };
        refuses("site", draw(1 << 24, Draw::WORDS), &["gauss_sample", "site"]);
        refuses("draw", draw(0, 3), &["gauss_sample", "draw (4)", "(3)"]);
        let of = |n| Var::constant(zeros(n));
        let run = |log_var, eps: usize| {
            gauss_sample::forward(&mut Tape::no_grad(&device), &of(4), &of(log_var), &zeros(eps))
        };
        refuses("log_var", run(3, 4), &["gauss_sample", "log_var", "(3)"]);
        refuses("eps", run(4, 3), &["gauss_sample", "eps", "(3)"]);
    }
}
