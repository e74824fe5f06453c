use hrm::Result;
use hrm::backend::Device;
use hrm::dtype::DType;
use hrm::ops::draw::Draw;
use hrm::ops::dropout::{self, Site, reference};
use hrm::ops::real::Real;
use hrm::tape::{Tape, Var};

use crate::check::{Input, Op, input, ints, numbers, op_tests, refuses, tensor};
use crate::common::devices::devices;

const DRAW: Draw = Draw { seed: 0x1234_5678_9abc_def0, number: 7 };

struct Case {
    n: usize,
    c: usize,
    prob: f32,
}

const CASES: &[Case] = &[
    Case { n: 1, c: 1, prob: 0.5 },
    Case { n: 17, c: 3, prob: 0.1 },
    Case { n: 16, c: 24, prob: 0.9 },
    Case { n: 9, c: 8, prob: 0.0 },
    Case { n: 257, c: 129, prob: 0.1 }, // more than two tasks
];

impl Case {
    fn site(&self) -> Site {
        Site { number: self.c as u32, prob: self.prob }
    }
}

impl Op for Case {
    fn name(&self) -> String {
        format!("dropout n {} c {} p {}", self.n, self.c, self.prob)
    }
    fn inputs(&self) -> Vec<Input> {
        vec![input(&[self.n, self.c], 1.0, 1)]
    }
    fn run(&self, tape: &mut Tape, x: &[Var]) -> Result<Var> {
        let draw = ints(tape.device(), &[Draw::WORDS], &DRAW.words());
        dropout::forward(tape, &x[0], self.site(), &draw)
    }
    fn forward<R: Real>(&self, x: &[Vec<R>]) -> Vec<R> {
        let mut y = vec![R::default(); x[0].len()];
        reference::apply(&x[0], self.site(), DRAW, &mut y);
        y
    }
    fn backward<R: Real>(&self, _: &[Vec<R>], dy: &[R]) -> Vec<Vec<R>> {
        let mut dx = vec![R::default(); dy.len()];
        reference::apply(dy, self.site(), DRAW, &mut dx);
        vec![dx]
    }
}

op_tests!(CASES);

fn mask(device: &Device, dtype: DType, elems: usize, site: Site, draw: Draw) -> Vec<bool> {
    let ones = Var::constant(tensor(device, dtype, &[elems], &vec![1.0; elems]));
    let draw = ints(device, &[Draw::WORDS], &draw.words());
    let y = dropout::forward(&mut Tape::no_grad(device), &ones, site, &draw).unwrap();
    numbers(&y.tensor).iter().map(|&y| y != 0.0).collect()
}

/// The same whatever the device, the dtype and the width of access.
#[test]
fn mask_is_a_function_of_seed_number_and_site() {
    const ELEMS: usize = 1003;
    let site = Site { number: 3, prob: 0.3 };
    let mut ones = vec![0.0_f64; ELEMS];
    reference::apply(&[1.0; ELEMS], site, DRAW, &mut ones);
    let want: Vec<bool> = ones.iter().map(|&y| y != 0.0).collect();
    for (name, device) in devices() {
        for dtype in [DType::F32, DType::Bf16] {
            let run = |site, draw| mask(&device, dtype, ELEMS, site, draw);
            assert!(run(site, DRAW) == want, "{dtype} on {name}");
            assert!(run(Site { number: 4, ..site }, DRAW) != want);
            for other in [
                Draw { number: DRAW.number + 1, ..DRAW },
                Draw { number: DRAW.number + (1 << 32), ..DRAW },
                Draw { seed: DRAW.seed + (1 << 32), ..DRAW },
                Draw { seed: DRAW.seed + 1, ..DRAW },
            ] {
                assert!(run(site, other) != want, "{other:?} on {name}");
            }
        }
    }
}

#[test]
fn as_many_are_dropped_as_p_says() {
    const ELEMS: usize = 40_000;
    for (name, device) in devices() {
        for prob in [0.1_f32, 0.5] {
            let mask = mask(&device, DType::F32, ELEMS, Site { number: 0, prob }, DRAW);
            let dropped = mask.iter().filter(|kept| !**kept).count() as f64;
            let (p, n) = (prob as f64, ELEMS as f64);
            let sigma = (p * (1.0 - p) * n).sqrt();
            assert!((dropped - p * n).abs() <= 4.0 * sigma, "{name}: {dropped} of {n} at {p}");
        }
    }
}

#[test]
fn nonsense_is_refused() {
    for (_, device) in devices() {
        let x = Var::constant(tensor(&device, DType::F32, &[4], &[0.0; 4]));
        let run = |number, prob, words: usize| {
            let draw = ints(&device, &[words], &vec![0; words]);
            dropout::forward(&mut Tape::new(&device), &x, Site { number, prob }, &draw)
        };
        for prob in [1.0, -0.1, f32::NAN] {
            refuses("p", run(0, prob, Draw::WORDS), &["dropout", "p in [0, 1)"]);
        }
        refuses("site", run(1 << 24, 0.1, Draw::WORDS), &["dropout", "site"]);
        refuses("draw", run(0, 0.1, 3), &["dropout", "draw (4)", "(3)"]);
    }
}
