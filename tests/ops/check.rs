//! What every differentiable op must pass, on every device: its reference's gradient against finite
//! differences, the op against the reference in f32 and bf16, and the same bits every time.

use hrm::Result;
use hrm::backend::{Device, Mode, Purpose};
use hrm::dtype::{DType, Float, bf16};
use hrm::ops::real::{AsBf16, Real};
use hrm::rng::Rng;
use hrm::tape::{Tape, Var};
use hrm::tensor::Tensor;

use crate::common::compare::said;
use crate::common::devices::devices;

/// Step of the central differences, and the largest error they may show, relative to the tensor's
/// largest element and absolute.
const STEP: f64 = 1e-4;
const DIFFERENCES_RTOL: f64 = 1e-6;
const DIFFERENCES_ATOL: f64 = 1e-9;
/// Elements of an input that are moved; a forward pass each.
const DIFFERENCES_PER_INPUT: usize = 24;
/// Outputs larger than this are left to the smaller cases, which have the same formula.
const DIFFERENCES_MAX_ELEMS: usize = 8192;

/// One case of an op.
pub trait Op: Sync {
    /// Largest f32 error against the f64 reference, relative to the largest element.
    const RTOL: f64 = 1e-5;
    /// Outputs that are tables of unlike quantities are compared column by column.
    const COLUMNS: usize = 1;

    /// Sizes, for messages.
    fn name(&self) -> String;
    /// The inputs that a gradient flows to.
    fn inputs(&self) -> Vec<Input>;
    fn run(&self, tape: &mut Tape, x: &[Var]) -> Result<Var>;
    fn forward<R: Real>(&self, x: &[Vec<R>]) -> Vec<R>;
    fn backward<R: Real>(&self, x: &[Vec<R>], dy: &[R]) -> Vec<Vec<R>>;
    /// Where to run it.
    fn devices() -> Vec<(String, Device)> {
        devices().into_iter().map(|(name, device)| (name.to_owned(), device)).collect()
    }
    /// Whether the op is smooth within a step of this input value.
    fn is_smooth_at(&self, _x: f64) -> bool {
        true
    }
}

pub struct Input {
    pub shape: Vec<usize>,
    pub values: Vec<f64>,
    /// f32 whatever dtype the op runs in.
    pub always_f32: bool,
}

/// The tests of one op; `$cases` is a list of [`Op`]s, awkward sizes first. `f32` for an op that
/// knows no other dtype.
macro_rules! op_tests {
    ($cases:expr) => {
        $crate::check::op_tests!($cases, f32);
        #[test]
        fn bf16_is_as_near_as_its_rounding_points_allow() {
            $cases.iter().for_each(|op| $crate::check::values(op, hrm::dtype::DType::Bf16));
        }
        #[test]
        fn bf16_bits_do_not_depend_on_threads_or_launch() {
            $cases.iter().for_each(|op| $crate::check::repeats(op, hrm::dtype::DType::Bf16));
        }
    };
    ($cases:expr, f32) => {
        #[test]
        fn reference_gradient_agrees_with_differences() {
            $crate::check::all_differences($cases.iter());
        }
        #[test]
        fn f32_agrees_with_reference() {
            $cases.iter().for_each(|op| $crate::check::values(op, hrm::dtype::DType::F32));
        }
        #[test]
        fn bits_do_not_depend_on_threads_or_launch() {
            $cases.iter().for_each(|op| $crate::check::repeats(op, hrm::dtype::DType::F32));
        }
    };
}
pub(crate) use op_tests;

/// Standard normal times `scale`, as f32 holds them.
pub fn normal(elems: usize, scale: f64, seed: u64) -> Vec<f64> {
    let mut rng = Rng::new(seed, hrm::rng::Stream::Test, elems as u64);
    (0..elems).map(|_| (rng.normal() * scale) as f32 as f64).collect()
}

pub fn input(shape: &[usize], scale: f64, seed: u64) -> Input {
    let values = normal(shape.iter().product(), scale, seed);
    Input { shape: shape.to_vec(), values, always_f32: false }
}

