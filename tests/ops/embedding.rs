use hrm::Result;
use hrm::backend::DeviceKind;
use hrm::dtype::DType;
use hrm::ops::embedding::{self, reference, reference::Dims};
use hrm::ops::layout::Layout;
use hrm::ops::real::Real;
use hrm::rng::{Rng, Stream};
use hrm::tape::{Tape, Var};

use crate::check::{Input, Op, input, ints, numbers, op_tests, refuses, tensor};
use crate::common::devices::devices;

const SCALE: f32 = 11.313_708;

struct Case {
    b: usize,
    s: usize,
    c: usize,
    v: usize,
    /// 0: no puzzle prefix.
    d: usize,
    /// Prefix tokens that hold padding only.
    more: usize,
    pos: bool,
}

const fn case(b: usize, s: usize, c: usize, v: usize, d: usize, pos: bool) -> Case {
    Case { b, s, c, v, d, more: 0, pos }
}

const CASES: &[Case] = &[
    case(1, 1, 3, 6, 0, false),
    case(1, 17, 5, 11, 13, true), // three prefix tokens, the last one padded
    case(3, 16, 12, 12, 7, false), // less than one token
    case(2, 9, 8, 6, 16, true),
    case(9, 30, 16, 11, 0, true), // more than two tasks and parts of the table's gradient
    case(2, 5, 520, 40, 520, false), // more words and columns than a block sums
    case(2, 3, 133, 17, 0, false),
    Case { more: 2, ..case(2, 9, 5, 11, 7, true) },
    Case { more: 15, ..case(3, 4, 16, 6, 16, false) }, // TRM's
];

impl Case {
    fn dims(&self) -> Dims {
        let &Case { b, s, c, v, d, more, .. } = self;
        Dims { b, s, p: d.div_ceil(c) + more, c, v, d }
    }

    /// Not every word of the vocabulary occurs.
    fn tokens(&self) -> Vec<i32> {
        let mut rng = Rng::new(5, Stream::Test, 0);
        (0..self.b * self.s).map(|_| 1 + rng.below(self.v as u32 - 1) as i32).collect()
    }

    /// table, puzzle, pos
    fn split<'a, T>(&self, x: &'a [T]) -> (&'a T, Option<&'a T>, Option<&'a T>) {
        let mut rest = x[1..].iter();
        let puzzle = (self.d > 0).then(|| rest.next().unwrap());
        (&x[0], puzzle, self.pos.then(|| rest.next().unwrap()))
    }
}

impl Op for Case {
    fn name(&self) -> String {
        format!("embedding {:?} pos {}", self.dims(), self.pos)
    }
    fn inputs(&self) -> Vec<Input> {
        let Dims { b, s, p, c, v, d } = self.dims();
        let mut x = vec![input(&[v, c], 0.1, 1)];
        x.extend((d > 0).then(|| Input { always_f32: true, ..input(&[b, d], 0.1, 2) }));
        x.extend(self.pos.then(|| input(&[p + s, c], 0.1, 3)));
        x
    }
    fn run(&self, tape: &mut Tape, x: &[Var]) -> Result<Var> {
        let (table, puzzle, pos) = self.split(x);
        let tokens = ints(tape.device(), &[self.b, self.s], &self.tokens());
        let layout = Layout::padded(tape.device(), self.b, self.dims().p, self.s)?;
        embedding::forward(tape, &tokens, table, puzzle, pos, SCALE, &layout)
    }
    fn forward<R: Real>(&self, x: &[Vec<R>]) -> Vec<R> {
        let (d, (table, puzzle, pos)) = (self.dims(), self.split(x));
        let mut y = vec![R::default(); d.b * (d.p + d.s) * d.c];
        let puzzle = puzzle.map_or(&[][..], |p| &p[..]);
        let pos = pos.map(|p| &p[..]);
        reference::forward(d, &self.tokens(), table, puzzle, pos, SCALE, &mut y);
        y
    }
    fn backward<R: Real>(&self, x: &[Vec<R>], dy: &[R]) -> Vec<Vec<R>> {
        let (table, puzzle, pos) = self.split(x);
        let zeros = |x: &Vec<R>| vec![R::default(); x.len()];
        let (mut dtable, mut dpuzzle) = (zeros(table), puzzle.map(zeros));
        let mut dpos = pos.map(zeros);
        reference::backward(
            self.dims(),
            &self.tokens(),
            SCALE,
            dy,
            &mut dtable,
            dpuzzle.as_deref_mut().unwrap_or_default(),
            dpos.as_deref_mut(),
        );
        [Some(dtable), dpuzzle, dpos].into_iter().flatten().collect()
    }
}

