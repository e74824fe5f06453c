//! What both Adam rules must pass.

use hrm::Result;
use hrm::backend::Device;
use hrm::dtype::DType;
use hrm::ops::adam_atan2::{Hyper, Moments};
use hrm::tensor::Tensor;

use crate::check::{compare, normal, numbers, refuses, tensor};
use crate::common::devices::devices;

type Step = fn(&Tensor, &Tensor, &Moments, &Tensor, &Tensor) -> Result<()>;
type Reference = fn(&mut [f64], &[f64], &mut [f64], &mut [f64], [f64; 3], Hyper);

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

pub fn agrees(step: Step, reference: Reference) {
    for (name, device) in devices() {
        let got = state(&device);
        let guard = tensor(&device, DType::F32, &[3], &UP);
        let [mut p, mut m, mut v] = got.all().map(|(_, x)| x);
        for t in 1..=4 {
            let g = gradient(t);
            let g_dev = tensor(&device, DType::F32, &[ELEMS], &g);
            step(&got.p, &g_dev, &got.moments, &guard, &hyper(t).on(&device).unwrap()).unwrap();
            reference(&mut p, &g, &mut m, &mut v, UP, hyper(t));
        }
        for ((what, got), want) in got.all().iter().zip([&p, &m, &v]) {
            compare(&format!("{what} on {name}"), got, want, want, DType::F32, 1e-6);
        }
    }
}

pub fn does_nothing_when_the_guard_is_down(step: Step) {
    for (_, device) in devices() {
        let s = state(&device);
        let before = s.all();
        let g = tensor(&device, DType::F32, &[ELEMS], &vec![f64::NAN; ELEMS]);
        let guard = tensor(&device, DType::F32, &[3], &DOWN);
        step(&s.p, &g, &s.moments, &guard, &hyper(1).on(&device).unwrap()).unwrap();
        assert_eq!(before, s.all());
    }
}

pub fn repeats(step: Step) {
    for (name, device) in devices() {
        let bits = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let s = state(&device);
                let g = tensor(&device, DType::F32, &[ELEMS], &gradient(1));
                let guard = tensor(&device, DType::F32, &[3], &UP);
                step(&s.p, &g, &s.moments, &guard, &hyper(3).on(&device).unwrap()).unwrap();
                s.all()
            })
        };
        assert!(bits(1) == bits(2) && bits(2) == bits(2), "other bits on {name}");
    }
}

pub fn refuses_mismatches(op: &str, step: Step) {
    for (_, device) in devices() {
        let f32s = |n: usize| tensor(&device, DType::F32, &[n], &vec![0.0; n]);
        let half = |n: usize| tensor(&device, DType::Bf16, &[n], &vec![0.0; n]);
        let run = |g: Tensor, m: Tensor, guard: Tensor| {
            step(&f32s(6), &g, &Moments { m, v: f32s(6) }, &guard, &hyper(1).on(&device)?)
        };
        refuses("g", run(f32s(5), f32s(6), f32s(3)), &[op, "g (n)", "(5)", "(6)"]);
        refuses("m", run(f32s(6), f32s(7), f32s(3)), &[op, "m (n)", "(7)", "(6)"]);
        refuses("dtype", run(half(6), f32s(6), f32s(3)), &[op, "g", "bf16", "f32"]);
        refuses("guard", run(f32s(6), f32s(6), f32s(2)), &[op, "guard (3)", "(2)"]);
    }
}

/// The tests of one rule.
macro_rules! adam_tests {
    ($op:ident) => {
        use hrm::ops::$op::{reference, step};

        #[test]
        fn four_steps_agree_with_reference() {
            $crate::adam::agrees(step, reference::step::<f64>);
        }
        #[test]
        fn step_is_refused_when_the_guard_is_down() {
            $crate::adam::does_nothing_when_the_guard_is_down(step);
        }
        #[test]
        fn bits_do_not_depend_on_threads_or_launch() {
            $crate::adam::repeats(step);
        }
        #[test]
        fn mismatches_are_refused() {
            $crate::adam::refuses_mismatches(stringify!($op), step);
        }
    };
}
pub(crate) use adam_tests;
