//! The approximate functions against f64, within the errors that the manual allows.

use super::compare::FLOATS;
use crate::card::lanes32;

/// Spread over the exponents, with both signs.
fn spread() -> Vec<f32> {
    let mut out: Vec<f32> = (0..2000_u32)
        .map(|k| f32::from_bits(k.wrapping_mul(0x9e37_79b9)))
        .filter(|x| x.is_normal())
        .collect();
    out.extend((-200..200).map(|k| k as f32 * 0.37));
    out
}

fn run(op: &str, inputs: &[f32]) -> Vec<f32> {
    let body = format!("mov.b32 %f0, %a; {op} %f1, %f0; mov.b32 %o, %f1;");
    let rows: Vec<[u32; 3]> = inputs.iter().map(|x| [x.to_bits(), 0, 0]).collect();
    lanes32(&body, &rows).into_iter().map(f32::from_bits).collect()
}

fn relative(op: &str, inputs: &[f32], bound: f64, want: impl Fn(f64) -> f64) {
    let mut compared = 0;
    for (&x, got) in inputs.iter().zip(run(op, inputs)) {
        let wanted = want(f64::from(x));
        let representable = f64::from(f32::MIN_POSITIVE)..f64::from(f32::MAX);
        if representable.contains(&wanted.abs()) {
            let error = (f64::from(got) - wanted).abs() / wanted.abs();
            assert!(error <= bound, "{op} of {x:e}: {got:e}, not {wanted:e}");
            compared += 1;
        }
    }
    assert!(compared > 100, "{op}: only {compared} values compared");
}

#[test]
fn within_the_manuals_bounds() {
    let all = spread();
    let positive: Vec<f32> = all.iter().map(|x| x.abs()).collect();
    relative("ex2.approx.ftz.f32", &all, 2_f64.powi(-22), f64::exp2);
    relative("rcp.approx.ftz.f32", &all, 2_f64.powi(-23), f64::recip);
    relative("sqrt.approx.f32", &positive, 2_f64.powi(-23), f64::sqrt);
    relative("rsqrt.approx.f32", &positive, 2_f64.powf(-22.9), |x| 1.0 / x.sqrt());
    relative("tanh.approx.f32", &all, 2_f64.powi(-11), f64::tanh);
}

#[test]
fn logarithm_is_bounded_absolutely_near_one_and_relatively_elsewhere() {
    let inputs: Vec<f32> = spread().iter().map(|x| x.abs()).filter(|&x| x > 0.0).collect();
    for (&x, got) in inputs.iter().zip(run("lg2.approx.f32", &inputs)) {
        let wanted = f64::from(x).log2();
        let error = (f64::from(got) - wanted).abs();
        let bound =
            if (0.5..=2.0).contains(&x) { 2_f64.powi(-22) } else { 2_f64.powi(-22) * wanted.abs() };
        assert!(error <= bound, "lg2 of {x:e}: {got:e}, not {wanted:e}");
    }
}

#[test]
fn sine_and_cosine_near_zero() {
    let inputs: Vec<f32> = (-314..=314).map(|k| k as f32 / 100.0).collect();
    for (op, want) in [("sin", f64::sin as fn(f64) -> f64), ("cos", f64::cos)] {
        for (&x, got) in inputs.iter().zip(run(&format!("{op}.approx.f32"), &inputs)) {
            let error = (f64::from(got) - want(f64::from(x))).abs();
            assert!(error <= 2_f64.powf(-20.9), "{op} of {x}: {got}");
        }
    }
}

/// The tables of special values in the manual.
#[test]
fn special_values() {
    let (inf, nan) = (f32::INFINITY, f32::NAN);
    let inputs = [-inf, -0.0, 0.0, inf, nan, -1.0];
    let same =
        |got: f32, want: f32| got.to_bits() == want.to_bits() || (got.is_nan() && want.is_nan());
    for (op, want) in [
        ("ex2.approx.ftz.f32", [0.0, 1.0, 1.0, inf, nan, 0.5]),
        ("lg2.approx.f32", [nan, -inf, -inf, inf, nan, nan]),
        ("rcp.approx.ftz.f32", [-0.0, -inf, inf, 0.0, nan, -1.0]),
        ("sqrt.approx.f32", [nan, -0.0, 0.0, inf, nan, nan]),
        ("rsqrt.approx.f32", [nan, -inf, inf, 0.0, nan, nan]),
        ("tanh.approx.f32", [-1.0, -0.0, 0.0, 1.0, nan, -0.761_594_2]),
    ] {
        for ((got, want), x) in run(op, &inputs).into_iter().zip(want).zip(inputs) {
            assert!(same(got, want), "{op} of {x}: {got}, not {want}");
        }
    }
}

#[test]
fn ftz_takes_subnormals_for_zero() {
    let tiny = f32::from_bits(1);
    assert_eq!(run("rcp.approx.ftz.f32", &[tiny, -tiny]), [f32::INFINITY, f32::NEG_INFINITY]);
    assert_eq!(run("ex2.approx.ftz.f32", &[-140.0]), [0.0]);
    assert_eq!(run("ex2.approx.f32", &[-140.0]), [2_f32.powi(-140)]);
}

#[test]
fn division() {
    let rows: Vec<[u32; 3]> =
        FLOATS.iter().flat_map(|&a| [3.0_f32, -0.1, 1e10].map(|b| [a, b.to_bits(), 0])).collect();
    for op in ["div.full.f32", "div.approx.f32", "div.full.ftz.f32"] {
        let body =
            format!("mov.b32 %f0, %a; mov.b32 %f1, %b; {op} %f2, %f0, %f1; mov.b32 %o, %f2;");
        for (&[a, b, _], got) in rows.iter().zip(lanes32(&body, &rows)) {
            let wanted = f64::from(f32::from_bits(a)) / f64::from(f32::from_bits(b));
            let normal = f32::from_bits(a).is_normal();
            if normal && wanted.abs() > 1e-37 && wanted.abs() < 3e38 {
                let error = (f64::from(f32::from_bits(got)) / wanted - 1.0).abs();
                assert!(error <= 2.0 * 2_f64.powi(-23), "{op} of {a:#x}, {b:#x}");
            }
        }
    }
}

#[test]
fn halves() {
    // 2^1.5 and tanh(1) as bf16.
    let body = |op: &str| format!("{op} %o, %a;");
    assert_eq!(lanes32(&body("ex2.approx.ftz.bf16x2"), &[[0x3fc0_3f80, 0, 0]]), [0x4035_4000]);
    assert_eq!(lanes32(&body("tanh.approx.bf16x2"), &[[0x3f80_0000, 0, 0]]), [0x3f43_0000]);
    assert_eq!(lanes32(&body("ex2.approx.f16x2"), &[[0x3c00_0000, 0, 0]]), [0x4000_3c00]);
}
