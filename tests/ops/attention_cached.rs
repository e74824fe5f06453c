//! A step of some sequences against plain loops; all steps of a row against causal attention.

use hrm::Result;
use hrm::backend::Device;
use hrm::dtype::DType;
use hrm::nn::rope;
use hrm::ops::attention::{self, Rope, Sight};
use hrm::ops::attention_cached::{self, Cache, reference};
use hrm::ops::layout::Layout;
use hrm::ops::real::{AsBf16, Real};
use hrm::tape::{Tape, Var};
use hrm::tensor::Tensor;

use crate::check::{compare, ints, normal, numbers, reals, refuses, tensor};
use crate::common::devices::devices;

const THETA: f32 = 10_000.0;
const DTYPES: [DType; 2] = [DType::F32, DType::Bf16];

/// Sequences, and what is in their caches.
struct Case {
    lengths: &'static [i32],
    cap: usize,
    nh: usize,
    hd: usize,
    rope: bool,
}

const fn case(lengths: &'static [i32], [cap, nh, hd]: [usize; 3], rope: bool) -> Case {
    Case { lengths, cap, nh, hd, rope }
}

/// Empty and full caches, idle sequences; heads that make several groups of a block, or none.
const CASES: &[Case] = &[
    case(&[0], [1, 1, 4], true),
    case(&[-1, 2, 0], [3, 2, 12], true),
    case(&[40, -1, -7, 17, 3], [50, 3, 8], false),
    case(&[130, 8], [140, 2, 32], true),
    case(&[299, 0, 1], [300, 1, 64], true),
    case(&[5, 6], [9, 1, 160], true),
];

impl Case {
    fn r(&self) -> usize {
        self.lengths.len()
    }

    fn c(&self) -> usize {
        self.nh * self.hd
    }

    fn name(&self) -> String {
        let Case { lengths, cap, nh, hd, .. } = self;
        format!("attention_cached {lengths:?} of {cap}, heads {nh} x {hd}")
    }

    /// Places that are not the lengths.
    fn places(&self) -> Vec<i32> {
        self.lengths.iter().map(|n| n.max(&0) / 2 + 1).collect()
    }

    fn rope(&self, device: &Device) -> Option<Rope> {
        self.rope.then(|| rope::tables(device, self.cap + 1, self.hd, THETA).unwrap())
    }

    /// qkv, k, v
    fn values(&self) -> [Vec<f64>; 3] {
        let cache = self.r() * self.cap * self.c();
        [(self.r() * 3 * self.c(), 1), (cache, 2), (cache, 3)].map(|(n, seed)| normal(n, 1.5, seed))
    }

    fn cache(&self, device: &Device, dtype: DType, [_, k, v]: &[Vec<f64>; 3]) -> Cache {
        let shape = [self.r(), self.cap, self.c()];
        let lengths = ints(device, &[self.r()], self.lengths);
        Cache { k: tensor(device, dtype, &shape, k), v: tensor(device, dtype, &shape, v), lengths }
    }

    fn run(&self, device: &Device, cache: &Cache, qkv: &Tensor) -> Result<Tensor> {
        let (places, rope) = (ints(device, &[self.r()], &self.places()), self.rope(device));
        let (tape, qkv) = (&mut Tape::no_grad(device), &Var::constant(qkv.clone()));
        let y = attention_cached::forward(tape, qkv, cache, rope.as_ref(), &places, self.nh)?;
        Ok(y.tensor)
    }

    /// y, k and v after, from what the device holds before.
    fn expected<R: Real>(&self, before: [&Tensor; 3]) -> [Vec<f64>; 3] {
        let [qkv, mut k, mut v] = before.map(|x| reals::<R>(&numbers(x)));
        let tables = self.rope(&Device::cpu());
        let tables = tables.map(|Rope { cos, sin }| [cos, sin].map(|x| reals::<R>(&numbers(&x))));
        let tables = tables.as_ref().map(|[cos, sin]| (&cos[..], &sin[..]));
        let d = reference::Dims { cap: self.cap, nh: self.nh, hd: self.hd };
        let mut y = vec![R::default(); self.r() * self.c()];
        let (places, lengths) = (self.places(), self.lengths);
        reference::forward(d, &qkv, tables, &places, lengths, &mut k, &mut v, &mut y);
        [y, k, v].map(|x| x.iter().map(|x| x.to_f64()).collect())
    }
}

#[test]
fn a_step_agrees_with_reference() {
    for (name, device) in devices() {
        for (case, dtype) in CASES.iter().flat_map(|case| DTYPES.map(|dtype| (case, dtype))) {
            let values = case.values();
            let qkv = tensor(&device, dtype, &[case.r(), 3 * case.c()], &values[0]);
            let cache = case.cache(&device, dtype, &values);
            let before = [&qkv, &cache.k, &cache.v];
            let want = case.expected::<f64>(before);
            let near = match dtype {
                DType::Bf16 => case.expected::<AsBf16>(before),
                _ => want.clone(),
            };
            let y = case.run(&device, &cache, &qkv).unwrap();
            for (what, got, i) in [("y", &y, 0), ("k", &cache.k, 1), ("v", &cache.v, 2)] {
                let what = format!("{} {dtype} on {name}: {what}", case.name());
                compare(&what, &numbers(got), &want[i], &near[i], dtype, 1e-5);
            }
        }
    }
}

