use hrm::Result;
use hrm::dtype::DType;
use hrm::ops::conv_transpose2d::{self, ConvTranspose2d, reference};
use hrm::ops::real::Real;
use hrm::tape::{Tape, Var};

use crate::check::{self, Input, Op, input, refuses, tensor};
use crate::common::devices::devices;

struct Case {
    /// B, C, H, W
    x: [usize; 4],
    /// O, KH, KW
    w: [usize; 3],
    how: ConvTranspose2d,
    bias: bool,
}

const fn case(x: [usize; 4], w: [usize; 3], [stride, padding, output_padding]: [usize; 3]) -> Case {
    Case { x, w, how: ConvTranspose2d { stride, padding, output_padding }, bias: true }
}

const CASES: &[Case] = &[
    case([1, 1, 1, 1], [1, 1, 1], [1, 0, 0]),
    Case { bias: false, ..case([2, 3, 5, 4], [4, 2, 3], [1, 1, 0]) },
    case([3, 2, 2, 3], [5, 3, 2], [3, 1, 2]),
    case([2, 2, 3, 2], [3, 2, 1], [3, 0, 1]), // pixels that nothing reaches but the bias
    case([2, 1, 3, 3], [2, 5, 5], [2, 3, 1]), // most of it is cut off
    case([37, 17, 2, 2], [2, 3, 3], [2, 1, 1]), // many small images side by side
    case([2, 16, 16, 16], [3, 3, 3], [2, 1, 1]), // the student's last layer
    case([3, 2, 18, 17], [2, 3, 3], [1, 1, 0]),
    case([5, 35, 2, 2], [61, 3, 3], [2, 1, 1]), // channels of two tasks, two tiles of channels
    case([2, 70, 4, 4], [5, 4, 4], [2, 1, 0]),  // the teacher's kernel
    case([600, 2, 2, 2], [1, 3, 3], [2, 1, 1]), // parts of the sum over the batch
];

impl Case {
    fn dims(&self) -> reference::Dims {
        let [o, kh, kw] = self.w;
        reference::Dims { x: self.x, w: [self.x[1], o, kh, kw], how: self.how }
    }
}

impl Op for Case {
    fn name(&self) -> String {
        format!("conv_transpose2d x {:?} w {:?} {:?}", self.x, self.w, self.how)
    }
    fn inputs(&self) -> Vec<Input> {
        let mut inputs = vec![input(&self.x, 1.0, 1), input(&self.dims().w, 0.3, 2)];
        if self.bias {
            inputs.push(input(&[self.w[0]], 0.5, 3));
        }
        inputs.into_iter().map(|input| Input { always_f32: true, ..input }).collect()
    }
    fn run(&self, tape: &mut Tape, x: &[Var]) -> Result<Var> {
        conv_transpose2d::forward(tape, &x[0], &x[1], x.get(2), self.how)
    }
    fn forward<R: Real>(&self, x: &[Vec<R>]) -> Vec<R> {
        let d = self.dims();
        let mut y = vec![R::default(); d.y().iter().product()];
        reference::forward(&d, &x[0], &x[1], x.get(2).map(|b| &b[..]), &mut y);
        y
    }
    fn backward<R: Real>(&self, x: &[Vec<R>], dy: &[R]) -> Vec<Vec<R>> {
        let lens = [x[0].len(), x[1].len(), self.w[0]];
        let [mut dx, mut dw, mut dbias] = lens.map(|n| vec![R::default(); n]);
        reference::backward(&self.dims(), &x[0], &x[1], dy, [&mut dx, &mut dw, &mut dbias]);
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
fn output_padding_adds_at_the_end() {
    for (name, device) in devices() {
        let x = Var::constant(tensor(&device, DType::F32, &[1, 1, 1, 2], &[1.0, 2.0]));
        let w = Var::constant(tensor(&device, DType::F32, &[1, 1, 1, 3], &[1.0, 10.0, 100.0]));
        let bias = Var::constant(tensor(&device, DType::F32, &[1], &[0.5]));
        let how = ConvTranspose2d { stride: 2, padding: 0, output_padding: 1 };
        let y = conv_transpose2d::forward(&mut Tape::no_grad(&device), &x, &w, Some(&bias), how);
        let y = y.unwrap().tensor;
        // torch: conv_transpose2d(x, w, bias, stride=2, output_padding=1)
        assert_eq!(y.shape().dims(), [1, 1, 2, 6], "{name}");
        let row = [1.5, 10.5, 102.5, 20.5, 200.5, 0.5];
        let want = [row, [0.5; 6]].concat();
        assert_eq!(y.download::<f32>().unwrap(), want, "{name}");
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    for (_, device) in devices() {
        let of = |dtype, shape: &[usize]| {
            Var::constant(tensor(&device, dtype, shape, &vec![0.0; shape.iter().product()]))
        };
        let run = |x: &Var, w: &Var, how: [usize; 3]| {
            let [stride, padding, output_padding] = how;
            let how = ConvTranspose2d { stride, padding, output_padding };
            conv_transpose2d::forward(&mut Tape::new(&device), x, w, None, how)
        };
        let (x, w) = (of(DType::F32, &[1, 2, 4, 4]), of(DType::F32, &[2, 3, 3, 3]));
        let half = of(DType::Bf16, &[1, 2, 4, 4]);
        refuses("dtype", run(&half, &w, [2, 1, 1]), &["conv_transpose2d", "x", "bf16", "f32"]);
        let other = of(DType::F32, &[3, 3, 3, 3]);
        refuses("channels", run(&x, &other, [2, 1, 1]), &["conv_transpose2d", "w (C, O"]);
        refuses("output padding", run(&x, &w, [2, 1, 2]), &["output_padding 2", "stride 2"]);
        refuses("padding", run(&x, &w, [1, 7, 0]), &["padding 7", "3x3"]);
    }
}
