use std::sync::LazyLock;

use hrm::Result;
use hrm::backend::Device;
use hrm::dtype::DType;
use hrm::nn::rope;
use hrm::ops::attention::{self, reference, reference::Dims};
use hrm::ops::layout::Layout;
use hrm::ops::real::Real;
use hrm::tape::{Tape, Var};

use crate::check::{self, Input, Op, input, numbers, op_tests, reals, refuses, tensor};
use crate::common::devices::devices;

const THETA: f32 = 10_000.0;
/// A device's first region is 64 MiB: one for all the tables.
static HOST: LazyLock<Device> = LazyLock::new(Device::cpu);

struct Case {
    b: usize,
    t: usize,
    nh: usize,
    hd: usize,
    rope: bool,
}

const fn case([b, t, nh, hd]: [usize; 4], rope: bool) -> Case {
    Case { b, t, nh, hd, rope }
}

const CASES: &[Case] = &[
    case([1, 1, 1, 4], true),
    case([1, 17, 1, 12], true),
    case([2, 17, 3, 8], false),
    case([1, 33, 2, 20], true),
    case([2, 82, 2, 32], true),  // a Sudoku with its prefix
    case([1, 301, 1, 16], true), // more than one block of keys
    // Heads so wide that the plain kernels need smaller tiles.
    case([1, 19, 1, 128], true),
    case([1, 9, 1, 256], true),
];

/// Around the rows that a warp, a tile and a block of the tensor-core kernels own.
const TENSOR_CORE_CASES: &[Case] = &[
    case([1, 1, 2, 16], true),
    case([1, 1, 1, 64], true),
    case([2, 17, 1, 16], true),
    case([1, 17, 2, 32], false),
    case([1, 17, 1, 64], true),
    case([1, 64, 1, 32], true),
    case([1, 82, 2, 16], true),
    case([2, 82, 2, 64], true),
    case([1, 97, 1, 16], false),
    case([1, 97, 1, 32], true),
    case([1, 97, 2, 64], true),
    case([1, 133, 1, 64], false),
];

/// An ARC puzzle with its prefix: blocks, tiles and a tail together.
const ARC: Case = case([1, 901, 1, 64], true);

impl Case {
    fn dims(&self) -> Dims {
        let &Case { b, t, nh, hd, .. } = self;
        Dims { b, t, nh, hd }
    }

    fn tables(&self) -> Option<[Vec<f64>; 2]> {
        self.rope.then(|| {
            let rope = rope::tables(&HOST, self.t, self.hd, THETA).unwrap();
            [numbers(&rope.cos), numbers(&rope.sin)]
        })
    }
}

impl Op for Case {
    fn name(&self) -> String {
        format!("attention {:?} rope {}", self.dims(), self.rope)
    }
    fn inputs(&self) -> Vec<Input> {
        vec![input(&[self.b, self.t, 3 * self.nh * self.hd], 1.5, 1)]
    }
    fn run(&self, tape: &mut Tape, x: &[Var]) -> Result<Var> {
        let tables = rope::tables(tape.device(), self.t, self.hd, THETA)?;
        let layout = Layout::of(&x[0].tensor, 0)?;
        attention::forward(tape, &x[0], self.nh, self.rope.then_some(&tables), &layout)
    }
    fn forward<R: Real>(&self, x: &[Vec<R>]) -> Vec<R> {
        let tables = self.tables().map(|t| t.map(|t| reals::<R>(&t)));
        let tables = tables.as_ref().map(|[cos, sin]| (&cos[..], &sin[..]));
        let mut y = vec![R::default(); self.b * self.t * self.nh * self.hd];
        let mut lse = vec![R::default(); self.b * self.nh * self.t];
        reference::forward(self.dims(), &x[0], tables, &mut y, &mut lse);
        y
    }
    fn backward<R: Real>(&self, x: &[Vec<R>], dy: &[R]) -> Vec<Vec<R>> {
        let tables = self.tables().map(|t| t.map(|t| reals::<R>(&t)));
        let tables = tables.as_ref().map(|[cos, sin]| (&cos[..], &sin[..]));
        let mut dqkv = vec![R::default(); x[0].len()];
        reference::backward(self.dims(), &x[0], tables, dy, &mut dqkv);
        vec![dqkv]
    }
}

op_tests!(CASES);

#[test]
fn bf16_on_tensor_cores_is_as_near_as_its_rounding_points_allow() {
    TENSOR_CORE_CASES.iter().for_each(|op| check::values(op, DType::Bf16));
}

#[test]
fn bf16_at_arc_length_is_as_near_as_its_rounding_points_allow() {
    check::leaf_values(&ARC, DType::Bf16);
}

#[test]
fn mismatches_are_refused() {
    for (_, device) in devices() {
        let var = |shape: &[usize]| {
            let zeros = vec![0.0; shape.iter().product()];
            Var::constant(tensor(&device, DType::F32, shape, &zeros))
        };
        let layout = Layout::padded(&device, 1, 0, 5).unwrap();
        let run = |x: &Var, heads, rope: Option<usize>| {
            let tables = rope.map(|t| rope::tables(&device, t, 4, THETA).unwrap());
            attention::forward(&mut Tape::new(&device), x, heads, tables.as_ref(), &layout)
        };
        let x = var(&[1, 5, 24]);
        refuses("heads", run(&x, 0, None), &["attention", "0 heads"]);
        refuses("width", run(&x, 3, None), &["attention", "3 heads", "multiple of 4"]);
        refuses("tables", run(&x, 2, Some(4)), &["attention", "cos (T, HD)", "(4, 4)", "(5, 4)"]);
        refuses(
            "rows",
            run(&var(&[6, 24]), 2, None),
            &["attention", "qkv", "(6, 24)", "5 positions"],
        );
    }
}
