//! setp, set, selp, slct, testp.

use crate::card::lanes32;
use crate::triples;

/// Floats that find edges, as bits: signed zeros, subnormals, infinities, NaNs.
pub const FLOATS: [u32; 18] = [
    0,
    0x8000_0000,
    1,
    0x8000_0001,
    0x007f_ffff,
    0x0080_0000,
    0x3f80_0000,
    0xbf80_0000,
    0x3f80_0001,
    0x4049_0fdb,
    0xc2c8_0000,
    0x4b00_0001,
    0x7f7f_ffff,
    0xff7f_ffff,
    0x7f80_0000,
    0xff80_0000,
    0x7fc0_0000,
    0xffff_ffff,
];

pub fn float_pairs() -> Vec<[u32; 3]> {
    let all = FLOATS.iter().enumerate();
    all.flat_map(|(i, &a)| {
        FLOATS.iter().enumerate().map(move |(j, &b)| [a, b, FLOATS[(5 * i + 7 * j) % FLOATS.len()]])
    })
    .collect()
}

#[test]
fn setp_integers() {
    let inputs = triples();
    let table: [(&str, fn(u32, u32) -> bool); 10] = [
        ("eq.b32", |a, b| a == b),
        ("ne.s32", |a, b| a != b),
        ("lt.s32", |a, b| (a as i32) < b as i32),
        ("le.s32", |a, b| a as i32 <= b as i32),
        ("gt.s32", |a, b| a as i32 > b as i32),
        ("ge.s32", |a, b| a as i32 >= b as i32),
        ("lt.u32", |a, b| a < b),
        ("lo.u32", |a, b| a < b),
        ("hs.u32", |a, b| a >= b),
        ("gt.u32", |a, b| a > b),
    ];
    for (form, want) in table {
        let body = format!("setp.{form} %p0, %a, %b; selp.u32 %o, 1, 0, %p0;");
        for (&[a, b, _], got) in inputs.iter().zip(lanes32(&body, &inputs)) {
            assert_eq!(got == 1, want(a, b), "{form} of {a:#x}, {b:#x}");
        }
    }
}

/// The manual's rule: ordered forms are false for NaN, `u` forms true.
#[test]
fn setp_floats_and_nan() {
    let inputs = float_pairs();
    let table: [(&str, bool, fn(f32, f32) -> bool); 14] = [
        ("eq", false, |a, b| a == b),
        ("ne", false, |a, b| a != b),
        ("lt", false, |a, b| a < b),
        ("le", false, |a, b| a <= b),
        ("gt", false, |a, b| a > b),
        ("ge", false, |a, b| a >= b),
        ("equ", true, |a, b| a == b),
        ("neu", true, |a, b| a != b),
        ("ltu", true, |a, b| a < b),
        ("leu", true, |a, b| a <= b),
        ("gtu", true, |a, b| a > b),
        ("geu", true, |a, b| a >= b),
        ("num", false, |_, _| true),
        ("nan", true, |_, _| false),
    ];
    for (form, with_nan, want) in table {
        let body = format!(
            "mov.b32 %f0, %a; mov.b32 %f1, %b; setp.{form}.f32 %p0, %f0, %f1; selp.u32 %o, 1, 0, %p0;"
        );
        for (&[a, b, _], got) in inputs.iter().zip(lanes32(&body, &inputs)) {
            let (x, y) = (f32::from_bits(a), f32::from_bits(b));
            let wanted = if x.is_nan() || y.is_nan() { with_nan } else { want(x, y) };
            assert_eq!(got == 1, wanted, "{form} of {x}, {y}");
        }
    }
}

#[test]
fn setp_ftz_sees_subnormals_as_zero() {
    let body = "mov.b32 %f0, %a; mov.b32 %f1, %b; setp.eq.ftz.f32 %p0, %f0, %f1;
        selp.u32 %o, 1, 0, %p0;";
    let inputs = [[1, 0, 0], [0x8000_0001, 0x007f_ffff, 0], [0x0080_0000, 0, 0]];
    assert_eq!(lanes32(body, &inputs), [1, 1, 0]);
}

#[test]
fn setp_combines_and_gives_the_complement() {
    let inputs = triples();
    let body = "setp.lt.u32 %p2, %b, %c; setp.lt.and.u32 %p0|%p1, %a, %b, !%p2;
        selp.u32 %r0, 1, 0, %p0; selp.u32 %r1, 2, 0, %p1; or.b32 %o, %r0, %r1;";
    for (&[a, b, c], got) in inputs.iter().zip(lanes32(body, &inputs)) {
        let (first, other) = (a < b, b >= c);
        assert_eq!(got, u32::from(first && other) | (2 * u32::from(!first && other)));
    }
}

#[test]
fn set_gives_ones_or_one() {
    let inputs = [[1, 2, 0], [2, 1, 0]];
    assert_eq!(lanes32("set.lt.u32.u32 %o, %a, %b;", &inputs), [u32::MAX, 0]);
    let body = "set.lt.f32.s32 %f0, %a, %b; mov.b32 %o, %f0;";
    assert_eq!(lanes32(body, &inputs), [0x3f80_0000, 0]);
}

#[test]
fn slct_by_sign() {
    let inputs = [[1, 2, 0], [1, 2, 5], [1, 2, u32::MAX]];
    assert_eq!(lanes32("slct.b32.s32 %o, %a, %b, %c;", &inputs), [1, 1, 2]);
    let inputs = [[1, 2, 0x8000_0000], [1, 2, 0xbf80_0000], [1, 2, 0x7fc0_0000]];
    let body = "mov.b32 %f0, %c; slct.b32.f32 %o, %a, %b, %f0;";
    assert_eq!(lanes32(body, &inputs), [1, 2, 2]);
}

#[test]
fn testp_classes() {
    let table: [(&str, fn(f32) -> bool); 6] = [
        ("finite", |x| x.is_finite()),
        ("infinite", |x| x.is_infinite()),
        ("number", |x| !x.is_nan()),
        ("notanumber", |x| x.is_nan()),
        ("normal", |x| x.is_normal()),
        ("subnormal", |x| x.is_subnormal()),
    ];
    let inputs: Vec<[u32; 3]> = FLOATS.iter().map(|&x| [x, 0, 0]).collect();
    for (class, want) in table {
        let body = format!("mov.b32 %f0, %a; testp.{class}.f32 %p0, %f0; selp.u32 %o, 1, 0, %p0;");
        for (&[a, ..], got) in inputs.iter().zip(lanes32(&body, &inputs)) {
            assert_eq!(got == 1, want(f32::from_bits(a)), "{class} of {a:#x}");
        }
    }
}
