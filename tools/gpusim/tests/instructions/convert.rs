//! cvt in all directions; packing and unpacking.

use super::compare::FLOATS;
use super::half::{to_bf16, to_f16};
use crate::card::{lanes32, lanes32_to64, lanes64, lanes64_to32};
use crate::{WORDS, triples, wide_triples};

fn floats() -> Vec<[u32; 3]> {
    let more = [
        0.5_f32,
        1.5,
        2.5,
        -0.5,
        -1.5,
        2147483648.0,
        -2147483904.0,
        4294967296.0,
        255.5,
        -3.7,
        1e-40,
    ];
    let near_half = [
        0x3f80_8000,
        0x3f81_8000,
        0x3f80_8001,
        0x3f80_7fff,
        0x477f_e000,
        0x477f_f000,
        0x3300_0000,
        0x3300_0001,
    ];
    let all = FLOATS.into_iter().chain(more.map(f32::to_bits)).chain(near_half);
    all.map(|x| [x, 0x3f80_0000, 0]).collect()
}

fn from_float(op: &str, inputs: &[[u32; 3]]) -> Vec<u32> {
    lanes32(&format!("mov.b32 %f0, %a; {op}"), inputs)
}

/// All four roundings to integers; out of range saturates, NaN gives zero.
#[test]
fn float_to_int() {
    let inputs = floats();
    let modes: [(&str, fn(f32) -> f32); 4] = [
        ("rni", f32::round_ties_even),
        ("rzi", f32::trunc),
        ("rmi", f32::floor),
        ("rpi", f32::ceil),
    ];
    for (mode, round) in modes {
        let signed = from_float(&format!("cvt.{mode}.s32.f32 %o, %f0;"), &inputs);
        let unsigned = from_float(&format!("cvt.{mode}.u32.f32 %o, %f0;"), &inputs);
        for ((&[a, ..], s), u) in inputs.iter().zip(signed).zip(unsigned) {
            let whole = f64::from(round(f32::from_bits(a)));
            let clamp = |low: f64, high: f64| {
                if whole.is_nan() { 0 } else { whole.clamp(low, high) as i64 }
            };
            assert_eq!(i64::from(s as i32), clamp(-2147483648.0, 2147483647.0), "{mode} {a:#x}");
            assert_eq!(i64::from(u), clamp(0.0, 4294967295.0), "{mode} {a:#x}");
        }
    }
}

#[test]
fn float_to_integral_float() {
    let inputs = floats();
    for (&[a, ..], got) in
        inputs.iter().zip(from_float("cvt.rmi.f32.f32 %f1, %f0; mov.b32 %o, %f1;", &inputs))
    {
        let x = f32::from_bits(a);
        if x.is_nan() {
            assert!(f32::from_bits(got).is_nan());
        } else {
            assert_eq!(got, x.floor().to_bits(), "{x}");
        }
    }
}

#[test]
fn float_to_bf16_and_f16() {
    let inputs = floats();
    let bf16 = from_float("cvt.rn.bf16.f32 %h0, %f0; cvt.u32.u16 %o, %h0;", &inputs);
    let f16 = from_float("cvt.rn.f16.f32 %h0, %f0; cvt.u32.u16 %o, %h0;", &inputs);
    for ((&[a, ..], b), h) in inputs.iter().zip(bf16).zip(f16) {
        let x = f64::from(f32::from_bits(a));
        assert_eq!(b, to_bf16(x), "bf16 of {x:e}");
        assert_eq!(h, to_f16(x), "f16 of {x:e}");
    }
}

#[test]
fn narrowing_in_other_directions() {
    // 1 + 2^-8 lies between two bf16.
    let inputs = [[0x3f80_8000, 0, 0], [0xbf80_8000, 0, 0]];
    let rz = from_float("cvt.rz.bf16.f32 %h0, %f0; cvt.u32.u16 %o, %h0;", &inputs);
    assert_eq!(rz, [0x3f80, 0xbf80]);
    let rm = from_float(
        "cvt.rm.f16.f32 %h0, %f0; cvt.u32.u16 %o, %h0;",
        &[[0x3f80_1000, 0, 0], [0xbf80_1000, 0, 0]],
    );
    assert_eq!(rm, [0x3c00, 0xbc01]);
}

#[test]
fn pairs_put_the_first_operand_up() {
    let body = "mov.b32 %f0, %a; mov.b32 %f1, %b; ";
    let inputs = [[1.0_f32, -2.0, 0.0].map(f32::to_bits)];
    let run = |op: &str| lanes32(&format!("{body}{op} %o, %f0, %f1;"), &inputs);
    assert_eq!(run("cvt.rn.bf16x2.f32"), [0x3f80_c000]);
    assert_eq!(run("cvt.rn.relu.bf16x2.f32"), [0x3f80_0000]);
    assert_eq!(run("cvt.rn.f16x2.f32"), [0x3c00_c000]);
}

#[test]
fn tf32_keeps_ten_bits_and_rounds_ties_away() {
    let inputs = [[0x3f80_1000, 0, 0], [0x3f80_0fff, 0, 0], [0xbf80_3000, 0, 0]];
    let got = from_float("cvt.rna.tf32.f32 %o, %f0;", &inputs);
    assert_eq!(got, [0x3f80_2000, 0x3f80_0000, 0xbf80_4000]);
}

