use hrm::dtype::DType;
use hrm::ops::ema::{reference, step};

use crate::check::{compare, normal, numbers, refuses, tensor};
use crate::common::devices::devices;

const UP: [f64; 3] = [1.0, 1.0, 1.0];
const DOWN: [f64; 3] = [f64::NAN, 1.0, 0.0];

#[test]
fn average_agrees_with_reference() {
    for (name, device) in devices() {
        for elems in [1, 17, 40_003] {
            let (mut want, p) = (normal(elems, 1.0, 1), normal(elems, 1.0, 2));
            let ema = tensor(&device, DType::F32, &[elems], &want);
            let p_dev = tensor(&device, DType::F32, &[elems], &p);
            let guard = tensor(&device, DType::F32, &[3], &UP);
            for decay in [0.0, 0.999, 1.0] {
                step(&ema, &p_dev, &guard, decay).unwrap();
                reference::step::<f64>(&mut want, &p, UP, decay);
                let at = format!("ema of {elems}, decay {decay} on {name}");
                compare(&at, &numbers(&ema), &want, &want, DType::F32, 1e-6);
            }
        }
    }
}

#[test]
fn step_is_refused_when_the_guard_is_down() {
    for (_, device) in devices() {
        let ema = tensor(&device, DType::F32, &[2], &[1.0, 2.0]);
        let p = tensor(&device, DType::F32, &[2], &[f64::NAN, 0.0]);
        step(&ema, &p, &tensor(&device, DType::F32, &[3], &DOWN), 0.5).unwrap();
        assert_eq!(ema.download::<f32>().unwrap(), [1.0, 2.0]);
    }
}

#[test]
fn mismatches_are_refused() {
    for (_, device) in devices() {
        let of = |dtype, n: usize| tensor(&device, dtype, &[n], &vec![0.0; n]);
        let (f, h) = (DType::F32, DType::Bf16);
        refuses("p", step(&of(f, 4), &of(f, 3), &of(f, 3), 0.5), &["ema", "p", "(3)", "(4)"]);
        refuses("ema", step(&of(h, 4), &of(h, 4), &of(f, 3), 0.5), &["ema", "bf16", "f32"]);
        refuses("guard", step(&of(f, 4), &of(f, 4), &of(f, 4), 0.5), &["ema", "guard (3)", "(4)"]);
    }
}