pub fn tensor(device: &Device, dtype: DType, shape: &[usize], values: &[f64]) -> Tensor {
    let t = Tensor::uninit(device, dtype, shape, Purpose::Activations).unwrap();
    let f32s = values.iter().map(|&x| x as f32);
    match dtype {
        DType::F32 => t.upload(&f32s.collect::<Vec<_>>()),
        DType::Bf16 => t.upload(&f32s.map(<bf16 as Float>::from_f32).collect::<Vec<_>>()),
        DType::I32 => t.upload(&values.iter().map(|&x| x as i32).collect::<Vec<_>>()),
        DType::U8 => t.upload(&values.iter().map(|&x| x as u8).collect::<Vec<_>>()),
    }
    .unwrap();
    t
}

pub fn ints(device: &Device, shape: &[usize], values: &[i32]) -> Tensor {
    Tensor::from_slice(device, values, shape, Purpose::Activations).unwrap()
}

pub fn numbers(t: &Tensor) -> Vec<f64> {
    match t.dtype() {
        DType::F32 => t.read::<f32>().unwrap().iter().map(|&x| x as f64).collect(),
        DType::Bf16 => t.read::<bf16>().unwrap().iter().map(|x| x.to_f32() as f64).collect(),
        DType::I32 => t.read::<i32>().unwrap().iter().map(|&x| x as f64).collect(),
        DType::U8 => t.read::<u8>().unwrap().iter().map(|&x| x as f64).collect(),
    }
}

pub fn reals<R: Real>(values: &[f64]) -> Vec<R> {
    values.iter().map(|&x| R::of(x)).collect()
}

fn rounded(values: &[f64], dtype: DType) -> Vec<f64> {
    match dtype {
        DType::Bf16 => values.iter().map(|&x| AsBf16::of(x).store().to_f64()).collect(),
        _ => values.to_vec(),
    }
}

/// Every case that is small enough for [`differences`], at least one; the others are named.
pub fn all_differences<'a, O: Op + 'a>(cases: impl IntoIterator<Item = &'a O>) {
    let left_out: Vec<bool> = cases.into_iter().map(|op| !differences(op)).collect();
    assert!(left_out.contains(&false), "no case is small enough for finite differences");
}

/// The reference's gradient against finite differences; `false` for a case that is too large.
fn differences<O: Op>(op: &O) -> bool {
    let inputs = op.inputs();
    let x: Vec<Vec<f64>> = inputs.iter().map(|i| i.values.clone()).collect();
    let elems = op.forward(&x).len();
    if elems > DIFFERENCES_MAX_ELEMS {
        println!("no differences for {}: {elems} outputs", op.name());
        return false;
    }
    let dy = normal(elems, 1.0, 99);
    let loss = |x: &[Vec<f64>]| -> f64 { op.forward(x).iter().zip(&dy).map(|(y, d)| y * d).sum() };
    let grads = op.backward(&x, &dy);
    assert_eq!(grads.len(), x.len(), "{}: a gradient for each input", op.name());
    for (k, grad) in grads.iter().enumerate() {
        assert_eq!(grad.len(), x[k].len(), "{}: gradient {k}", op.name());
        let largest = largest(grad);
        let bound = DIFFERENCES_RTOL * largest + DIFFERENCES_ATOL;
        assert!(bound.is_finite(), "{}: gradient {k} is not finite", op.name());
        let stride = grad.len().div_ceil(DIFFERENCES_PER_INPUT);
        for i in (0..grad.len()).step_by(stride).filter(|&i| op.is_smooth_at(x[k][i])) {
            let moved = |by: f64| {
                let mut x = x.clone();
                x[k][i] += by;
                loss(&x)
            };
            let slope = (moved(STEP) - moved(-STEP)) / (2.0 * STEP);
            let error = (slope - grad[i]).abs();
            let at = format!("{}: input {k}[{i}]", op.name());
            assert!(error <= bound, "{at}: difference {slope}, reference {}", grad[i]);
        }
    }
    true
}

/// How gradients reach the inputs.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Wiring {
    Leaf,
    /// A bound gradient full of NaN, to be overwritten.
    BoundSet,
    /// A bound gradient with something in it, to be added to.
    BoundAdd,
    /// Every input is used twice.
    Twice,
}

struct Run {
    y: Tensor,
    dys: Vec<Vec<f64>>,
    grads: Vec<Tensor>,
}

/// What a `BoundAdd` gradient holds before.
fn before(elems: usize, dtype: DType) -> Vec<f64> {
    rounded(&normal(elems, 0.5, 7), dtype)
}

