use std::sync::LazyLock;

use hrm::Result;
use hrm::backend::{Device, DeviceKind, Purpose};
use hrm::dtype::DType;
use hrm::nn::rope;
use hrm::ops::attention::{self, Sight, reference, reference::Dims};
use hrm::ops::draw::Draw;
use hrm::ops::dropout::{self, Site};
use hrm::ops::layout::Layout;
use hrm::ops::real::Real;
use hrm::tape::{Tape, Var};
use hrm::tensor::Tensor;

use crate::check::{
    self, Input, Op, input, ints, normal, numbers, op_tests, reals, refuses, tensor,
};
use crate::common::devices::devices;

const THETA: f32 = 10_000.0;
/// A device's first region is 64 MiB: one for all the tables.
static HOST: LazyLock<Device> = LazyLock::new(Device::cpu);

const DRAW: Draw = Draw { seed: 0x1234_5678_9abc_def0, number: 0x3_0000_0007 };

struct Case {
    b: usize,
    t: usize,
    nh: usize,
    hd: usize,
    rope: bool,
    causal: bool,
    prob: f32,
}

const fn case([b, t, nh, hd]: [usize; 4], rope: bool) -> Case {
    Case { b, t, nh, hd, rope, causal: false, prob: 0.0 }
}

/// Each position sees those up to its own, each probability is dropped with `prob`.
const fn causal(sizes: [usize; 4], prob: f32) -> Case {
    Case { causal: true, prob, ..case(sizes, true) }
}

const fn dropping(sizes: [usize; 4], prob: f32) -> Case {
    Case { prob, ..case(sizes, true) }
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
    causal([1, 1, 1, 4], 0.0),
    causal([2, 34, 2, 8], 0.0),
    causal([1, 301, 1, 12], 0.0),
    causal([1, 19, 1, 128], 0.3),
    causal([2, 70, 2, 20], 0.1),
    dropping([2, 33, 3, 8], 0.5),
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
    causal([1, 1, 1, 16], 0.0),
    causal([2, 17, 1, 32], 0.0),
    causal([1, 82, 1, 64], 0.0),
    causal([1, 97, 2, 16], 0.0),
    causal([1, 161, 1, 32], 0.0),
    causal([2, 145, 1, 64], 0.2),
    causal([2, 82, 2, 32], 0.1),
    dropping([1, 97, 2, 32], 0.5),
    dropping([2, 17, 3, 16], 0.1),
    dropping([1, 90, 1, 64], 0.3),
];

/// An ARC puzzle with its prefix: blocks, tiles and a tail together.
const ARC: Case = case([1, 901, 1, 64], true);

impl Case {
    fn dims(&self) -> Dims {
        let &Case { b, t, nh, hd, causal, .. } = self;
        Dims { b, t, nh, hd, causal, dropout: self.site().map(|site| (site, DRAW)) }
    }

