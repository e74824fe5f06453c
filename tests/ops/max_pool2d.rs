use hrm::Result;
use hrm::dtype::DType;
use hrm::ops::max_pool2d::{self, Dims, reference};
use hrm::ops::real::Real;
use hrm::tape::{Tape, Var};

use crate::check::{self, Input, Op, refuses, tensor};
use crate::common::devices::devices;

/// B, C, H, W
struct Case([usize; 4]);

const CASES: &[Case] = &[
    Case([1, 1, 2, 2]),
    Case([2, 3, 5, 7]), // a row and a column that no window holds
    Case([1, 2, 3, 2]),
    Case([3, 5, 8, 6]),
    Case([2, 3, 34, 70]), // wider than a vector, more than one block
];

impl Case {
    fn dims(&self) -> Dims {
        let [b, c, height, width] = self.0;
        Dims { planes: b * c, height, width }
    }
}

impl Op for Case {
    fn name(&self) -> String {
        format!("max_pool2d {:?}", self.0)
    }
    /// Neighbours differ by more than a step of the differences.
    fn inputs(&self) -> Vec<Input> {
        let n = self.0.iter().product();
        let values = (0..n).map(|i| (i * 7919 % 1009) as f64 / 64.0 - 8.0).collect();
        vec![Input { shape: self.0.to_vec(), values, always_f32: true }]
    }
    fn run(&self, tape: &mut Tape, x: &[Var]) -> Result<Var> {
        max_pool2d::forward(tape, &x[0])
    }
    fn forward<R: Real>(&self, x: &[Vec<R>]) -> Vec<R> {
        let mut y = vec![R::default(); self.dims().windows()];
        reference::forward(self.dims(), &x[0], &mut y);
        y
    }
    fn backward<R: Real>(&self, x: &[Vec<R>], dy: &[R]) -> Vec<Vec<R>> {
        let mut dx = vec![R::default(); x[0].len()];
        reference::backward(self.dims(), &x[0], dy, &mut dx);
        vec![dx]
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
fn the_first_of_equals_gets_the_gradient_and_nan_wins() {
    for (name, device) in devices() {
        let mut tape = Tape::new(&device);
        let rows = [[1.0, 1.0, f64::NAN, 2.0], [1.0, 1.0, 3.0, f64::NAN]];
        let x = tape.leaf(tensor(&device, DType::F32, &[1, 1, 2, 4], &rows.concat()));
        let y = max_pool2d::forward(&mut tape, &x).unwrap();
        let values = y.tensor.download::<f32>().unwrap();
        assert!(values[0] == 1.0 && values[1].is_nan(), "{name}: {values:?}");
        let dy = tensor(&device, DType::F32, &[1, 1, 1, 2], &[5.0, 7.0]);
        let mut grads = tape.backward(&[(&y, dy)]).unwrap();
        let dx = grads.take(x.id.unwrap()).unwrap().unwrap().download::<f32>().unwrap();
        // torch.nn.functional.max_pool2d gives the same.
        assert_eq!(dx, [5.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 7.0], "{name}");
    }
}

#[test]
fn other_dtypes_and_images_without_a_window_are_refused() {
    for (_, device) in devices() {
        let run = |dtype, shape: &[usize]| {
            let x = tensor(&device, dtype, shape, &vec![0.0; shape.iter().product()]);
            max_pool2d::forward(&mut Tape::new(&device), &Var::constant(x))
        };
        refuses("dtype", run(DType::Bf16, &[1, 1, 2, 2]), &["max_pool2d", "bf16", "f32"]);
        refuses("size", run(DType::F32, &[1, 1, 1, 8]), &["max_pool2d", "(1, 1, 1, 8)"]);
        refuses("rank", run(DType::F32, &[2, 2]), &["max_pool2d", "(B, C, H, W)"]);
    }
}
