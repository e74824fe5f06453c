use hrm::backend::Device;
use hrm::dtype::DType;
use hrm::ops::adam::{Hyper, Moments, Rule, reference, step};
use hrm::tensor::Tensor;

use crate::check::{compare, normal, numbers, refuses, tensor};
use crate::common::devices::devices;

const RULES: [Rule; 2] = [Rule::AdamAtan2, Rule::AdamW];

/// More than two tasks, and an odd rest.
const ELEMS: usize = 40_003;
const UP: [f64; 3] = [3.0, 0.25, 1.0];
const DOWN: [f64; 3] = [f64::NAN, 0.25, 0.0];

fn hyper(t: u64) -> Hyper {
    Hyper { lr: 1e-2 / t as f64, weight_decay: 0.1, beta1: 0.9, beta2: 0.95, t }
}

struct State {
    p: Tensor,
    moments: Moments,
}

fn state(device: &Device) -> State {
    let zeros = || tensor(device, DType::F32, &[ELEMS], &vec![0.0; ELEMS]);
    let p = tensor(device, DType::F32, &[ELEMS], &normal(ELEMS, 1.0, 1));
    State { p, moments: Moments { m: zeros(), v: zeros() } }
}

impl State {
    fn all(&self) -> [(&'static str, Vec<f64>); 3] {
        [("p", numbers(&self.p)), ("m", numbers(&self.moments.m)), ("v", numbers(&self.moments.v))]
    }
}

/// Gradients of step t: of every magnitude, and exact zeros.
fn gradient(t: u64) -> Vec<f64> {
    let g = normal(ELEMS, 1.0, 10 + t);
    let scaled = |(i, g): (usize, f64)| match i % 5 {
        0 => 0.0,
        k => (g * 10f64.powi(-3 * k as i32)) as f32 as f64,
    };
    g.into_iter().enumerate().map(scaled).collect()
}

#[test]
fn four_steps_agree_with_reference() {
    for (name, device) in devices() {
        for rule in RULES {
            let got = state(&device);
            let guard = tensor(&device, DType::F32, &[3], &UP);
            let copy = tensor(&device, DType::Bf16, &[ELEMS], &vec![f64::NAN; ELEMS]);
            let [mut p, mut m, mut v] = got.all().map(|(_, x)| x);
            for t in 1..=4 {
                let (g, factors) = (gradient(t), hyper(t).on(&device).unwrap());
                let g_dev = tensor(&device, DType::F32, &[ELEMS], &g);
                step(rule, &got.p, Some(&copy), &g_dev, &got.moments, &guard, &factors).unwrap();
                reference::step(rule, &mut p, &g, [&mut m, &mut v], UP, hyper(t));
            }
            let rounded = tensor(&device, DType::Bf16, &[ELEMS], &numbers(&got.p));
            assert!(numbers(&copy) == numbers(&rounded), "{rule:?}: copy on {name}");
            for ((what, got), want) in got.all().iter().zip([&p, &m, &v]) {
                let at = format!("{rule:?}: {what} on {name}");
                compare(&at, got, want, want, DType::F32, 1e-6);
            }
        }
    }
}

#[test]
fn step_is_refused_when_the_guard_is_down() {
    for (_, device) in devices() {
        for rule in RULES {
            let (s, factors) = (state(&device), hyper(1).on(&device).unwrap());
            let before = s.all();
            let g = tensor(&device, DType::F32, &[ELEMS], &vec![f64::NAN; ELEMS]);
            let guard = tensor(&device, DType::F32, &[3], &DOWN);
            step(rule, &s.p, None, &g, &s.moments, &guard, &factors).unwrap();
            assert_eq!(before, s.all());
        }
    }
}

#[test]
fn bits_do_not_depend_on_threads_or_launch() {
    for (name, device) in devices() {
        for rule in RULES {
            let bits = |threads| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(|| {
                    let (s, factors) = (state(&device), hyper(3).on(&device).unwrap());
                    let g = tensor(&device, DType::F32, &[ELEMS], &gradient(1));
                    let guard = tensor(&device, DType::F32, &[3], &UP);
                    step(rule, &s.p, None, &g, &s.moments, &guard, &factors).unwrap();
                    s.all()
                })
            };
            assert!(bits(1) == bits(2) && bits(2) == bits(2), "{rule:?}: other bits on {name}");
        }
    }
}