    fn site(&self) -> Option<Site> {
        (self.prob > 0.0).then_some(Site { number: 5, prob: self.prob })
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
        let draw = ints(tape.device(), &[Draw::WORDS], &DRAW.words());
        let dropout = self.site().map(|site| (site, &draw));
        let sight = Sight { causal: self.causal, dropout };
        let tables = self.rope.then_some(&tables);
        attention::forward_with(tape, &x[0], self.nh, tables, &layout, sight)
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

/// Rows of several lengths, no key better than another, and a value for each: the mask in plain
/// sight, the same on every device and in every dtype.
#[test]
fn dropout_is_a_function_of_draw_site_query_and_key() {
    const ROWS: [(usize, usize); 4] = [(7, 7), (64, 50), (20, 0), (61, 61)];
    const HD: usize = 64;
    const NH: usize = 2;
    let starts = ROWS.iter().scan(0, |end, (room, _)| {
        *end += room;
        Some(*end - room)
    });
    let starts: Vec<usize> = starts.collect();
    let (n, largest): (usize, usize) = (ROWS.iter().map(|(room, _)| room).sum(), 64);
    let mut qkv = vec![0.0; n * 3 * NH * HD];
    for (row, start) in ROWS.iter().zip(&starts) {
        for (i, h) in (0..row.1).flat_map(|i| (0..NH).map(move |h| (i, h))) {
            qkv[((start + i) * 3 + 2) * NH * HD + h * HD + i] = 1.0;
        }
    }
    let site = Site { number: 3, prob: 0.25 };
    for (name, device) in devices() {
        let layout = Layout::packed(&device, 0, &ROWS.map(|(room, _)| room)).unwrap();
        layout.lengths.upload(&ROWS.map(|(_, t)| t as i32)).unwrap();
        let draw = ints(&device, &[Draw::WORDS], &DRAW.words());
        for (dtype, causal) in
            [DType::F32, DType::Bf16].into_iter().flat_map(|d| [(d, false), (d, true)])
        {
            let x = Var::constant(tensor(&device, dtype, &[n, 3 * NH * HD], &qkv));
            let sight = Sight { causal, dropout: Some((site, &draw)) };
            let tape = &mut Tape::no_grad(&device);
            let y = attention::forward_with(tape, &x, NH, None, &layout, sight).unwrap();
            let y = numbers(&y.tensor);
            let (mut dropped, mut all) = (0, 0);
            for (&(_, t), start) in ROWS.iter().zip(&starts) {
                for (i, h) in (0..t).flat_map(|i| (0..NH).map(move |h| (i, h))) {
                    let seen = if causal { i + 1 } else { t };
                    for j in 0..t {
                        let query = (start + i) * NH + h;
                        let kept = dropout::reference::is_kept(query * largest + j, site, DRAW);
                        let got = y[query * HD + j];
                        let want = if kept && j < seen { 1.0 / 0.75 / seen as f64 } else { 0.0 };
                        let what = format!("{dtype} causal {causal} on {name}");
                        let near = (got - want).abs() <= 0.01 * want;
                        assert!(near, "{what}: query {i}, head {h}, key {j}: {got}, not {want}");
                        dropped += usize::from(!kept && j < seen);
                        all += usize::from(j < seen);
                    }
                }
            }
            let (n, p) = (all as f64, 0.25);
            let sigma = (p * (1.0 - p) * n).sqrt();
            assert!((dropped as f64 - p * n).abs() <= 4.0 * sigma, "{dropped} of {all}");
        }
    }
}

/// The mean over draws is what there is without dropout; p = 0 is that, bit for bit.
#[test]
fn dropout_keeps_the_mean() {
    let (t, nh, hd) = (9, 2, 8);
    let values = normal(t * 3 * nh * hd, 1.0, 4);
    for (name, device) in devices() {
        let x = Var::constant(tensor(&device, DType::F32, &[1, t, 3 * nh * hd], &values));
        let layout = Layout::padded(&device, 1, 0, t).unwrap();
        let run = |prob: f32, number: u64| {
            let words = Draw { seed: 9, number }.words();
            let draw = ints(&device, &[Draw::WORDS], &words);
            let dropout = Some((Site { number: 1, prob }, &draw));
            let sight = Sight { causal: true, dropout };
            let tape = &mut Tape::no_grad(&device);
            let y = attention::forward_with(tape, &x, nh, None, &layout, sight).unwrap();
            numbers(&y.tensor)
        };
        let sight = Sight { causal: true, ..Sight::default() };
        let tape = &mut Tape::no_grad(&device);
        let without = attention::forward_with(tape, &x, nh, None, &layout, sight).unwrap();
        let without = numbers(&without.tensor);
        assert!(run(0.0, 1) == without, "{name}: p = 0");
        const DRAWS: u64 = 600;
        let mut mean = vec![0.0; without.len()];
        for number in 0..DRAWS {
            mean.iter_mut().zip(run(0.2, number)).for_each(|(m, y)| *m += y / DRAWS as f64);
        }
        let error = mean.iter().zip(&without).map(|(m, w)| (m - w).abs()).fold(0.0, f64::max);
        // Four deviations of the first position, which sees one value, at most 2.5.
        assert!(error <= 0.2, "{name}: {error}");
    }
}

#[test]
fn nonsense_of_dropout_is_refused() {
    for (_, device) in devices() {
        let x = Var::constant(tensor(&device, DType::F32, &[1, 4, 12], &[0.0; 48]));
        let layout = Layout::padded(&device, 1, 0, 4).unwrap();
        let run = |prob, words: usize| {
            let draw = ints(&device, &[words], &vec![0; words]);
            let sight = Sight { causal: false, dropout: Some((Site { number: 0, prob }, &draw)) };
            attention::forward_with(&mut Tape::new(&device), &x, 1, None, &layout, sight)
        };
        for prob in [1.0, -0.1, f32::NAN] {
            refuses("p", run(prob, Draw::WORDS), &["attention", "p in [0, 1)"]);
        }
        refuses("draw", run(0.1, 3), &["attention", "draw (4)", "(3)"]);
    }
    let (t, nh) = (70_000, 4);
    let device = Device::shape_only(DeviceKind::Cpu);
    let of = |dtype, shape: &[usize]| Tensor::uninit(&device, dtype, shape, Purpose::Workspace);
    let x = Var::constant(of(DType::F32, &[t, 12 * nh]).unwrap());
    let (layout, draw) = (Layout::packed(&device, 0, &[t]).unwrap(), of(DType::I32, &[4]).unwrap());
    let sight = Sight { causal: true, dropout: Some((Site { number: 0, prob: 0.5 }, &draw)) };
    let run = attention::forward_with(&mut Tape::new(&device), &x, nh, None, &layout, sight);
    refuses("numbers", run, &["attention", "70000 positions of 4 heads", "2^34"]);
}
