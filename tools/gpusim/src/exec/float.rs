//! f32 and f64 arithmetic in all rounding modes, and the packed 16-bit formats.

use super::lanes::{Registers, map1, map2, map3};
use super::round::{self, add_odd, canonical, f32_to_bf16, flush, narrow};
use crate::ptx::program::{FloatMode, FloatOp, Instr, Round};
use crate::ptx::types::Ty;
use multiversion::multiversion;

pub fn run(op: FloatOp, ty: Ty, mode: FloatMode, regs: &mut Registers, i: &Instr, mask: u32) {
    let plain = !mode.ftz && !mode.sat && !mode.nan && mode.round == Round::Nearest;
    match ty {
        Ty::F32 if plain => f32_plain(op, regs, i, mask),
        Ty::F32 => f32_modes(op, mode, regs, i, mask),
        Ty::F64 => f64_modes(op, mode, regs, i, mask),
        Ty::BF16 => bf16(op, mode, regs, i, mask),
        Ty::BF16x2 => bf16x2(op, mode, regs, i, mask),
        Ty::F16 => f16(op, mode, regs, i, mask, false),
        _ => f16(op, mode, regs, i, mask, true),
    }
}

#[inline(always)]
fn min32(a: f32, b: f32) -> f32 {
    // Zeros are ordered by sign.
    if a < b || b.is_nan() || (a == b && a.is_sign_negative()) { a } else { b }
}

