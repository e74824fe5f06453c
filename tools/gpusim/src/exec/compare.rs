//! Comparisons, selections, classification.

use super::lanes::{LANES, Lane, Registers, map3, test2};
use super::round::{bf16_to_f32, f16_to_f64, flush};
use crate::ptx::program::{Bool, Cmp, Compare, Instr, NO_SLOT, TestClass};
use crate::ptx::types::Ty;
use multiversion::multiversion;

#[inline(always)]
fn ints<T: Lane + Ord>(cmp: Cmp, regs: &Registers, i: &Instr) -> u32 {
    match cmp {
        Cmp::Eq => test2(regs, i, |a: T, b: T| a == b),
        Cmp::Ne => test2(regs, i, |a: T, b: T| a != b),
        Cmp::Lt => test2(regs, i, |a: T, b: T| a < b),
        Cmp::Le => test2(regs, i, |a: T, b: T| a <= b),
        Cmp::Gt => test2(regs, i, |a: T, b: T| a > b),
        _ => test2(regs, i, |a: T, b: T| a >= b),
    }
}

/// A comparison of floats; the `u` forms hold for NaN.
#[inline(always)]
fn holds<T: PartialOrd>(cmp: Cmp, a: T, b: T) -> bool {
    let unordered = a.partial_cmp(&b).is_none();
    match cmp {
        Cmp::Eq => a == b,
        Cmp::Ne => !unordered && a != b,
        Cmp::Lt => a < b,
        Cmp::Le => a <= b,
        Cmp::Gt => a > b,
        Cmp::Ge => a >= b,
        Cmp::Equ => unordered || a == b,
        Cmp::Neu => a != b,
        Cmp::Ltu => !(a >= b),
        Cmp::Leu => !(a > b),
        Cmp::Gtu => !(a <= b),
        Cmp::Geu => !(a < b),
        Cmp::Num => !unordered,
        Cmp::Nan => unordered,
    }
}

#[inline(always)]
fn floats<T: Lane + PartialOrd>(cmp: Cmp, regs: &Registers, i: &Instr, f: impl Fn(T) -> T) -> u32 {
    macro_rules! each {
        ($($c:ident)*) => {
            match cmp { $(Cmp::$c => test2(regs, i, |a: T, b: T| holds(Cmp::$c, f(a), f(b))),)* }
        };
    }
    each!(Eq Ne Lt Le Gt Ge Equ Neu Ltu Leu Gtu Geu Num Nan)
}

/// The lanes for which the comparison holds; for packed types, of the lower half.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl+avx2", "x86_64+avx2"))]
fn lanes_of(c: Compare, regs: &Registers, i: &Instr, shift: u32) -> u32 {
    match c.ty {
        Ty::U16 | Ty::B16 | Ty::U8 => ints::<u16>(c.cmp, regs, i),
        Ty::S16 | Ty::S8 => ints::<i16>(c.cmp, regs, i),
        Ty::U32 | Ty::B32 => ints::<u32>(c.cmp, regs, i),
        Ty::S32 => ints::<i32>(c.cmp, regs, i),
        Ty::U64 | Ty::B64 => ints::<u64>(c.cmp, regs, i),
        Ty::S64 => ints::<i64>(c.cmp, regs, i),
        Ty::F32 if c.ftz => floats::<f32>(c.cmp, regs, i, flush),
        Ty::F32 => floats::<f32>(c.cmp, regs, i, |x| x),
        Ty::F64 => floats::<f64>(c.cmp, regs, i, |x| x),
        _ => {
            let bf16 = matches!(c.ty, Ty::BF16 | Ty::BF16x2);
            let value = |bits: u32| {
                let half = (bits >> shift) as u16;
                if bf16 { f64::from(bf16_to_f32(half)) } else { f16_to_f64(half) }
            };
            test2(regs, i, |a: u32, b: u32| holds(c.cmp, value(a), value(b)))
        }
    }
}

fn combined(c: Compare, regs: &Registers, i: &Instr, value: u32) -> u32 {
    let Some((op, negated)) = c.combine else { return value };
    let other = regs.pred(i.c) ^ if negated { u32::MAX } else { 0 };
    match op {
        Bool::And => value & other,
        Bool::Or => value | other,
        Bool::Xor => value ^ other,
    }
}