/// Two launches, one or two threads, and whatever the other sequences are: the same bits.
#[test]
fn a_sequence_depends_on_itself_alone() {
    let case = &CASES[3];
    let c = case.c();
    for (name, device) in devices() {
        for dtype in DTYPES {
            let run = |threads: usize, others: f64| {
                let mut values = case.values();
                values.iter_mut().for_each(|x| {
                    let own = x.len() / case.r();
                    x[own..].iter_mut().for_each(|x| *x *= others);
                });
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(|| {
                    let qkv = tensor(&device, dtype, &[case.r(), 3 * c], &values[0]);
                    let cache = case.cache(&device, dtype, &values);
                    numbers(&case.run(&device, &cache, &qkv).unwrap())
                })
            };
            let (one, two, other) = (run(1, 1.0), run(2, 1.0), run(2, -3.0));
            assert!(one == two, "{dtype} on {name}: other bits");
            assert!(one[..c] == other[..c], "{dtype} on {name}: the other sequence is seen");
            assert!(one[c..] != other[c..], "{dtype} on {name}: {} had no effect", "its cache");
        }
    }
}

/// Rows of several lengths, position by position: those that have ended idle.
#[test]
fn steps_are_causal_attention() {
    const LENGTHS: [usize; 3] = [33, 1, 70];
    let longest = 70;
    for (name, device) in devices() {
        for (dtype, hd) in [(DType::F32, 12), (DType::Bf16, 20), (DType::Bf16, 32)] {
            let (nh, r) = (2, LENGTHS.len());
            let c = nh * hd;
            let layout = Layout::packed(&device, 0, &LENGTHS).unwrap();
            layout.lengths.upload(&LENGTHS.map(|t| t as i32)).unwrap();
            let places = LENGTHS.iter().flat_map(|&t| (0..t as i32).map(|i| 2 * i));
            layout.places.upload(&places.collect::<Vec<_>>()).unwrap();
            let rope = rope::tables(&device, 2 * longest, hd, THETA).unwrap();
            let n: usize = LENGTHS.iter().sum();
            let values = normal(n * 3 * c, 1.0, 5);
            let qkv = Var::constant(tensor(&device, dtype, &[n, 3 * c], &values));
            let tape = &mut Tape::no_grad(&device);
            let sight = Sight { causal: true, ..Sight::default() };
            let want = attention::forward_with(tape, &qkv, nh, Some(&rope), &layout, sight);
            let want = numbers(&want.unwrap().tensor);
            let cache = Cache::new(&device, dtype, r, longest, c).unwrap();
            let starts = &layout.positions().host;
            for i in 0..longest {
                let in_row = |r: usize| i < LENGTHS[r];
                let lengths: Vec<i32> =
                    (0..r).map(|r| if in_row(r) { i as i32 } else { -1 }).collect();
                cache.lengths.upload(&lengths).unwrap();
                let row = |r: usize| {
                    let at = if in_row(r) { starts[r] + i } else { 0 };
                    &values[at * 3 * c..][..3 * c]
                };
                let step: Vec<f64> = (0..r).flat_map(row).copied().collect();
                let step = Var::constant(tensor(&device, dtype, &[r, 3 * c], &step));
                let places = ints(&device, &[r], &vec![2 * i as i32; r]);
                let y = attention_cached::forward(tape, &step, &cache, Some(&rope), &places, nh);
                let y = numbers(&y.unwrap().tensor);
                for (r, y) in y.chunks_exact(c).enumerate() {
                    let zeros = vec![0.0; c];
                    let want = if in_row(r) { &want[(starts[r] + i) * c..][..c] } else { &zeros };
                    let what = format!("{dtype} hd {hd} on {name}: position {i} of row {r}");
                    compare(&what, y, want, want, dtype, 1e-5);
                }
            }
        }
    }
}

#[test]
fn mismatches_are_refused() {
    for (_, device) in devices() {
        let zeros = |dtype, shape: &[usize]| {
            tensor(&device, dtype, shape, &vec![0.0; shape.iter().product()])
        };
        let run = |cache: &Cache, qkv: Tensor, heads, places: usize| {
            let (tape, places) =
                (&mut Tape::no_grad(&device), ints(&device, &[2], &[0, places as i32]));
            let rope = rope::tables(&device, 9, 4, THETA).unwrap();
            let qkv = Var::constant(qkv);
            attention_cached::forward(tape, &qkv, cache, Some(&rope), &places, heads)
        };
        let cache = Cache::new(&device, DType::F32, 2, 3, 8).unwrap();
        let qkv = |c| zeros(DType::F32, &[2, c]);
        refuses("heads", run(&cache, qkv(24), 0, 0), &["attention_cached", "0 heads"]);
        refuses("heads", run(&cache, qkv(24), 4, 0), &["attention_cached", "multiple of 4"]);
        refuses("qkv", run(&cache, qkv(8), 2, 0), &["attention_cached", "qkv", "(2, 8)"]);
        refuses("rope", run(&cache, qkv(24), 1, 0), &["attention_cached", "cos", "(9, 4)"]);
        let bf16 = run(&cache, zeros(DType::Bf16, &[2, 24]), 2, 0);
        refuses("dtype", bf16, &["attention_cached", "k is f32", "bf16"]);
        let mut tape = Tape::new(&device);
        let tracked = tape.leaf(qkv(24));
        let places = ints(&device, &[2], &[0, 0]);
        let got = attention_cached::forward(&mut tape, &tracked, &cache, None, &places, 2);
        refuses("gradient", got, &["attention_cached", "no gradient"]);
        // What the device's memory says: refused on a CPU, NaN on CUDA.
        for (lengths, place, words) in
            [([-1, 3], 0, ["sequence 1", "room for 3"]), ([0, 1], 9, ["sequence 1", "below 9"])]
        {
            cache.lengths.upload(&lengths).unwrap();
            match run(&cache, qkv(24), 2, place) {
                Ok(y) => assert!(numbers(&y.tensor)[8..].iter().all(|y| y.is_nan())),
                refused => refuses("length", refused, &words),
            }
        }
    }
}
