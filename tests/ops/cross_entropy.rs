use approx::relative_eq;
use hrm::Result;
use hrm::backend::DeviceKind;
use hrm::dtype::DType;
use hrm::ops::cross_entropy::{self, IGNORE, Kind, ROW, reference, reference::Dims};
use hrm::ops::layout::Layout;
use hrm::ops::real::Real;
use hrm::rng::{Rng, Stream};
use hrm::tape::{Tape, Var};

use crate::check::{Input, Op, input, ints, numbers, op_tests, refuses, tensor};
use crate::common::devices::devices;

#[derive(Clone, Copy, Debug)]
enum Labels {
    Some,
    AllIgnored,
    /// Equal to the argmax where not ignored: the whole answer is right.
    Right,
}

struct Case {
    kind: Kind,
    b: usize,
    p: usize,
    s: usize,
    v: usize,
    labels: Labels,
}

const fn case(kind: Kind, [b, p, s, v]: [usize; 4], labels: Labels) -> Case {
    Case { kind, b, p, s, v, labels }
}

const CASES: &[Case] = &[
    case(Kind::Stablemax, [1, 0, 1, 2], Labels::Some),
    case(Kind::Softmax, [1, 0, 1, 2], Labels::Some),
    case(Kind::Stablemax, [1, 3, 17, 11], Labels::AllIgnored),
    case(Kind::Softmax, [1, 3, 17, 11], Labels::AllIgnored),
    case(Kind::Stablemax, [3, 1, 17, 12], Labels::Right),
    case(Kind::Softmax, [3, 1, 17, 12], Labels::Right),
    case(Kind::Stablemax, [5, 2, 36, 6], Labels::Some),
    case(Kind::Softmax, [5, 2, 36, 6], Labels::Some),
    case(Kind::Stablemax, [1, 0, 530, 3], Labels::Some), // a thread has two tokens
];

impl Case {
    fn dims(&self) -> Dims {
        Dims { p: self.p, s: self.s, v: self.v }
    }

    fn labels(&self) -> Vec<i32> {
        let mut rng = Rng::new(3, Stream::Test, 0);
        let logits = &self.inputs()[0].values;
        let best = |cell: usize| {
            let (b, t) = (cell / self.s, cell % self.s);
            let x = &logits[(b * (self.p + self.s) + self.p + t) * self.v..][..self.v];
            (0..self.v).max_by(|&i, &j| x[i].total_cmp(&x[j])).unwrap() as i32
        };
        (0..self.b * self.s)
            .map(|cell| match self.labels {
                Labels::AllIgnored => IGNORE,
                _ if cell % 3 == 1 => IGNORE,
                Labels::Some => rng.below(self.v as u32) as i32,
                Labels::Right => best(cell),
            })
            .collect()
    }
}

impl Op for Case {
    const COLUMNS: usize = ROW;

    fn name(&self) -> String {
        let Case { kind, b, p, s, v, labels } = self;
        format!("cross_entropy {kind:?} b {b} p {p} s {s} v {v} labels {labels:?}")
    }
    fn inputs(&self) -> Vec<Input> {
        vec![input(&[self.b, self.p + self.s, self.v], 3.0, 1)]
    }
    fn run(&self, tape: &mut Tape, x: &[Var]) -> Result<Var> {
        let labels = ints(tape.device(), &[self.b, self.s], &self.labels());
        let layout = Layout::of(&x[0].tensor, self.p)?;
        cross_entropy::forward(tape, self.kind, &x[0], &labels, &layout)
    }
    fn forward<R: Real>(&self, x: &[Vec<R>]) -> Vec<R> {
        let mut rows = vec![R::default(); self.b * ROW];
        reference::forward(self.dims(), self.kind, &x[0], &self.labels(), &mut rows);
        rows
    }
    fn backward<R: Real>(&self, x: &[Vec<R>], dy: &[R]) -> Vec<Vec<R>> {
        let mut dx = vec![R::default(); x[0].len()];
        reference::backward(self.dims(), self.kind, &x[0], &self.labels(), dy, &mut dx);
        vec![dx]
    }
    /// Stablemax's second derivative jumps at 0. The argmax metrics jump where two logits meet,
    /// which normal draws do not within a step.
    fn is_smooth_at(&self, x: f64) -> bool {
        self.kind == Kind::Softmax || x.abs() > 1e-3
    }
}

op_tests!(CASES);

