//! The approximate functions. Results are closer to the true value than a card's; code that needs the
//! last bits of one card will differ from it, as it does between cards.

use super::float::{bf16_of, f16_of};
use super::lanes::{LANES, Lane, Registers, map1, map2};
use super::round::{bf16_to_f32, canonical, f16_to_f64, flush};
use crate::ptx::program::{ApproxOp, Instr};
use crate::ptx::types::Ty;
use multiversion::multiversion;

pub fn run(op: ApproxOp, ty: Ty, ftz: bool, regs: &mut Registers, i: &Instr, mask: u32) {
    match op {
        ApproxOp::Ex2
        | ApproxOp::Lg2
        | ApproxOp::Rcp
        | ApproxOp::Rsqrt
        | ApproxOp::Sqrt
        | ApproxOp::Div => fast(op, ftz, regs, i, mask),
        ApproxOp::Sin => scalar(ftz, regs, i, mask, f64::sin),
        ApproxOp::Cos => scalar(ftz, regs, i, mask, f64::cos),
        ApproxOp::Tanh => scalar(ftz, regs, i, mask, f64::tanh),
        // Both flush subnormals and keep 20 bits on a card.
        ApproxOp::RcpF64 => map1(regs, i, mask, |a: f64| truncated(1.0 / flush64(a))),
        ApproxOp::RsqrtF64 => map1(regs, i, mask, |a: f64| truncated(1.0 / flush64(a).sqrt())),
        ApproxOp::TanhHalf => half(ty, regs, i, mask, f64::tanh),
        ApproxOp::Ex2Half => half(ty, regs, i, mask, f64::exp2),
    }
}

fn flush64(x: f64) -> f64 {
    if x.abs() < f64::MIN_POSITIVE { 0.0_f64.copysign(x) } else { x }
}

/// The upper half of the bits only.
fn truncated(x: f64) -> f64 {
    if x.is_nan() {
        f64::from_bits(0x7fff_ffff_0000_0000)
    } else {
        f64::from_bits(flush64(x).to_bits() >> 32 << 32)
    }
}

fn scalar(ftz: bool, regs: &mut Registers, i: &Instr, mask: u32, f: impl Fn(f64) -> f64) {
    let keep = |x: f32| if ftz { flush(x) } else { x };
    let a = f32::read(regs, i.a);
    let mut out = [0.0; LANES];
    for l in super::lanes::lanes(mask) {
        out[l] = canonical(keep(f(f64::from(keep(a[l]))) as f32));
    }
    f32::write(regs, i.d, mask, &out);
}

fn half(ty: Ty, regs: &mut Registers, i: &Instr, mask: u32, f: impl Fn(f64) -> f64) {
    let bf16 = matches!(ty, Ty::BF16 | Ty::BF16x2);
    let one = |bits: u32| {
        let bits = bits as u16;
        let x = if bf16 { f64::from(bf16_to_f32(bits)) } else { f16_to_f64(bits) };
        u32::from(if bf16 { bf16_of(f(x)) } else { f16_of(f(x)) })
    };
    let packed = matches!(ty, Ty::BF16x2 | Ty::F16x2);
    map1(regs, i, mask, |a: u32| if packed { one(a) | one(a >> 16) << 16 } else { one(a) });
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl+avx2+fma", "x86_64+avx2+fma"))]
fn fast(op: ApproxOp, ftz: bool, regs: &mut Registers, i: &Instr, mask: u32) {
    let keep = |x: f32| if ftz { flush(x) } else { x };
    let out = |x: f32| canonical(keep(x));
    match op {
        ApproxOp::Ex2 => map1(regs, i, mask, |a: f32| out(exp2(keep(a)))),
        ApproxOp::Lg2 => map1(regs, i, mask, |a: f32| out(log2(keep(a)))),
        ApproxOp::Rcp => map1(regs, i, mask, |a: f32| out(1.0 / keep(a))),
        ApproxOp::Rsqrt => {
            map1(regs, i, mask, |a: f32| out((1.0 / f64::from(keep(a)).sqrt()) as f32))
        }
        ApproxOp::Sqrt => map1(regs, i, mask, |a: f32| out(keep(a).sqrt())),
        _ => map2(regs, i, mask, |a: f32, b: f32| out(keep(a) / keep(b))),
    }
}

/// 2^x in f64: the integer part goes to the exponent, the rest to a polynomial.
#[inline(always)]
fn exp2(x: f32) -> f32 {
    let x = f64::from(x).clamp(-200.0, 200.0);
    // Adding 1.5 * 2^52 rounds to an integer, which is then in the low bits.
    let shifted = x + 6_755_399_441_055_744.0;
    let whole = shifted - 6_755_399_441_055_744.0;
    let t = (x - whole) * std::f64::consts::LN_2;
    // exp(t) for |t| <= 0.35: the first term left out is below 1e-12.
    let mut p = 1.0 / 3_628_800.0;
    for c in [362_880.0, 40_320.0, 5040.0, 720.0, 120.0, 24.0, 6.0, 2.0, 1.0, 1.0] {
        p = p * t + 1.0 / c;
    }
    let scale = f64::from_bits((shifted.to_bits() << 52).wrapping_add(1023 << 52));
    if x.is_nan() { f32::NAN } else { (p * scale) as f32 }
}

/// log2 in f64: exponent plus the series of atanh.
#[inline(always)]
fn log2(x: f32) -> f32 {
    let bits = f64::from(x).to_bits();
    // Mantissa in [sqrt(1/2), sqrt(2)).
    let adjusted = bits.wrapping_sub(0x3fe6_a09e_667f_3bcd);
    let exponent = (adjusted as i64 >> 52) as f64;
    let m = f64::from_bits((adjusted & 0x000f_ffff_ffff_ffff).wrapping_add(0x3fe6_a09e_667f_3bcd));
    let s = (m - 1.0) / (m + 1.0);
    let z = s * s;
    let mut p = 1.0 / 17.0;
    for c in [15.0, 13.0, 11.0, 9.0, 7.0, 5.0, 3.0, 1.0] {
        p = p * z + 1.0 / c;
    }
    let value = (exponent + 2.0 * std::f64::consts::LOG2_E * s * p) as f32;
    if x == 0.0 {
        f32::NEG_INFINITY
    } else if !(x > 0.0) {
        f32::NAN
    } else if x == f32::INFINITY {
        f32::INFINITY
    } else {
        value
    }
}
