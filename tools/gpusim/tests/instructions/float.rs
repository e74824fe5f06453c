//! f32 and f64 arithmetic: rounding in all directions, fusing, subnormals, NaN, saturation.

use super::compare::float_pairs;
use crate::card::{lanes32, lanes64};

/// Bits equal, or both NaN and then canonical.
fn check(body: &str, want: impl Fn(f32, f32, f32) -> f32) {
    let inputs = float_pairs();
    let body =
        format!("mov.b32 %f0, %a; mov.b32 %f1, %b; mov.b32 %f2, %c; {body} mov.b32 %o, %f3;");
    for (&[a, b, c], got) in inputs.iter().zip(lanes32(&body, &inputs)) {
        let [x, y, z] = [a, b, c].map(f32::from_bits);
        // Opaque: optimised, `sqrt(x).is_nan()` was seen to be false for a negative subnormal x.
        let wanted = std::hint::black_box(want(x, y, z));
        let bits = if wanted.is_nan() { 0x7fff_ffff } else { wanted.to_bits() };
        assert_eq!(got, bits, "{body} of {x:e}, {y:e}, {z:e}: {:e}", f32::from_bits(got));
    }
}

/// Rounds an exact value, given as f64 plus the sign of a rest, in a direction.
fn directed(value: f64, rest: f64, up: bool) -> f32 {
    let near = value as f32;
    if near.is_infinite() && value.is_finite() {
        // Overflow away from the direction stops at the largest number.
        return match (near > 0.0, up) {
            (true, false) => f32::MAX,
            (false, true) => f32::MIN,
            _ => near,
        };
    }
    let exact = f64::from(near);
    let (below, above) = (
        exact < value || (exact == value && rest > 0.0),
        exact > value || (exact == value && rest < 0.0),
    );
    match up {
        true if below => near.next_up(),
        false if above => near.next_down(),
        _ => near,
    }
}

/// Sum of two f64 and the sign of what f64 rounding lost.
fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let back = sum - a;
    (sum, (a - (sum - back)) + (b - back))
}

#[test]
fn nearest_is_ieee() {
    check("add.f32 %f3, %f0, %f1;", |a, b, _| a + b);
    check("sub.rn.f32 %f3, %f0, %f1;", |a, b, _| a - b);
    check("mul.f32 %f3, %f0, %f1;", |a, b, _| a * b);
    check("div.rn.f32 %f3, %f0, %f1;", |a, b, _| a / b);
    check("rcp.rn.f32 %f3, %f0;", |a, _, _| 1.0 / a);
    check("sqrt.rn.f32 %f3, %f0;", |a, _, _| a.sqrt());
    check("fma.rn.f32 %f3, %f0, %f1, %f2;", |a, b, c| a.mul_add(b, c));
}

#[test]
fn directed_rounding_brackets_the_exact_value() {
    for (mode, up) in [("rp", true), ("rm", false)] {
        check(&format!("mul.{mode}.f32 %f3, %f0, %f1;"), |a, b, _| {
            let exact = f64::from(a) * f64::from(b);
            if exact.is_finite() { directed(exact, 0.0, up) } else { exact as f32 }
        });
        check(&format!("add.{mode}.f32 %f3, %f0, %f1;"), |a, b, _| {
            let (sum, rest) = two_sum(a.into(), b.into());
            if sum == 0.0 && (a != 0.0 || a.is_sign_negative() != b.is_sign_negative()) {
                return if up { 0.0 } else { -0.0 };
            }
            if sum.is_finite() { directed(sum, rest, up) } else { sum as f32 }
        });
        check(&format!("fma.{mode}.f32 %f3, %f0, %f1, %f2;"), |a, b, c| {
            let product = f64::from(a) * f64::from(b);
            let (sum, rest) = two_sum(product, c.into());
            let cancels = product == -f64::from(c);
            if sum == 0.0
                && cancels
                && (product != 0.0 || product.is_sign_negative() != c.is_sign_negative())
            {
                return if up { 0.0 } else { -0.0 };
            }
            if sum.is_finite() { directed(sum, rest, up) } else { sum as f32 }
        });
    }
}

#[test]
fn towards_zero_never_grows() {
    check("mul.rz.f32 %f3, %f0, %f1;", |a, b, _| {
        let exact = f64::from(a) * f64::from(b);
        if exact.is_finite() { directed(exact, 0.0, exact < 0.0) } else { exact as f32 }
    });
}

#[test]
fn ftz_flushes_operands_and_results() {
    let flush = |x: f32| if x.is_subnormal() { 0.0_f32.copysign(x) } else { x };
    check("mul.ftz.f32 %f3, %f0, %f1;", |a, b, _| flush(flush(a) * flush(b)));
    check("add.ftz.f32 %f3, %f0, %f1;", |a, b, _| flush(flush(a) + flush(b)));
    check("fma.rn.ftz.f32 %f3, %f0, %f1, %f2;", |a, b, c| {
        flush(flush(a).mul_add(flush(b), flush(c)))
    });
}

#[test]
fn sat_clamps_and_turns_nan_to_zero() {
    let sat = |x: f32| if x > 0.0 { x.min(1.0) } else { 0.0 };
    check("add.sat.f32 %f3, %f0, %f1;", |a, b, _| sat(a + b));
    check("fma.rn.sat.f32 %f3, %f0, %f1, %f2;", |a, b, c| sat(a.mul_add(b, c)));
}

