//! f16 and bf16 arithmetic, scalar and packed, against f64 rounded once.

use crate::card::lanes32;

fn bf16(bits: u32) -> f64 {
    f64::from(f32::from_bits(bits << 16))
}

fn f16(bits: u32) -> f64 {
    let (sign, exponent, fraction) =
        (bits >> 15 & 1, (bits >> 10 & 31) as i32, f64::from(bits & 1023));
    let value = match exponent {
        0 => fraction * 2_f64.powi(-24),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (1024.0 + fraction) * 2_f64.powi(exponent - 25),
    };
    if sign == 1 { -value } else { value }
}

/// The finite value of a format nearest to `x`, by search over all 65,536; ties to the even bits.
fn nearest(x: f64, decode: fn(u32) -> f64, nan: u32, infinity: u32, largest: f64, ulp: f64) -> u32 {
    if x.is_nan() {
        return nan;
    }
    let sign = if x.is_sign_negative() { 0x8000 } else { 0 };
    // From half an ulp behind the largest on, all is infinite.
    if x.abs() >= largest + ulp / 2.0 {
        return sign | infinity;
    }
    // Positive finite bits are ordered like their values: bisect.
    let (mut low, mut high) = (0, infinity - 1);
    while low < high {
        let mid = (low + high).div_ceil(2);
        if decode(mid) <= x.abs() { low = mid } else { high = mid - 1 }
    }
    let (below, above) = (
        x.abs() - decode(low),
        if low + 1 < infinity { decode(low + 1) - x.abs() } else { f64::INFINITY },
    );
    sign | if above < below || (above == below && low & 1 == 1) { low + 1 } else { low }
}

pub fn to_bf16(x: f64) -> u32 {
    nearest(x, bf16, 0x7fff, 0x7f80, f64::from(f32::from_bits(0x7f7f_0000)), 2_f64.powi(120))
}

pub fn to_f16(x: f64) -> u32 {
    nearest(x, f16, 0x7fff, 0x7c00, 65504.0, 32.0)
}

const HALVES: [u32; 14] = [
    0, 0x8000, 1, 0x03ff, 0x0400, 0x3c00, 0xbc01, 0x3f80, 0x4049, 0xc2c8, 0x7bff, 0x7c00, 0x7f80,
    0x7fff,
];

fn inputs() -> Vec<[u32; 3]> {
    let all = HALVES.iter().enumerate();
    all.flat_map(|(i, &a)| {
        HALVES.iter().enumerate().map(move |(j, &b)| {
            // Another pair in the upper half.
            let other = |k: usize| HALVES[k % HALVES.len()] << 16;
            [a | other(i + 3), b | other(j + 5), HALVES[(i + 3 * j) % HALVES.len()] | other(i * j)]
        })
    })
    .collect()
}

type Case = (&'static str, fn(f64, f64, f64) -> f64);

/// Products are exact in f64. Sums are too, where the exponents are near; elsewhere the smaller term
/// only breaks a tie, which `exact_sum` does.
fn exact_sum(a: f64, b: f64) -> f64 {
    let sum = a + b;
    let back = sum - a;
    let rest = (a - (sum - back)) + (b - back);
    if rest == 0.0 || !rest.is_finite() || sum.to_bits() & 1 == 1 {
        return sum;
    }
    if rest > 0.0 { sum.next_up() } else { sum.next_down() }
}

const CASES: [Case; 4] = [
    ("fma.rn", |a, b, c| exact_sum(a * b, c)),
    ("mul.rn", |a, b, _| a * b),
    ("add.rn", |a, b, _| exact_sum(a, b)),
    ("sub.rn", |a, b, _| exact_sum(a, -b)),
];

fn check(ty: &str, decode: fn(u32) -> f64, encode: fn(f64) -> u32) {
    let inputs = inputs();
    for (op, want) in CASES {
        let third = if op.starts_with("fma") { ", %c" } else { "" };
        let body = format!("{op}.{ty} %o, %a, %b{third};");
        for (&[a, b, c], got) in inputs.iter().zip(lanes32(&body, &inputs)) {
            for half in [0, 16] {
                let [x, y, z] = [a, b, c].map(|w| decode(w >> half & 0xffff));
                let wanted = encode(want(x, y, z));
                assert_eq!(got >> half & 0xffff, wanted, "{op}.{ty} of {x:e}, {y:e}, {z:e}");
            }
        }
    }
}

#[test]
fn packed_bf16_rounds_once() {
    check("bf16x2", bf16, to_bf16);
}

#[test]
fn packed_f16_rounds_once() {
    check("f16x2", f16, to_f16);
}

#[test]
fn packed_maximum_and_minimum() {
    // NaN loses; `.NaN` makes it win; zeros are ordered.
    let inputs = [[0x7fff_3f80, 0x4000_bf80, 0], [0x8000_0000, 0x0000_8000, 0]];
    assert_eq!(lanes32("max.bf16x2 %o, %a, %b;", &inputs), [0x4000_3f80, 0x0000_0000]);
    assert_eq!(lanes32("min.bf16x2 %o, %a, %b;", &inputs), [0x4000_bf80, 0x8000_8000]);
    assert_eq!(lanes32("max.NaN.bf16x2 %o, %a, %b;", &inputs), [0x7fff_3f80, 0x0000_0000]);
}

#[test]
fn relu_and_sign() {
    let inputs = [[0x3f80_bf80, 0x4000_4000, 0]];
    assert_eq!(lanes32("fma.rn.relu.bf16x2 %o, %a, %b, %c;", &inputs), [0x4000_0000]);
    assert_eq!(lanes32("neg.bf16x2 %o, %a;", &inputs), [0xbf80_3f80]);
    assert_eq!(lanes32("abs.f16x2 %o, %a;", &inputs), [0x3f80_3f80]);
}

#[test]
fn scalar_halves_use_sixteen_bit_registers() {
    let body = "cvt.u16.u32 %h0, %a; cvt.u16.u32 %h1, %b; fma.rn.bf16 %h2, %h0, %h1, %h1;
        cvt.u32.u16 %o, %h2;";
    assert_eq!(lanes32(body, &[[0x3f80, 0x4000, 0]]), [0x4080]);
    let body =
        "cvt.u16.u32 %h0, %a; cvt.u16.u32 %h1, %b; add.f16 %h2, %h0, %h1; cvt.u32.u16 %o, %h2;";
    assert_eq!(lanes32(body, &[[0x3c00, 0x4000, 0]]), [0x4200]);
}
