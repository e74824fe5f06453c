use hrm::Result;
use hrm::dtype::DType;
use hrm::ops::conv::Geometry;
use hrm::ops::conv2d::{self, Conv2d, reference};
use hrm::ops::real::Real;
use hrm::tape::{Tape, Var};

use crate::check::{self, Input, Op, input, refuses, tensor};
use crate::common::devices::devices;

struct Case {
    /// B, C, H, W
    x: [usize; 4],
    /// M, KH, KW
    w: [usize; 3],
    stride: usize,
    padding: usize,
    bias: bool,
}

const fn case(x: [usize; 4], w: [usize; 3], stride: usize, padding: usize) -> Case {
    Case { x, w, stride, padding, bias: true }
}

const CASES: &[Case] = &[
    case([1, 1, 1, 1], [1, 1, 1], 1, 0),
    Case { bias: false, ..case([2, 3, 5, 7], [4, 2, 3], 1, 1) },
    case([3, 2, 7, 6], [5, 3, 2], 3, 2), // rows and columns that no window reaches
    case([2, 2, 6, 5], [3, 2, 1], 3, 0), // pixels that no tap sees
    case([2, 1, 2, 2], [2, 5, 5], 2, 2), // more padding than image
    case([1, 2, 4, 40], [3, 4, 3], 2, 1), // a row of a map that is no multiple of 16
    case([37, 2, 4, 4], [17, 3, 3], 2, 1), // many small images side by side; two strips of maps
    case([2, 3, 32, 32], [16, 3, 3], 2, 1), // the student's first layer
    case([3, 2, 19, 17], [2, 3, 3], 1, 1), // more than one block of positions in an image
    case([5, 61, 4, 4], [35, 3, 3], 2, 1), // channels of two tasks, two tiles of maps
    case([2, 5, 8, 8], [70, 4, 4], 2, 1), // the teacher's kernel
    case([600, 1, 3, 3], [2, 3, 3], 2, 1), // parts of the sum over the batch
];

impl Case {
    fn geometry(&self) -> Geometry {
        let ([batch, channels, height, width], [maps, kh, kw]) = (self.x, self.w);
        let &Case { stride, padding, .. } = self;
        Geometry { batch, channels, height, width, maps, kernel: [kh, kw], stride, padding }
    }

    fn how(&self) -> Conv2d {
        Conv2d { stride: self.stride, padding: self.padding }
    }
}

impl Op for Case {
    fn name(&self) -> String {
        format!("conv2d x {:?} w {:?} {:?}", self.x, self.w, self.how())
    }
    fn inputs(&self) -> Vec<Input> {
        let [m, kh, kw] = self.w;
        let mut inputs = vec![input(&self.x, 1.0, 1), input(&[m, self.x[1], kh, kw], 0.3, 2)];
        if self.bias {
            inputs.push(input(&[m], 0.5, 3));
        }
        inputs.into_iter().map(|input| Input { always_f32: true, ..input }).collect()
    }
    fn run(&self, tape: &mut Tape, x: &[Var]) -> Result<Var> {
        conv2d::forward(tape, &x[0], &x[1], x.get(2), self.how())
    }
    fn forward<R: Real>(&self, x: &[Vec<R>]) -> Vec<R> {
        let g = self.geometry();
        let mut y = vec![R::default(); g.map_elems()];
        reference::forward(&g, &x[0], &x[1], x.get(2).map(|b| &b[..]), &mut y);
        y
    }
    fn backward<R: Real>(&self, x: &[Vec<R>], dy: &[R]) -> Vec<Vec<R>> {
        let lens = [x[0].len(), x[1].len(), self.w[0]];
        let [mut dx, mut dw, mut dbias] = lens.map(|n| vec![R::default(); n]);
        reference::backward(&self.geometry(), &x[0], &x[1], dy, [&mut dx, &mut dw, &mut dbias]);
        let mut grads = vec![dx, dw, dbias];
        grads.truncate(x.len());
        grads
    }
}

#[test]
fn reference_gradient_agrees_with_differences() {
    check::all_differences(CASES.iter());
}

#[test]
fn f32_agrees_with_reference() {
    CASES.iter().for_each(|op| check::values(op, DType::F32));
}

#[test]
fn bits_do_not_depend_on_threads_or_launch() {
    CASES.iter().for_each(|op| check::repeats(op, DType::F32));
}

#[test]
fn a_kernel_has_pytorchs_orientation() {
    for (name, device) in devices() {
        let x: Vec<f64> = (0..9).map(f64::from).collect();
        let x = Var::constant(tensor(&device, DType::F32, &[1, 1, 3, 3], &x));
        let w = Var::constant(tensor(&device, DType::F32, &[1, 1, 2, 2], &[1.0, 10.0, 100.0, 0.0]));
        let how = Conv2d { stride: 1, padding: 0 };
        let y = conv2d::forward(&mut Tape::no_grad(&device), &x, &w, None, how).unwrap();
        // torch.nn.functional.conv2d(torch.arange(9.).view(1, 1, 3, 3), w): cross-correlation.
        assert_eq!(y.tensor.download::<f32>().unwrap(), [310.0, 421.0, 643.0, 754.0], "{name}");
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    for (_, device) in devices() {
        let of = |dtype, shape: &[usize]| {
            Var::constant(tensor(&device, dtype, shape, &vec![0.0; shape.iter().product()]))
        };
        let run = |x: &Var, w: &Var, bias: Option<&Var>, how| {
            conv2d::forward(&mut Tape::new(&device), x, w, bias, how)
        };
        let how = Conv2d { stride: 1, padding: 0 };
        let (x, w) = (of(DType::F32, &[1, 2, 4, 4]), of(DType::F32, &[3, 2, 3, 3]));
        let half = of(DType::Bf16, &[1, 2, 4, 4]);
        refuses("dtype", run(&half, &w, None, how), &["conv2d", "x", "bf16", "f32"]);
        let other = of(DType::F32, &[3, 4, 3, 3]);
        refuses("channels", run(&x, &other, None, how), &["conv2d", "w (M, C", "(3, 2, 3, 3)"]);
        let bias = of(DType::F32, &[2]);
        refuses("bias", run(&x, &w, Some(&bias), how), &["conv2d", "bias (M)", "(3)"]);
        let large = of(DType::F32, &[3, 2, 5, 5]);
        refuses("kernel", run(&x, &large, None, how), &["conv2d", "5x5", "4x4"]);
        let still = Conv2d { stride: 0, padding: 0 };
        refuses("stride", run(&x, &w, None, still), &["conv2d", "stride: 0"]);
    }
}