#[test]
fn rows_without_labels_are_right_and_cost_nothing() {
    for (_, device) in devices() {
        for kind in [Kind::Softmax, Kind::Stablemax] {
            let mut tape = Tape::no_grad(&device);
            let x = Var::constant(tensor(&device, DType::F32, &[1, 2, 3], &[1.0; 6]));
            let labels = ints(&device, &[1, 2], &[IGNORE; 2]);
            let layout = Layout::of(&x.tensor, 0).unwrap();
            let rows = cross_entropy::forward(&mut tape, kind, &x, &labels, &layout).unwrap();
            assert_eq!(rows.tensor.download::<f32>().unwrap(), [0.0, 0.0, 0.0, 1.0]);
        }
    }
}

/// The reference computes stablemax in f64; logits from -1e6 to 1e6 must not lose the loss.
#[test]
fn extreme_logits_agree_with_the_reference() {
    for (device_name, device) in devices() {
        for kind in [Kind::Softmax, Kind::Stablemax] {
            let x = [1e6, -1e6, 0.0, 1e-6, -1e-6, 80.0, -80.0, 30.0, 30.0];
            let d = Dims { p: 0, s: 3, v: 3 };
            for labels in [[0, 1, 2], [1, 0, 1], [2, 2, 0]] {
                let mut want = [0.0; ROW];
                reference::forward::<f64>(d, kind, &x, &labels, &mut want);
                let logits = Var::constant(tensor(&device, DType::F32, &[1, 3, 3], &x));
                let labels = ints(&device, &[1, 3], &labels);
                let mut tape = Tape::no_grad(&device);
                let layout = Layout::of(&logits.tensor, 0).unwrap();
                let rows = cross_entropy::forward(&mut tape, kind, &logits, &labels, &layout);
                let rows = rows.unwrap();
                let got = rows.tensor.download::<f32>().unwrap();
                assert_eq!(got.len(), want.len(), "{device_name} {kind:?}");
                for (got, want) in got.iter().zip(want) {
                    let got = *got as f64;
                    let near = relative_eq!(got, want, epsilon = 0.0, max_relative = 1e-6);
                    assert!(want.is_finite() && near, "{device_name} {kind:?}: {got} {want}");
                }
            }
        }
    }
}

/// An error, or on CUDA a loss that is not a number.
#[test]
fn labels_outside_the_vocabulary_are_refused() {
    for (name, device) in devices() {
        let x = Var::constant(tensor(&device, DType::F32, &[1, 3, 6], &[0.0; 18]));
        for bad in [6, -1, -99, i32::MAX] {
            let labels = ints(&device, &[1, 2], &[IGNORE, bad]);
            let mut tape = Tape::new(&device);
            let layout = Layout::of(&x.tensor, 1).unwrap();
            let rows = cross_entropy::forward(&mut tape, Kind::Stablemax, &x, &labels, &layout);
            if device.kind() == DeviceKind::Cuda {
                let rows = numbers(&rows.unwrap().tensor);
                assert!(
                    rows[0].is_nan() && rows[1..] == [1.0, 0.0, 0.0],
                    "{bad} on {name}: {rows:?}"
                );
            } else {
                refuses("label", rows, &["cross_entropy", &format!("label {bad} "), "6"]);
            }
        }
    }
}

#[test]
fn mismatches_are_refused() {
    for (_, device) in devices() {
        let run = |x: &Var, labels| {
            let layout = Layout::padded(&device, 2, 0, 3)?;
            cross_entropy::forward(&mut Tape::new(&device), Kind::Softmax, x, labels, &layout)
        };
        let x = Var::constant(tensor(&device, DType::F32, &[2, 3, 6], &[0.0; 36]));
        let long = ints(&device, &[2, 4], &[0; 8]);
        refuses("length", run(&x, &long), &["cross_entropy", "labels (B, S)", "(2, 4)"]);
        let other_batch = ints(&device, &[1, 3], &[0; 3]);
        refuses("batch", run(&x, &other_batch), &["cross_entropy", "labels (B, S)", "(1, 3)"]);
        let floats = tensor(&device, DType::F32, &[2, 3], &[0.0; 6]);
        refuses("dtype", run(&x, &floats), &["cross_entropy", "labels", "f32", "i32"]);
        let short = Var::constant(tensor(&device, DType::F32, &[5, 6], &[0.0; 30]));
        refuses("rows", run(&short, &long), &["cross_entropy", "logits (N, V)", "(5, 6)"]);
    }
}