#[inline(always)]
fn max32(a: f32, b: f32) -> f32 {
    if a > b || b.is_nan() || (a == b && a.is_sign_positive()) { a } else { b }
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl+avx2+fma", "x86_64+avx2+fma"))]
fn f32_plain(op: FloatOp, regs: &mut Registers, i: &Instr, mask: u32) {
    match op {
        FloatOp::Add => map2(regs, i, mask, |a: f32, b: f32| canonical(a + b)),
        FloatOp::Sub => map2(regs, i, mask, |a: f32, b: f32| canonical(a - b)),
        FloatOp::Mul => map2(regs, i, mask, |a: f32, b: f32| canonical(a * b)),
        FloatOp::Fma => map3(regs, i, mask, |a: f32, b: f32, c: f32| canonical(a.mul_add(b, c))),
        FloatOp::Div => map2(regs, i, mask, |a: f32, b: f32| canonical(a / b)),
        FloatOp::Rcp => map1(regs, i, mask, |a: f32| canonical(1.0 / a)),
        FloatOp::Sqrt => map1(regs, i, mask, |a: f32| canonical(a.sqrt())),
        FloatOp::Min => map2(regs, i, mask, |a: f32, b: f32| canonical(min32(a, b))),
        FloatOp::Max => map2(regs, i, mask, |a: f32, b: f32| canonical(max32(a, b))),
        FloatOp::Neg => map1(regs, i, mask, |a: u32| a ^ 0x8000_0000),
        FloatOp::Abs => map1(regs, i, mask, |a: u32| a & 0x7fff_ffff),
        // The first operand gives the sign.
        FloatOp::Copysign => {
            map2(regs, i, mask, |a: u32, b: u32| a & 0x8000_0000 | b & 0x7fff_ffff)
        }
    }
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl+avx2+fma", "x86_64+avx2+fma"))]
fn f32_modes(op: FloatOp, mode: FloatMode, regs: &mut Registers, i: &Instr, mask: u32) {
    let inp = |x: f32| if mode.ftz { flush(x) } else { x };
    let out = |x: f32| {
        let x = inp(x);
        // NaN saturates to zero.
        canonical(if mode.sat { if x > 0.0 { x.min(1.0) } else { 0.0 } } else { x })
    };
    let directed = |x: f64| f32::from_bits(narrow(x, round::F32, mode.round));
    let nearest = mode.round == Round::Nearest;
    match op {
        FloatOp::Add | FloatOp::Sub => {
            let negate = op == FloatOp::Sub;
            map2(regs, i, mask, |a: f32, b: f32| {
                let (a, b) = (inp(a), inp(if negate { -b } else { b }));
                out(if nearest { a + b } else { zero_sum(a, b, mode.round, directed) })
            });
        }
        FloatOp::Mul => map2(regs, i, mask, |a: f32, b: f32| {
            let (a, b) = (inp(a), inp(b));
            out(if nearest { a * b } else { directed(f64::from(a) * f64::from(b)) })
        }),
        FloatOp::Fma => map3(regs, i, mask, |a: f32, b: f32, c: f32| {
            let (a, b, c) = (inp(a), inp(b), inp(c));
            if nearest {
                return out(a.mul_add(b, c));
            }
            let product = f64::from(a) * f64::from(b);
            let sum = add_odd(product, f64::from(c));
            let same_zeros = product == 0.0 && product.is_sign_negative() == c.is_sign_negative();
            let exact_zero = sum == 0.0 && !same_zeros;
            out(if exact_zero { signed_zero(mode.round) } else { directed(sum) })
        }),
        FloatOp::Div | FloatOp::Rcp => map2_or_rcp(op, regs, i, mask, |a, b| {
            let (a, b) = (inp(a), inp(b));
            if nearest {
                return out(a / b);
            }
            let quotient = f64::from(a) / f64::from(b);
            let rest = (-quotient).mul_add(f64::from(b), f64::from(a));
            let error = if b.is_sign_negative() { -rest } else { rest };
            out(directed(round::odd_f64(quotient, error)))
        }),
        FloatOp::Sqrt => map1(regs, i, mask, |a: f32| {
            let a = inp(a);
            if nearest {
                return out(a.sqrt());
            }
            let root = f64::from(a).sqrt();
            out(directed(round::odd_f64(root, (-root).mul_add(root, f64::from(a)))))
        }),
        FloatOp::Min | FloatOp::Max => {
            let less = op == FloatOp::Min;
            map2(regs, i, mask, |a: f32, b: f32| {
                let (a, b) = (inp(a), inp(b));
                if mode.nan && (a.is_nan() || b.is_nan()) {
                    return out(f32::NAN);
                }
                out(if less { min32(a, b) } else { max32(a, b) })
            });
        }
        FloatOp::Neg => map1(regs, i, mask, |a: f32| inp(-a)),
        FloatOp::Abs => map1(regs, i, mask, |a: f32| inp(a.abs())),
        FloatOp::Copysign => f32_plain(op, regs, i, mask),
    }
}

#[inline(always)]
fn map2_or_rcp(
    op: FloatOp,
    regs: &mut Registers,
    i: &Instr,
    mask: u32,
    f: impl Fn(f32, f32) -> f32,
) {
    match op {
        FloatOp::Rcp => map1(regs, i, mask, |a: f32| f(1.0, a)),
        _ => map2(regs, i, mask, f),
    }
}

/// The sign of an exact zero sum of opposite terms.
fn signed_zero(round: Round) -> f32 {
    if round == Round::Down { -0.0 } else { 0.0 }
}

fn zero_sum(a: f32, b: f32, round: Round, directed: impl Fn(f64) -> f32) -> f32 {
    if (a == -b && a != 0.0 && a.is_finite())
        || (a == 0.0 && b == 0.0 && a.is_sign_negative() != b.is_sign_negative())
    {
        return signed_zero(round);
    }
    directed(add_odd(f64::from(a), f64::from(b)))
}

#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl+avx2+fma", "x86_64+avx2+fma"))]
fn f64_modes(op: FloatOp, mode: FloatMode, regs: &mut Registers, i: &Instr, mask: u32) {
    let nearest = mode.round == Round::Nearest;
    let direct = |value, error| round::direct_f64(value, error, mode.round);
    match op {
        FloatOp::Add if nearest => map2(regs, i, mask, |a: f64, b: f64| a + b),
        FloatOp::Sub if nearest => map2(regs, i, mask, |a: f64, b: f64| a - b),
        FloatOp::Mul if nearest => map2(regs, i, mask, |a: f64, b: f64| a * b),
        FloatOp::Fma if nearest => {
            map3(regs, i, mask, |a: f64, b: f64, c: f64| a.mul_add(b, c));
        }
        FloatOp::Add | FloatOp::Sub => {
            let sign = if op == FloatOp::Sub { -1.0 } else { 1.0 };
            map2(regs, i, mask, |a: f64, b: f64| {
                let b = sign * b;
                let sum = a + b;
                let back = sum - a;
                direct(sum, (a - (sum - back)) + (b - back))
            });
        }
        FloatOp::Mul => map2(regs, i, mask, |a: f64, b: f64| direct(a * b, a.mul_add(b, -(a * b)))),
        FloatOp::Fma => map3(regs, i, mask, |a: f64, b: f64, c: f64| {
            // The error of a fused product and sum, by exact products and two-sums.
            let value = a.mul_add(b, c);
            let (high, low) = (a * b, a.mul_add(b, -(a * b)));
            let sum = high + c;
            let back = sum - high;
            let tail = (high - (sum - back)) + (c - back);
            direct(value, (sum - value) + (tail + low))
        }),
        FloatOp::Div => map2(regs, i, mask, |a: f64, b: f64| {
            let q = a / b;
            direct(q, (-q).mul_add(b, a) * b.signum())
        }),
        FloatOp::Rcp => map1(regs, i, mask, |b: f64| {
            let q = 1.0 / b;
            direct(q, (-q).mul_add(b, 1.0) * b.signum())
        }),
        FloatOp::Sqrt => map1(regs, i, mask, |a: f64| {
            let r = a.sqrt();
            direct(r, (-r).mul_add(r, a))
        }),
        FloatOp::Min => map2(regs, i, mask, |a: f64, b: f64| {
            if a < b || b.is_nan() || (a == b && a.is_sign_negative()) { a } else { b }
        }),
        FloatOp::Max => map2(regs, i, mask, |a: f64, b: f64| {
            if a > b || b.is_nan() || (a == b && a.is_sign_positive()) { a } else { b }
        }),
        FloatOp::Neg => map1(regs, i, mask, |a: f64| -a),
        FloatOp::Abs => map1(regs, i, mask, f64::abs),
        FloatOp::Copysign => map2(regs, i, mask, |a: f64, b: f64| b.copysign(a)),
    }
}

/// One operation of a 16-bit float, by exact arithmetic in f64 and one rounding.
#[inline(always)]
fn small(
    op: FloatOp,
    mode: FloatMode,
    (a, b, c): (f64, f64, f64),
    narrow: impl Fn(f64) -> u16,
    one: u16,
) -> u16 {
    let nan = a.is_nan() || b.is_nan();
    let value = match op {
        FloatOp::Add => add_odd(a, b),
        FloatOp::Sub => add_odd(a, -b),
        FloatOp::Mul => a * b,
        FloatOp::Fma => add_odd(a * b, c),
        FloatOp::Min if mode.nan && nan => f64::NAN,
        FloatOp::Max if mode.nan && nan => f64::NAN,
        FloatOp::Min if a < b || b.is_nan() || (a == b && a.is_sign_negative()) => a,
        FloatOp::Max if a > b || b.is_nan() || (a == b && a.is_sign_positive()) => a,
        _ => b,
    };
    let bits = narrow(value);
    // NaN saturates to zero; relu keeps it.
    if mode.sat && !(value > 0.0) {
        return 0;
    }
    if mode.sat && value > 1.0 {
        return one;
    }
    if mode.relu && value <= 0.0 { 0 } else { bits }
}

#[inline(always)]
fn bf16_lane(op: FloatOp, mode: FloatMode, a: u16, b: u16, c: u16) -> u16 {
    match op {
        FloatOp::Neg => return a ^ 0x8000,
        FloatOp::Abs => return a & 0x7fff,
        _ => {}
    }
    let wide = |x| f64::from(round::bf16_to_f32(x));
    small(op, mode, (wide(a), wide(b), wide(c)), bf16_of, 0x3f80)
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl+avx2+fma", "x86_64+avx2+fma"))]
fn bf16(op: FloatOp, mode: FloatMode, regs: &mut Registers, i: &Instr, mask: u32) {
    let lane = |a: u16, b: u16, c: u16| bf16_lane(op, mode, a, b, c);
    match op {
        FloatOp::Fma => map3(regs, i, mask, lane),
        FloatOp::Neg | FloatOp::Abs => map1(regs, i, mask, |a| lane(a, 0, 0)),
        _ => map2(regs, i, mask, |a, b| lane(a, b, 0)),
    }
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl+avx2+fma", "x86_64+avx2+fma"))]
fn bf16x2(op: FloatOp, mode: FloatMode, regs: &mut Registers, i: &Instr, mask: u32) {
    let both = |a: u32, b: u32, c: u32| {
        let lane = |s: u32| {
            u32::from(bf16_lane(op, mode, (a >> s) as u16, (b >> s) as u16, (c >> s) as u16))
        };
        lane(0) | lane(16) << 16
    };
    match op {
        FloatOp::Fma => map3(regs, i, mask, both),
        FloatOp::Neg | FloatOp::Abs => map1(regs, i, mask, |a| both(a, 0, 0)),
        _ => map2(regs, i, mask, |a, b| both(a, b, 0)),
    }
}

fn f16_lane(op: FloatOp, mode: FloatMode, a: u16, b: u16, c: u16) -> u16 {
    match op {
        FloatOp::Neg => return a ^ 0x8000,
        FloatOp::Abs => return a & 0x7fff,
        _ => {}
    }
    let flushed = |x: u16| if mode.ftz && x & 0x7c00 == 0 { x & 0x8000 } else { x };
    let wide = |x| round::f16_to_f64(flushed(x));
    flushed(small(op, mode, (wide(a), wide(b), wide(c)), f16_of, 0x3c00))
}

fn f16(op: FloatOp, mode: FloatMode, regs: &mut Registers, i: &Instr, mask: u32, packed: bool) {
    let both = |a: u32, b: u32, c: u32| {
        let lane = |s: u32| {
            u32::from(f16_lane(op, mode, (a >> s) as u16, (b >> s) as u16, (c >> s) as u16))
        };
        if packed { lane(0) | lane(16) << 16 } else { lane(0) }
    };
    match op {
        FloatOp::Fma => map3(regs, i, mask, both),
        FloatOp::Neg | FloatOp::Abs => map1(regs, i, mask, |a| both(a, 0, 0)),
        _ => map2(regs, i, mask, |a, b| both(a, b, 0)),
    }
}

/// f64 to the bits of a bf16, nearest even: odd-rounded to f32 on the way, so that it rounds once.
#[inline(always)]
pub fn bf16_of(x: f64) -> u16 {
    let near = x as f32;
    let error = x - f64::from(near);
    let odd = round::odd_f32(near, error);
    f32_to_bf16(odd)
}

pub fn f16_of(x: f64) -> u16 {
    narrow(x, round::F16, Round::Nearest) as u16
}
