//! add, sub, mul, mad, div, rem, min, max, abs, neg, sad, and the carry chain.

use crate::card::{lanes32, lanes32_to64, lanes64};
use crate::{triples, wide_triples};

fn check32(body: &str, want: impl Fn(u32, u32, u32) -> u32) {
    let inputs = triples();
    for (&[a, b, c], got) in inputs.iter().zip(lanes32(body, &inputs)) {
        assert_eq!(got, want(a, b, c), "{body} of {a:#x}, {b:#x}, {c:#x}");
    }
}

fn check64(body: &str, want: impl Fn(u64, u64, u64) -> u64) {
    let inputs = wide_triples();
    for (&[a, b, c], got) in inputs.iter().zip(lanes64(body, &inputs)) {
        assert_eq!(got, want(a, b, c), "{body} of {a:#x}, {b:#x}, {c:#x}");
    }
}

#[test]
fn add_and_sub_wrap() {
    check32("add.s32 %o, %a, %b;", |a, b, _| a.wrapping_add(b));
    check32("sub.u32 %o, %a, %b;", |a, b, _| a.wrapping_sub(b));
    check64("add.s64 %do, %da, %db;", |a, b, _| a.wrapping_add(b));
    check64("sub.u64 %do, %da, %db;", |a, b, _| a.wrapping_sub(b));
}

#[test]
fn add_sat_clamps() {
    check32("add.sat.s32 %o, %a, %b;", |a, b, _| (a as i32).saturating_add(b as i32) as u32);
    check32("sub.sat.s32 %o, %a, %b;", |a, b, _| (a as i32).saturating_sub(b as i32) as u32);
}

#[test]
fn mul_parts() {
    let wide = |a: u32, b: u32| u64::from(a) * u64::from(b);
    let signed = |a: u32, b: u32| i64::from(a as i32) * i64::from(b as i32);
    check32("mul.lo.s32 %o, %a, %b;", |a, b, _| signed(a, b) as u32);
    check32("mul.hi.u32 %o, %a, %b;", |a, b, _| (wide(a, b) >> 32) as u32);
    check32("mul.hi.s32 %o, %a, %b;", |a, b, _| (signed(a, b) >> 32) as u32);
    check32("mad.lo.u32 %o, %a, %b, %c;", |a, b, c| (wide(a, b) as u32).wrapping_add(c));
    check32("mad.hi.s32 %o, %a, %b, %c;", |a, b, c| ((signed(a, b) >> 32) as u32).wrapping_add(c));
    check64("mul.hi.u64 %do, %da, %db;", |a, b, _| ((u128::from(a) * u128::from(b)) >> 64) as u64);
    check64("mul.hi.s64 %do, %da, %db;", |a, b, _| {
        ((i128::from(a as i64) * i128::from(b as i64)) >> 64) as u64
    });
    check64("mad.lo.s64 %do, %da, %db, %dc;", |a, b, c| a.wrapping_mul(b).wrapping_add(c));
}

#[test]
fn mul_wide_keeps_all_bits() {
    let inputs = triples();
    let got = lanes32_to64("mul.wide.s32 %do, %a, %b;", &inputs);
    for (&[a, b, _], got) in inputs.iter().zip(got) {
        assert_eq!(got as i64, i64::from(a as i32) * i64::from(b as i32));
    }
    let body = "cvt.u64.u32 %dc, %c; mad.wide.u32 %do, %a, %b, %dc;";
    for (&[a, b, c], got) in inputs.iter().zip(lanes32_to64(body, &inputs)) {
        assert_eq!(got, (u64::from(a) * u64::from(b)).wrapping_add(u64::from(c)));
    }
    let body = "cvt.u16.u32 %h0, %a; cvt.u16.u32 %h1, %b; mul.wide.s16 %o, %h0, %h1;";
    check32(body, |a, b, _| (i32::from(a as i16) * i32::from(b as i16)) as u32);
}

#[test]
fn sixteen_bit_arithmetic_wraps_at_sixteen_bits() {
    let with = |op: &str| {
        format!(
            "cvt.u16.u32 %h0, %a; cvt.u16.u32 %h1, %b; {op} %h2, %h0, %h1; cvt.u32.u16 %o, %h2;"
        )
    };
    check32(&with("add.s16"), |a, b, _| u32::from((a as u16).wrapping_add(b as u16)));
    check32(&with("mul.lo.u16"), |a, b, _| u32::from((a as u16).wrapping_mul(b as u16)));
    check32(&with("mul.hi.s16"), |a, b, _| {
        u32::from(((i32::from(a as i16) * i32::from(b as i16)) >> 16) as u16)
    });
    check32(&with("max.s16"), |a, b, _| u32::from((a as i16).max(b as i16) as u16));
}

