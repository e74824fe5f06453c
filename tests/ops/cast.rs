use hrm::dtype::DType;
use hrm::ops::cast::{from_f32, reference};
use hrm::ops::real::{AsBf16, Real};

use crate::check::{normal, numbers, refuses, tensor};
use crate::common::devices::devices;

/// A cast is bit-equal to its reference; more than two tasks, ties, subnormals and infinities.
#[test]
fn every_value_agrees_with_reference() {
    for (_, device) in devices() {
        let mut x = normal(40_003, 1.0, 1);
        x[..6].copy_from_slice(&[1.00390625, 1.01171875, 1e-40, -0.0, f64::INFINITY, 3.4e38]);
        let f32s: Vec<f32> = x.iter().map(|&x| x as f32).collect();
        let x = tensor(&device, DType::F32, &[x.len()], &x);
        let (mut want_f32, mut want_bf16) =
            (vec![0.0_f32; f32s.len()], vec![AsBf16::default(); f32s.len()]);
        reference::from_f32(&f32s, &mut want_f32);
        reference::from_f32(&f32s, &mut want_bf16);
        for dtype in [DType::F32, DType::Bf16] {
            let y = tensor(&device, dtype, &[f32s.len()], &vec![0.0; f32s.len()]);
            from_f32(&x, &y).unwrap();
            let want: Vec<f64> = match dtype {
                DType::F32 => want_f32.iter().map(|x| x.to_f64()).collect(),
                _ => want_bf16.iter().map(|x| x.to_f64()).collect(),
            };
            assert!(numbers(&y) == want, "{dtype}");
        }
    }
}

#[test]
fn nan_stays_nan() {
    for (_, device) in devices() {
        let x = tensor(&device, DType::F32, &[1], &[f64::NAN]);
        let y = tensor(&device, DType::Bf16, &[1], &[0.0]);
        from_f32(&x, &y).unwrap();
        assert!(numbers(&y)[0].is_nan());
    }
}

#[test]
fn mismatches_are_refused() {
    for (_, device) in devices() {
        let of = |dtype, n: usize| tensor(&device, dtype, &[n], &vec![0.0; n]);
        let short = from_f32(&of(DType::F32, 4), &of(DType::Bf16, 3));
        refuses("shape", short, &["cast", "y", "(3)", "(4)"]);
        let half = from_f32(&of(DType::Bf16, 4), &of(DType::F32, 4));
        refuses("x", half, &["cast", "x", "bf16", "f32"]);
        let integers = from_f32(&of(DType::F32, 4), &of(DType::I32, 4));
        refuses("y", integers, &["cast", "i32", "f32 or bf16"]);
    }
}