fn run<O: Op>(
    op: &O,
    device: &Device,
    dtype: DType,
    wiring: Wiring,
    grad_dtypes: Option<&[DType]>,
) -> Run {
    let mut tape = Tape::new(device);
    let mut vars = vec![];
    for (k, input) in op.inputs().iter().enumerate() {
        let of = if input.always_f32 { DType::F32 } else { dtype };
        let x = tensor(device, of, &input.shape, &input.values);
        let bound = |values: Vec<f64>| {
            tensor(device, grad_dtypes.expect("known")[k], &input.shape, &values)
        };
        vars.push(match wiring {
            Wiring::Leaf | Wiring::Twice => tape.leaf(x),
            Wiring::BoundSet => tape.bind(x, bound(vec![f64::NAN; input.values.len()]), Mode::Set),
            Wiring::BoundAdd => {
                let before = before(input.values.len(), grad_dtypes.expect("known")[k]);
                tape.bind(x, bound(before), Mode::Add)
            }
        });
    }
    let uses = if wiring == Wiring::Twice { 2 } else { 1 };
    let outputs: Vec<Var> = (0..uses).map(|_| op.run(&mut tape, &vars).unwrap()).collect();
    let y = &outputs[0].tensor;
    let dys: Vec<Vec<f64>> =
        (0..uses).map(|i| rounded(&normal(y.elems(), 1.0, 99 + i), y.dtype())).collect();
    let seeds: Vec<(&Var, Tensor)> = outputs
        .iter()
        .zip(&dys)
        .map(|(out, dy)| (out, tensor(device, y.dtype(), y.shape().dims(), dy)))
        .collect();
    let mut grads = tape.backward(&seeds).unwrap();
    let grads = vars.iter().map(|v| grads.take(v.id.unwrap()).unwrap().expect("a gradient"));
    Run { y: y.clone(), dys, grads: grads.collect() }
}

/// y and the gradients that `wiring` leaves.
fn expected<R: Real, O: Op>(
    op: &O,
    dtype: DType,
    wiring: Wiring,
    run: &Run,
) -> (Vec<f64>, Vec<Vec<f64>>) {
    let x: Vec<Vec<R>> = op
        .inputs()
        .iter()
        .map(|i| reals(&rounded(&i.values, if i.always_f32 { DType::F32 } else { dtype })))
        .collect();
    let mut sums: Vec<Vec<R>> = match wiring {
        Wiring::BoundAdd => {
            run.grads.iter().map(|g| reals(&before(g.elems(), g.dtype()))).collect()
        }
        _ => run.grads.iter().map(|g| vec![R::default(); g.elems()]).collect(),
    };
    for dy in &run.dys {
        for ((sum, g), of) in sums.iter_mut().zip(op.backward(&x, &reals(dy))).zip(&run.grads) {
            for (sum, g) in sum.iter_mut().zip(g) {
                let new = *sum + g;
                *sum = if of.dtype() == DType::Bf16 { new.store() } else { new };
            }
        }
    }
    let wide = |v: &[R]| v.iter().map(|x| x.to_f64()).collect::<Vec<f64>>();
    (wide(&op.forward(&x)), sums.iter().map(|s| wide(s)).collect())
}

/// Forward and all gradients in every wiring, against the f64 reference.
pub fn values<O: Op>(op: &O, dtype: DType) {
    use Wiring::{BoundAdd, BoundSet, Leaf, Twice};
    values_in(op, dtype, &[Leaf, BoundSet, BoundAdd, Twice]);
}

/// The same in one wiring, for a case whose reference takes long.
pub fn leaf_values<O: Op>(op: &O, dtype: DType) {
    values_in(op, dtype, &[Wiring::Leaf]);
}