/// The manual: a NaN loses against a number, and -0 is less than +0.
#[test]
fn min_max_with_nan_and_zeros() {
    let key = |x: f32| (x, !x.is_sign_negative());
    let less = |a: f32, b: f32| key(a) < key(b);
    let min = |a: f32, b: f32| {
        if b.is_nan() || (!a.is_nan() && less(a, b)) { a } else { b }
    };
    let max = |a: f32, b: f32| {
        if b.is_nan() || (!a.is_nan() && less(b, a)) { a } else { b }
    };
    check("min.f32 %f3, %f0, %f1;", |a, b, _| min(a, b));
    check("max.f32 %f3, %f0, %f1;", |a, b, _| max(a, b));
    let nan = |a: f32, b: f32| a.is_nan() || b.is_nan();
    check("max.NaN.f32 %f3, %f0, %f1;", |a, b, _| if nan(a, b) { f32::NAN } else { max(a, b) });
    check("min.NaN.f32 %f3, %f0, %f1;", |a, b, _| if nan(a, b) { f32::NAN } else { min(a, b) });
}

#[test]
fn sign_operations_keep_bits() {
    let inputs = float_pairs();
    let body = |op: &str| format!("mov.b32 %f0, %a; mov.b32 %f1, %b; {op} mov.b32 %o, %f3;");
    for (&[a, b, _], got) in
        inputs.iter().zip(lanes32(&body("copysign.f32 %f3, %f0, %f1;"), &inputs))
    {
        assert_eq!(got, a & 0x8000_0000 | b & 0x7fff_ffff);
    }
    for (&[a, ..], got) in inputs.iter().zip(lanes32(&body("abs.f32 %f3, %f0;"), &inputs)) {
        assert_eq!(got, a & 0x7fff_ffff);
    }
    for (&[a, ..], got) in inputs.iter().zip(lanes32(&body("neg.f32 %f3, %f0;"), &inputs)) {
        assert_eq!(got, a ^ 0x8000_0000);
    }
}

#[test]
fn doubles() {
    let values = [0.0, -0.0, 1.0, -2.5, 1e300, -1e-300, 3.0, f64::MIN_POSITIVE, f64::INFINITY];
    let inputs: Vec<[u64; 3]> =
        values.iter().flat_map(|&a| values.map(|b: f64| [a, b, 0.1].map(f64::to_bits))).collect();
    let table: [(&str, fn(f64, f64, f64) -> f64); 6] = [
        ("add.f64 %fd3, %fd0, %fd1;", |a, b, _| a + b),
        ("mul.f64 %fd3, %fd0, %fd1;", |a, b, _| a * b),
        ("div.rn.f64 %fd3, %fd0, %fd1;", |a, b, _| a / b),
        ("fma.rn.f64 %fd3, %fd0, %fd1, %fd2;", |a, b, c| a.mul_add(b, c)),
        ("sqrt.rn.f64 %fd3, %fd0;", |a, _, _| a.sqrt()),
        ("neg.f64 %fd3, %fd0;", |a, _, _| -a),
    ];
    for (op, want) in table {
        let body = format!(
            "mov.b64 %fd0, %da; mov.b64 %fd1, %db; mov.b64 %fd2, %dc; {op} mov.b64 %do, %fd3;"
        );
        for (row, got) in inputs.iter().zip(lanes64(&body, &inputs)) {
            let [a, b, c] = row.map(f64::from_bits);
            let (got, wanted) = (f64::from_bits(got), want(a, b, c));
            assert!(
                got.to_bits() == wanted.to_bits() || (got.is_nan() && wanted.is_nan()),
                "{op} {a} {b}"
            );
        }
    }
}

#[test]
fn doubles_round_in_the_direction() {
    let inputs =
        [[1.0, 3.0, 0.0], [-1.0, 3.0, 0.0], [1.0, 1e-30, 0.0]].map(|r| r.map(f64::to_bits));
    let run = |op: &str| -> Vec<f64> {
        let body = format!("mov.b64 %fd0, %da; mov.b64 %fd1, %db; {op} mov.b64 %do, %fd3;");
        lanes64(&body, &inputs).into_iter().map(f64::from_bits).collect()
    };
    // 1/3 in f64 is below a third.
    let third = 1.0_f64 / 3.0;
    let up = run("div.rp.f64 %fd3, %fd0, %fd1;");
    assert_eq!((up[0], up[1]), (third.next_up(), -third));
    let down = run("div.rm.f64 %fd3, %fd0, %fd1;");
    assert_eq!((down[0], down[1]), (third, (-third).next_down()));
    assert_eq!(run("add.rp.f64 %fd3, %fd0, %fd1;")[2], 1.0_f64.next_up());
    assert_eq!(run("add.rz.f64 %fd3, %fd0, %fd1;")[2], 1.0);
}

#[test]
fn a_register_that_nothing_wrote_spoils_the_result() {
    let inputs = [[0; 3]; 32];
    for got in lanes32("add.f32 %f0, %f0, 0f3f800000; mov.b32 %o, %f0;", &inputs) {
        assert!(f32::from_bits(got).is_nan());
    }
}