/// Views into flat storage begin anywhere; the neighbours stay as they are.
#[test]
fn parts_of_flat_storage_are_stepped_alone() {
    for (name, device) in devices() {
        for start in [1, 4] {
            let part = |t: &Tensor| t.view(start, [13]).unwrap();
            let (s, factors) = (state(&device), hyper(1).on(&device).unwrap());
            let before = s.all();
            let g = tensor(&device, DType::F32, &[ELEMS], &gradient(1));
            let guard = tensor(&device, DType::F32, &[3], &UP);
            let moments = Moments { m: part(&s.moments.m), v: part(&s.moments.v) };
            step(Rule::AdamW, &part(&s.p), None, &part(&g), &moments, &guard, &factors).unwrap();
            for ((what, old), (_, new)) in before.iter().zip(s.all()) {
                let changed = |(i, (old, new)): (usize, (&f64, &f64))| (old != new).then_some(i);
                let changed: Vec<_> =
                    old.iter().zip(&new).enumerate().filter_map(changed).collect();
                let inside = changed.iter().all(|i| (start..start + 13).contains(i));
                assert!(inside && !changed.is_empty(), "{what} on {name}: {changed:?}");
            }
        }
    }
}

/// atan2(0, 0) = 0: a parameter that never had a gradient only decays.
#[test]
fn without_gradient_only_decay_acts() {
    for (_, device) in devices() {
        for rule in RULES {
            let of = |x: f64| tensor(&device, DType::F32, &[1], &[x]);
            let (p, moments) = (of(2.0), Moments { m: of(0.0), v: of(0.0) });
            let guard = tensor(&device, DType::F32, &[3], &[0.0, 1.0, 1.0]);
            let hyper = Hyper { lr: 0.5, weight_decay: 0.5, beta1: 0.9, beta2: 0.95, t: 1 };
            step(rule, &p, None, &of(0.0), &moments, &guard, &hyper.on(&device).unwrap()).unwrap();
            assert_eq!(p.download::<f32>().unwrap(), [1.5]);
        }
    }
}

#[test]
fn mismatches_are_refused() {
    for (_, device) in devices() {
        let f32s = |n: usize| tensor(&device, DType::F32, &[n], &vec![0.0; n]);
        let half = |n: usize| tensor(&device, DType::Bf16, &[n], &vec![0.0; n]);
        let with = |g: Tensor, m: Tensor, guard: Tensor, factors: Tensor| {
            let moments = Moments { m, v: f32s(6) };
            step(Rule::AdamW, &f32s(6), None, &g, &moments, &guard, &factors)
        };
        let run = |g, m, guard| with(g, m, guard, f32s(5));
        refuses("g", run(f32s(5), f32s(6), f32s(3)), &["adam", "g (n)", "(5)", "(6)"]);
        refuses("m", run(f32s(6), f32s(7), f32s(3)), &["adam", "m (n)", "(7)", "(6)"]);
        refuses("dtype", run(half(6), f32s(6), f32s(3)), &["adam", "g", "bf16", "f32"]);
        refuses("guard", run(f32s(6), f32s(6), f32s(2)), &["adam", "guard (3)", "(2)"]);
        let factors = with(f32s(6), f32s(6), f32s(3), f32s(4));
        refuses("factors", factors, &["adam", "factors (5)", "(4)"]);
        let (moments, factors) = (Moments { m: f32s(6), v: f32s(6) }, f32s(5));
        for (copy, words) in [(half(5), ["(5)", "(6)"]), (f32s(6), ["f32", "bf16"])] {
            let (p, g, guard) = (f32s(6), f32s(6), f32s(3));
            let step = step(Rule::AdamW, &p, Some(&copy), &g, &moments, &guard, &factors);
            refuses("copy", step, &[&["adam", "copy (n)"][..], &words].concat());
        }
    }
}