fn values_in<O: Op>(op: &O, dtype: DType, wirings: &[Wiring]) {
    for (device_name, device) in O::devices() {
        let leaf = run(op, &device, dtype, Wiring::Leaf, None);
        let dtypes: Vec<DType> = leaf.grads.iter().map(Tensor::dtype).collect();
        for &wiring in wirings {
            let got = run(op, &device, dtype, wiring, Some(&dtypes));
            let (y, grads) = expected::<f64, O>(op, dtype, wiring, &got);
            let (y_near, grads_near) = match dtype {
                DType::Bf16 => expected::<AsBf16, O>(op, dtype, wiring, &got),
                _ => (y.clone(), grads.clone()),
            };
            let at = format!("{} {dtype} on {device_name}, {wiring:?}", op.name());
            for c in 0..O::COLUMNS {
                let column =
                    |v: &[f64]| v.iter().skip(c).step_by(O::COLUMNS).copied().collect::<Vec<_>>();
                let (want, near) = (column(&y), column(&y_near));
                let got_y = column(&numbers(&got.y));
                compare(
                    &format!("{at}: y column {c}"),
                    &got_y,
                    &want,
                    &near,
                    got.y.dtype(),
                    O::RTOL,
                );
            }
            for (k, grad) in got.grads.iter().enumerate() {
                let what = format!("{at}: gradient {k}");
                let (want, near) = (&grads[k], &grads_near[k]);
                compare(&what, &numbers(grad), want, near, grad.dtype(), O::RTOL);
            }
        }
    }
}

/// Largest magnitude; infinite where an element is not finite.
fn largest(x: &[f64]) -> f64 {
    let magnitude = |x: &f64| if x.is_finite() { x.abs() } else { f64::INFINITY };
    x.iter().map(magnitude).fold(0.0, f64::max)
}

/// At most twice the error of `near`, the reference with the same rounding points, or, where that
/// is more, `rtol` of the largest element in f32, one bf16 ulp of it in bf16. A reference that is
/// not finite fails: it would bound nothing.
pub fn compare(what: &str, got: &[f64], want: &[f64], near: &[f64], dtype: DType, rtol: f64) {
    assert_eq!((got.len(), near.len()), (want.len(), want.len()), "{what}: length");
    let largest = largest(want);
    let error = |x: &[f64]| {
        x.iter().zip(want).fold(0.0, |m: f64, (x, w)| {
            let e = (x - w).abs();
            if e.is_finite() { m.max(e) } else { f64::INFINITY }
        })
    };
    let bound = (2.0 * error(near)).max(match dtype {
        DType::Bf16 => bf16_ulp(largest),
        _ => rtol * largest,
    });
    assert!(largest.is_finite() && bound.is_finite(), "{what}: the reference is not finite");
    let e = error(got);
    said(what, e, bound);
    assert!(e <= bound, "{what}: error {e:e} exceeds {bound:e} (largest element {largest:e})");
}

fn bf16_ulp(x: f64) -> f64 {
    if x == 0.0 { 0.0 } else { 2f64.powf(x.log2().floor() - 7.0) }
}

/// Two launches, and one or two threads: the same bits.
pub fn repeats<O: Op>(op: &O, dtype: DType) {
    for (device_name, device) in O::devices() {
        let bits = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let run = pool.install(|| run(op, &device, dtype, Wiring::Twice, None));
            let all = std::iter::once(&run.y).chain(&run.grads);
            all.map(|t| t.read_bytes().unwrap().to_vec()).collect::<Vec<_>>()
        };
        let (one, two, again) = (bits(1), bits(2), bits(2));
        let at = format!("{} {dtype} on {device_name}", op.name());
        assert!(one == two, "{at}: other bits with two threads");
        assert!(two == again, "{at}: other bits in a second launch");
    }
}

/// The error of an op that must refuse, and the words it must hold.
pub fn refuses<T>(what: &str, result: Result<T>, words: &[&str]) {
    let Err(error) = result else { panic!("{what}: not refused") };
    let text = error.to_string();
    for word in words {
        assert!(text.contains(word), "{what}: `{text}` does not say `{word}`");
    }
}

#[test]
fn a_reference_that_is_not_finite_bounds_nothing() {
    let passes = |got: f64, want: f64, near: f64, dtype| {
        let compare = || compare("planted", &[1.0, got], &[1.0, want], &[1.0, near], dtype, 1e-5);
        std::panic::catch_unwind(compare).is_ok()
    };
    for dtype in [DType::F32, DType::Bf16] {
        assert!(passes(2.0, 2.0, 2.0, dtype));
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert!(!passes(bad, 2.0, 2.0, dtype), "{dtype}: got {bad}");
            for got in [bad, 2.0] {
                assert!(!passes(got, bad, bad, dtype), "{dtype}: got {got}, reference {bad}");
                assert!(!passes(got, bad, 2.0, dtype), "{dtype}: got {got}, reference {bad}");
                assert!(!passes(got, 2.0, bad, dtype), "{dtype}: got {got}, rounded {bad}");
            }
        }
    }
}