op_tests!(CASES);

#[test]
fn with_positions_is_the_plain_sum() {
    let (b, s, c, v) = (3, 5, 8, 6);
    let (e, pos) = (input(&[v, c], 1.0, 1), input(&[s, c], 1.0, 2));
    let tokens: Vec<i32> = (0..b * s).map(|i| (i * 5 % v) as i32).collect();
    let sum = |i: usize| {
        let token = tokens[i / c] as usize;
        (e.values[token * c + i % c] as f32 + pos.values[i % (s * c)] as f32) as f64
    };
    let want: Vec<f64> = (0..b * s * c).map(sum).collect();
    for (name, device) in devices() {
        let var = |x: &Input| Var::constant(tensor(&device, DType::F32, &x.shape, &x.values));
        let ids = ints(&device, &[b, s], &tokens);
        let mut tape = Tape::no_grad(&device);
        let layout = Layout::padded(&device, b, 0, s).unwrap();
        let (e, pos) = (var(&e), var(&pos));
        let y = embedding::with_positions(&mut tape, &ids, &e, &pos, &layout).unwrap();
        assert_eq!(numbers(&y.tensor), want, "{name}");
    }
}

/// An error, or on CUDA NaN that no loss survives.
#[test]
fn tokens_outside_the_vocabulary_are_refused() {
    for (name, device) in devices() {
        let table = Var::constant(tensor(&device, DType::F32, &[6, 4], &[1.0; 24]));
        let layout = Layout::padded(&device, 1, 0, 3).unwrap();
        for bad in [6, 255, -1, i32::MIN] {
            let tokens = ints(&device, &[1, 3], &[0, bad, 5]);
            let mut tape = Tape::new(&device);
            let y = embedding::forward(&mut tape, &tokens, &table, None, None, 1.0, &layout);
            if device.kind() == DeviceKind::Cuda {
                let y = numbers(&y.unwrap().tensor);
                assert!(y[4..8].iter().all(|y| y.is_nan()), "{bad} on {name}: {y:?}");
                assert!(y[..4] == [1.0; 4] && y[8..] == [1.0; 4], "{bad} on {name}: {y:?}");
            } else {
                refuses("token", y, &["embedding", &format!("token {bad} "), "6"]);
            }
        }
    }
}

#[test]
fn mismatches_are_refused() {
    for (_, device) in devices() {
        let var = |dtype, shape: &[usize]| {
            Var::constant(tensor(&device, dtype, shape, &vec![0.0; shape.iter().product()]))
        };
        let table = var(DType::F32, &[6, 4]);
        let tokens = ints(&device, &[2, 3], &[0; 6]);
        let run = |tokens, puzzle: Option<Var>, pos: Option<Var>| {
            let mut tape = Tape::new(&device);
            let prefix = if puzzle.is_some() { 2 } else { 0 };
            let layout = Layout::padded(&device, 2, prefix, 3)?;
            let (puzzle, pos) = (puzzle.as_ref(), pos.as_ref());
            embedding::forward(&mut tape, tokens, &table, puzzle, pos, 1.0, &layout)
        };
        let floats = tensor(&device, DType::F32, &[2, 3], &[0.0; 6]);
        refuses("tokens", run(&floats, None, None), &["embedding", "tokens", "f32", "i32"]);
        let puzzle = Some(var(DType::F32, &[3, 5]));
        refuses("puzzle", run(&tokens, puzzle, None), &["embedding", "puzzle (B, D)", "(3, 5)"]);
        let puzzle = Some(var(DType::Bf16, &[2, 5]));
        refuses("puzzle", run(&tokens, puzzle, None), &["embedding", "puzzle", "bf16", "f32"]);
        let puzzle = Some(var(DType::F32, &[2, 9]));
        refuses("puzzle", run(&tokens, puzzle, None), &["embedding", "rows of 9", "2 prefix", "4"]);
        let pos = Some(var(DType::F32, &[2, 4]));
        refuses("pos", run(&tokens, None, pos), &["embedding", "pos (T, C)", "(2, 4)", "(3, 4)"]);
        let pos = Some(var(DType::Bf16, &[3, 4]));
        refuses("pos", run(&tokens, None, pos), &["embedding", "pos", "bf16", "f32"]);
    }
}
