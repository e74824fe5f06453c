//! `cvt`: between integers and floats of all widths, in all rounding modes, with saturation.

use super::lanes::{LANES, Lane, Registers, lanes, map1, map2};
use super::round::{self, bf16_to_f32, f16_to_f64, f32_to_bf16, flush, narrow};
use crate::ptx::program::{Convert, Instr, Round};
use crate::ptx::types::Ty;
use multiversion::multiversion;

/// A value on its way between two types: exact in both cases.
#[derive(Clone, Copy)]
enum Value {
    Int(i128),
    Float(f64),
}

pub fn run(c: Convert, regs: &mut Registers, i: &Instr, mask: u32) {
    if !common(c, regs, i, mask) {
        general(c, regs, i, mask);
    }
}

/// The conversions that kernels are full of; false if this is none of them.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl+avx2", "x86_64+avx2"))]
fn common(c: Convert, regs: &mut Registers, i: &Instr, mask: u32) -> bool {
    use crate::ptx::program::{CLASS, D, R};
    let plain = !c.ftz && !c.sat && !c.relu;
    let nearest = c.round == Round::Nearest && !c.to_integer;
    match (c.from, c.to, i.a & CLASS, i.d & CLASS) {
        (Ty::U32, Ty::U64 | Ty::S64, R, D) if plain => map1(regs, i, mask, |a: u32| u64::from(a)),
        (Ty::S32, Ty::U64 | Ty::S64, R, D) if plain => map1(regs, i, mask, |a: i32| i64::from(a)),
        (Ty::U64 | Ty::S64, Ty::U32 | Ty::S32, D, R) if plain => {
            map1(regs, i, mask, |a: u64| a as u32);
        }
        (Ty::U16, Ty::U32 | Ty::S32, R, R) if plain => map1(regs, i, mask, |a: u16| u32::from(a)),
        (Ty::S16, Ty::U32 | Ty::S32, R, R) if plain => map1(regs, i, mask, |a: i16| i32::from(a)),
        (Ty::U32 | Ty::S32, Ty::U16 | Ty::S16, R, R) if plain => {
            map1(regs, i, mask, |a: u32| a & 0xffff);
        }
        (Ty::U32, Ty::F32, R, R) if plain && nearest => map1(regs, i, mask, |a: u32| a as f32),
        (Ty::S32, Ty::F32, R, R) if plain && nearest => map1(regs, i, mask, |a: i32| a as f32),
        (Ty::F32, Ty::BF16, R, R) if plain && nearest => map1(regs, i, mask, f32_to_bf16),
        (Ty::BF16, Ty::F32, R, R) if plain => map1(regs, i, mask, bf16_to_f32),
        (Ty::F32, Ty::F64, R, D) if plain => map1(regs, i, mask, |a: f32| f64::from(a)),
        (Ty::F64, Ty::F32, D, R) if plain && nearest => {
            map1(regs, i, mask, |a: f64| round::canonical(a as f32));
        }
        _ => return false,
    }
    true
}

fn general(c: Convert, regs: &mut Registers, i: &Instr, mask: u32) {
    let a = regs.wide(i.a);
    let mut out = [0; LANES];
    for l in lanes(mask) {
        out[l] = one(c, a[l]);
    }
    regs.set_wide(i.d, mask, &out);
}

fn one(c: Convert, bits: u64) -> u64 {
    match decode(c, bits) {
        Value::Int(x) if c.to.is_int() => to_int(c, x),
        Value::Int(x) => from_int(c, x),
        Value::Float(x) if c.to.is_int() => float_to_int(c, x),
        Value::Float(x) => to_float(c, x, bits),
    }
}

fn decode(c: Convert, bits: u64) -> Value {
    match c.from {
        Ty::U8 => Value::Int(i128::from(bits as u8)),
        Ty::U16 => Value::Int(i128::from(bits as u16)),
        Ty::U32 => Value::Int(i128::from(bits as u32)),
        Ty::U64 => Value::Int(i128::from(bits)),
        Ty::S8 => Value::Int(i128::from(bits as i8)),
        Ty::S16 => Value::Int(i128::from(bits as i16)),
        Ty::S32 => Value::Int(i128::from(bits as i32)),
        Ty::S64 => Value::Int(i128::from(bits as i64)),
        Ty::F16 => Value::Float(f16_to_f64(bits as u16)),
        Ty::BF16 => Value::Float(f64::from(bf16_to_f32(bits as u16))),
        Ty::F64 => Value::Float(f64::from_bits(bits)),
        _ => {
            let x = f32::from_bits(bits as u32);
            Value::Float(f64::from(if c.ftz { flush(x) } else { x }))
        }
    }
}

fn range(ty: Ty) -> (i128, i128) {
    let bits = 8 * ty.bytes();
    match ty.is_signed() {
        true => (-(1 << (bits - 1)), (1 << (bits - 1)) - 1),
        false => (0, (1 << bits) - 1),
    }
}