#[test]
fn division_truncates() {
    let some = |inputs: Vec<[u32; 3]>| inputs.into_iter().filter(|i| i[1] != 0).collect::<Vec<_>>();
    let inputs = some(triples());
    for (body, want) in [
        ("div.u32 %o, %a, %b;", (|a, b| a / b) as fn(u32, u32) -> u32),
        ("rem.u32 %o, %a, %b;", |a, b| a % b),
        ("div.s32 %o, %a, %b;", |a, b| (a as i32).wrapping_div(b as i32) as u32),
        ("rem.s32 %o, %a, %b;", |a, b| (a as i32).wrapping_rem(b as i32) as u32),
    ] {
        for (&[a, b, _], got) in inputs.iter().zip(lanes32(body, &inputs)) {
            assert_eq!(got, want(a, b), "{body} of {a:#x}, {b:#x}");
        }
    }
}

#[test]
fn order_and_sign() {
    check32("min.s32 %o, %a, %b;", |a, b, _| (a as i32).min(b as i32) as u32);
    check32("max.u32 %o, %a, %b;", |a, b, _| a.max(b));
    check64("min.u64 %do, %da, %db;", |a, b, _| a.min(b));
    check64("max.s64 %do, %da, %db;", |a, b, _| (a as i64).max(b as i64) as u64);
    check32("abs.s32 %o, %a;", |a, _, _| (a as i32).wrapping_abs() as u32);
    check32("neg.s32 %o, %a;", |a, _, _| a.wrapping_neg());
    check32("sad.s32 %o, %a, %b, %c;", |a, b, c| {
        let distance = (i64::from(a as i32) - i64::from(b as i32)).unsigned_abs() as u32;
        distance.wrapping_add(c)
    });
    check32("cnot.b32 %o, %a;", |a, _, _| u32::from(a == 0));
    check32("mul24.lo.u32 %o, %a, %b;", |a, b, _| {
        (u64::from(a & 0xff_ffff) * u64::from(b & 0xff_ffff)) as u32
    });
}

#[test]
fn carry_chain_adds_and_subtracts_128_bits() {
    // (a, b) as one 64-bit number of two words plus (c, a).
    let add = "add.cc.u32 %r0, %a, %c; addc.u32 %r1, %b, %a; mov.b64 %do, {%r0, %r1};";
    let inputs = triples();
    for (&[a, b, c], got) in inputs.iter().zip(lanes32_to64(add, &inputs)) {
        let (x, y) = (u64::from(b) << 32 | u64::from(a), u64::from(a) << 32 | u64::from(c));
        assert_eq!(got, x.wrapping_add(y));
    }
    let sub = "sub.cc.u32 %r0, %a, %c; subc.u32 %r1, %b, %a; mov.b64 %do, {%r0, %r1};";
    for (&[a, b, c], got) in inputs.iter().zip(lanes32_to64(sub, &inputs)) {
        let (x, y) = (u64::from(b) << 32 | u64::from(a), u64::from(a) << 32 | u64::from(c));
        assert_eq!(got, x.wrapping_sub(y));
    }
    // 32 x 32 + 64 -> 64 by mad.lo.cc and madc.hi.
    let mad =
        "mad.lo.cc.u32 %r0, %a, %b, %c; madc.hi.u32 %r1, %a, %b, %a; mov.b64 %do, {%r0, %r1};";
    for (&[a, b, c], got) in inputs.iter().zip(lanes32_to64(mad, &inputs)) {
        let added = u64::from(a) << 32 | u64::from(c);
        assert_eq!(got, (u64::from(a) * u64::from(b)).wrapping_add(added));
    }
}

#[test]
fn dp4a_sums_products_of_bytes() {
    check32("dp4a.s32.u32 %o, %a, %b, %c;", |a, b, c| {
        let pairs = a.to_le_bytes().into_iter().zip(b.to_le_bytes());
        let sum: i64 = pairs.map(|(x, y)| i64::from(x as i8) * i64::from(y)).sum();
        (sum + i64::from(c as i32)) as u32
    });
}