#[test]
fn widening_is_exact() {
    let inputs: Vec<[u32; 3]> =
        [0, 0x8000, 1, 0x03ff, 0x3c00, 0x7bff, 0xfc00].map(|h| [h, 0, 0]).into();
    let got = lanes32("cvt.u16.u32 %h0, %a; cvt.f32.f16 %f0, %h0; mov.b32 %o, %f0;", &inputs);
    let wanted = [0.0, -0.0, 5.960_464_5e-8, 6.097_555e-5, 1.0, 65504.0, f32::NEG_INFINITY];
    assert_eq!(got, wanted.map(f32::to_bits));
    let got =
        lanes32("cvt.u16.u32 %h0, %a; cvt.f32.bf16 %f0, %h0; mov.b32 %o, %f0;", &[[0xc2c8, 0, 0]]);
    assert_eq!(got, [0xc2c8_0000]);
    let inputs: Vec<[u32; 3]> = FLOATS.iter().map(|&x| [x, 0, 0]).collect();
    let got = lanes32_to64("mov.b32 %f0, %a; cvt.f64.f32 %fd0, %f0; mov.b64 %do, %fd0;", &inputs);
    for (&[a, ..], got) in inputs.iter().zip(got) {
        let (x, got) = (f64::from(f32::from_bits(a)), f64::from_bits(got));
        assert!(x.to_bits() == got.to_bits() || (x.is_nan() && got.is_nan()), "{x}");
    }
}

#[test]
fn int_to_float_rounds_as_told() {
    let inputs: Vec<[u32; 3]> = WORDS.iter().map(|&w| [w, 0, 0]).collect();
    let run = |op: &str| lanes32(&format!("{op} %f0, %a; mov.b32 %o, %f0;"), &inputs);
    for (k, (s, u)) in run("cvt.rn.f32.s32").into_iter().zip(run("cvt.rn.f32.u32")).enumerate() {
        assert_eq!(s, (WORDS[k] as i32 as f32).to_bits());
        assert_eq!(u, (WORDS[k] as f32).to_bits());
    }
    for (k, got) in run("cvt.rz.f32.u32").into_iter().enumerate() {
        let got = f64::from(f32::from_bits(got));
        let exact = f64::from(WORDS[k]);
        assert!(got <= exact && f64::from(f32::from_bits((got as f32).to_bits() + 1)) > exact);
    }
    let wide = wide_triples();
    let got = lanes64("cvt.rn.f64.u64 %fd0, %da; mov.b64 %do, %fd0;", &wide);
    for (&[a, ..], got) in wide.iter().zip(got) {
        assert_eq!(got, (a as f64).to_bits());
    }
    let got = lanes64_to32("cvt.rn.f32.s64 %f0, %da; mov.b32 %o, %f0;", &wide);
    for (&[a, ..], got) in wide.iter().zip(got) {
        assert_eq!(got, (a as i64 as f32).to_bits());
    }
}

#[test]
fn int_to_int_extends_truncates_saturates() {
    let inputs = triples();
    let table: [(&str, fn(u32) -> u32); 8] = [
        ("cvt.s32.s8", |a| a as i8 as u32),
        ("cvt.u32.u8", |a| a & 0xff),
        ("cvt.s32.s16", |a| a as i16 as u32),
        ("cvt.u32.u16", |a| a & 0xffff),
        ("cvt.sat.u8.s32", |a| (a as i32).clamp(0, 255) as u32),
        ("cvt.sat.s8.s32", |a| (a as i32).clamp(-128, 127) as u32),
        ("cvt.sat.s16.u32", |a| a.min(32767)),
        ("cvt.sat.u32.s32", |a| (a as i32).max(0) as u32),
    ];
    for (op, want) in table {
        for (&[a, ..], got) in inputs.iter().zip(lanes32(&format!("{op} %o, %a;"), &inputs)) {
            assert_eq!(got, want(a), "{op} of {a:#x}");
        }
    }
    for (&[a, ..], got) in inputs.iter().zip(lanes32_to64("cvt.s64.s32 %do, %a;", &inputs)) {
        assert_eq!(got as i64, i64::from(a as i32));
    }
}

#[test]
fn saturation_of_floats() {
    let inputs = [2.0_f32, 0.25, -1.0, f32::NAN].map(|x| [x.to_bits(), 0, 0]);
    let got = from_float("cvt.sat.f32.f32 %f1, %f0; mov.b32 %o, %f1;", &inputs);
    assert_eq!(got, [1.0_f32, 0.25, 0.0, 0.0].map(f32::to_bits));
}

#[test]
fn pack_and_unpack() {
    let inputs = triples();
    let body = "mov.b32 {%h0, %h1}, %a; mov.b32 %o, {%h1, %h0};";
    for (&[a, ..], got) in inputs.iter().zip(lanes32(body, &inputs)) {
        assert_eq!(got, a.rotate_left(16));
    }
    let body = "mov.b64 %do, {%a, %b};";
    for (&[a, b, _], got) in inputs.iter().zip(lanes32_to64(body, &inputs)) {
        assert_eq!(got, u64::from(b) << 32 | u64::from(a));
    }
    let wide = wide_triples();
    let body = "mov.b64 {%r0, %r1}, %da; mov.b64 {%h0, %h1, %h2, %h3}, %da; cvt.u32.u16 %r2, %h2;
        xor.b32 %r0, %r0, %r1; add.u32 %o, %r0, %r2;";
    for (&[a, ..], got) in wide.iter().zip(lanes64_to32(body, &wide)) {
        let words = a as u32 ^ (a >> 32) as u32;
        assert_eq!(got, words.wrapping_add((a >> 32) as u32 & 0xffff));
    }
}