/// Integers wrap, or saturate; a register wider than the type gets the sign.
fn to_int(c: Convert, x: i128) -> u64 {
    let (low, high) = range(c.to);
    let x = if c.sat { x.clamp(low, high) } else { x };
    let bits = 8 * c.to.bytes();
    let truncated = x as u64 & (u64::MAX >> (64 - bits));
    if c.to.is_signed() && truncated >> (bits - 1) & 1 == 1 {
        truncated | u64::MAX.checked_shl(bits).unwrap_or(0)
    } else {
        truncated
    }
}

pub fn to_integral(x: f64, round: Round) -> f64 {
    match round {
        Round::Nearest => x.round_ties_even(),
        Round::Zero => x.trunc(),
        Round::Down => x.floor(),
        Round::Up => x.ceil(),
    }
}

/// Always saturates. NaN gives zero, but the top bit alone for a 64-bit result or source.
fn float_to_int(c: Convert, x: f64) -> u64 {
    if x.is_nan() {
        let wide = c.to.bytes() == 8 || c.from == Ty::F64;
        return match (wide, c.to.bytes()) {
            (true, 8) => 1 << 63,
            (true, 4) => 1 << 31,
            _ => 0,
        };
    }
    let (low, high) = range(c.to);
    to_int(c, (to_integral(x, c.round) as i128).clamp(low, high))
}

fn from_int(c: Convert, x: i128) -> u64 {
    if c.to == Ty::F64 {
        let near = x as f64;
        let error = (x - near as i128) as f64;
        return round::direct_f64(near, error, c.round).to_bits();
    }
    // A 64-bit integer does not fit an f64: round it to odd.
    let near = x as f64;
    let error = x - near as i128;
    let odd = round::odd_f64(near, error as f64);
    to_float(Convert { from: Ty::F64, ..c }, odd, 0)
}

fn to_float(c: Convert, x: f64, bits: u64) -> u64 {
    let mut x = if c.to_integer { to_integral(x, c.round) } else { x };
    if c.sat {
        x = if x > 0.0 { x.min(1.0) } else { 0.0 };
    }
    if c.relu && x < 0.0 {
        x = 0.0;
    }
    match c.to {
        Ty::F64 => x.to_bits(),
        Ty::F32 => {
            let y = f32::from_bits(narrow(x, round::F32, c.round));
            u64::from((if c.ftz { flush(y) } else { y }).to_bits())
        }
        Ty::F16 => u64::from(narrow(x, round::F16, c.round)),
        Ty::BF16 => u64::from(narrow(x, round::BF16, c.round)),
        // tf32 keeps ten bits of fraction; ties go away from zero.
        _ if x.is_nan() => 0x7fff_ffff,
        _ if c.relu && x <= 0.0 => 0,
        _ => ((bits as u32).wrapping_add(0x1000) & !0x1fff).into(),
    }
}

/// `cvt.rn.bf16x2.f32 d, a, b`: `a` becomes the upper half.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl+avx2", "x86_64+avx2"))]
pub fn pair(c: Convert, regs: &mut Registers, i: &Instr, mask: u32) {
    if c.to == Ty::BF16x2 && c.round == Round::Nearest && !c.relu {
        return map2(regs, i, mask, |a: f32, b: f32| {
            u32::from(f32_to_bf16(a)) << 16 | u32::from(f32_to_bf16(b))
        });
    }
    let half = if c.to == Ty::BF16x2 { Ty::BF16 } else { Ty::F16 };
    let single = Convert { to: half, ..c };
    map2(regs, i, mask, |a: u32, b: u32| {
        (one(single, u64::from(a)) << 16 | one(single, u64::from(b))) as u32
    });
}

/// `mov.b32 d, {low, high}` and wider.
pub fn pack(bytes: u32, parts: &[u32], regs: &mut Registers, i: &Instr, mask: u32) {
    let mut out = [0; LANES];
    for (k, &part) in parts.iter().enumerate() {
        let keep = u64::MAX >> (64 - 8 * bytes);
        let value = regs.wide(part);
        for l in 0..LANES {
            out[l] |= (value[l] & keep) << (8 * bytes * k as u32);
        }
    }
    regs.set_wide(i.d, mask, &out);
}

pub fn unpack(bytes: u32, parts: &[u32], regs: &mut Registers, i: &Instr, mask: u32) {
    let value = regs.wide(i.a);
    let keep = u64::MAX >> (64 - 8 * bytes);
    for (k, &part) in parts.iter().enumerate() {
        let shifted = value.map(|v| v >> (8 * bytes * k as u32) & keep);
        regs.set_wide(part, mask, &shifted);
    }
}

pub fn mov32(regs: &mut Registers, i: &Instr, mask: u32) {
    let a = u32::read(regs, i.a);
    u32::write(regs, i.d, mask, &a);
}

pub fn mov64(regs: &mut Registers, i: &Instr, mask: u32) {
    let a = u64::read(regs, i.a);
    u64::write(regs, i.d, mask, &a);
}