pub fn setp(c: Compare, regs: &mut Registers, i: &Instr, mask: u32) {
    let value = lanes_of(c, regs, i, 0);
    let d = combined(c, regs, i, value);
    if i.q != NO_SLOT {
        // A packed comparison gives one predicate for each half, a scalar one its complement.
        let other =
            if matches!(c.ty, Ty::F16x2 | Ty::BF16x2) { lanes_of(c, regs, i, 16) } else { !value };
        let q = combined(c, regs, i, other);
        regs.set_pred(i.q, mask, q);
    }
    regs.set_pred(i.d, mask, d);
}

/// All ones, or 1.0 for float results.
pub fn set(c: Compare, to: Ty, regs: &mut Registers, i: &Instr, mask: u32) {
    let low = lanes_of(c, regs, i, 0);
    let packed = matches!(to, Ty::F16x2 | Ty::BF16x2);
    let wide = matches!(c.ty, Ty::F16x2 | Ty::BF16x2);
    let high = if wide { lanes_of(c, regs, i, 16) } else { low };
    let (one, half_one): (u32, u32) = match to {
        Ty::F32 => (1.0_f32.to_bits(), 0),
        Ty::F16 | Ty::F16x2 => (0x3c00, 0x3c00),
        Ty::BF16 | Ty::BF16x2 => (0x3f80, 0x3f80),
        _ if wide => (0xffff, 0xffff),
        _ => (u32::MAX, 0),
    };
    let both = packed || (wide && !matches!(to, Ty::F32));
    let value: [u32; LANES] = std::array::from_fn(|l| {
        let at = |lanes: u32, v: u32| if lanes >> l & 1 == 1 { v } else { 0 };
        at(low, one) | if both { at(high, half_one) << 16 } else { 0 }
    });
    u32::write(regs, i.d, mask, &value);
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl+avx2", "x86_64+avx2"))]
pub fn selp(wide: bool, regs: &mut Registers, i: &Instr, mask: u32) {
    let chosen = regs.pred(i.c) ^ if i.imm != 0 { u32::MAX } else { 0 };
    if wide {
        select::<u64>(chosen, regs, i, mask);
    } else {
        select::<u32>(chosen, regs, i, mask);
    }
}

#[inline(always)]
fn select<T: Lane>(chosen: u32, regs: &mut Registers, i: &Instr, mask: u32) {
    let (a, b) = (T::read(regs, i.a), T::read(regs, i.b));
    let value = std::array::from_fn(|l| if chosen >> l & 1 == 1 { a[l] } else { b[l] });
    T::write(regs, i.d, mask, &value);
}

pub fn slct(wide: bool, by_float: bool, regs: &mut Registers, i: &Instr, mask: u32) {
    // NaN selects the second operand, negative zero the first.
    let first = |c: u32| if by_float { f32::from_bits(c) >= 0.0 } else { c as i32 >= 0 };
    if wide {
        map3(regs, i, mask, |a: u64, b: u64, c: u32| if first(c) { a } else { b });
    } else {
        map3(regs, i, mask, |a: u32, b: u32, c: u32| if first(c) { a } else { b });
    }
}

pub fn testp(class: TestClass, ty: Ty, regs: &mut Registers, i: &Instr, mask: u32) {
    let value: [(f64, bool); LANES] = if ty == Ty::F64 {
        f64::read(regs, i.a).map(|x| (x, x.is_normal()))
    } else {
        f32::read(regs, i.a).map(|x| (f64::from(x), x.is_normal()))
    };
    let mut bits = 0;
    for (l, (x, normal)) in value.into_iter().enumerate() {
        let holds = match class {
            TestClass::Finite => x.is_finite(),
            TestClass::Infinite => x.is_infinite(),
            TestClass::Number => !x.is_nan(),
            TestClass::NotANumber => x.is_nan(),
            TestClass::Normal => normal,
            TestClass::Subnormal => x.is_finite() && x != 0.0 && !normal,
        };
        bits |= u32::from(holds) << l;
    }
    regs.set_pred(i.d, mask, bits);
}
