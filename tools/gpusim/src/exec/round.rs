//! Rounding done in integers: from an exact, or odd-rounded, f64 to a narrower format in any mode.

use crate::ptx::program::Round;

/// A binary floating-point format: bits of exponent and of fraction.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Format {
    pub exponent_bits: u32,
    pub fraction_bits: u32,
}

pub const F16: Format = Format { exponent_bits: 5, fraction_bits: 10 };
pub const BF16: Format = Format { exponent_bits: 8, fraction_bits: 7 };
pub const F32: Format = Format { exponent_bits: 8, fraction_bits: 23 };

/// The nearest value of `format` in the given direction, as bits. NaN becomes the canonical NaN.
pub fn narrow(x: f64, format: Format, round: Round) -> u32 {
    let bits = x.to_bits();
    let negative = bits >> 63 == 1;
    let sign = u32::from(negative) << (format.exponent_bits + format.fraction_bits);
    let infinity = ((1_u32 << format.exponent_bits) - 1) << format.fraction_bits;
    if x.is_nan() {
        // All exponent and fraction bits set, positive.
        return infinity | ((1 << format.fraction_bits) - 1);
    }
    if x.is_infinite() {
        return sign | infinity;
    }
    if x == 0.0 {
        return sign;
    }
    let bias = (1 << (format.exponent_bits - 1)) - 1;
    // The smallest normal f16 or f32 is a normal f64: only f64 subnormals have no leading one, and
    // they are far below half of the smallest subnormal of any format here.
    let exponent = (bits >> 52 & 0x7ff) as i32 - 1023;
    let fraction = bits & ((1 << 52) - 1);
    let mantissa = if exponent == -1023 { fraction } else { fraction | 1 << 52 };
    let least = 1 - bias;
    // Weight of the last kept bit: fixed below the smallest normal exponent.
    let drop = 52 - format.fraction_bits as i32 + (least - exponent).max(0);
    let (kept, rest, half) = if drop > 60 {
        (0, 1, 2)
    } else {
        (mantissa >> drop, mantissa & ((1 << drop) - 1), 1_u64 << (drop - 1))
    };
    let up = match round {
        Round::Nearest => rest > half || (rest == half && kept & 1 == 1),
        Round::Zero => false,
        Round::Up => rest != 0 && !negative,
        Round::Down => rest != 0 && negative,
    };
    let kept = kept + u64::from(up);
    let base = if exponent < least { 0 } else { (exponent - least) as u64 };
    // Adding the mantissa with its leading one to the exponent field carries by itself.
    let packed = (base << format.fraction_bits) + kept;
    if packed >= u64::from(infinity) {
        let to_largest = match round {
            Round::Nearest => false,
            Round::Zero => true,
            Round::Up => negative,
            Round::Down => !negative,
        };
        return sign | if to_largest { infinity - 1 } else { infinity };
    }
    sign | packed as u32
}

/// `a + b` rounded to odd, so that a second rounding to a narrower format is the only one.
#[inline(always)]
pub fn add_odd(a: f64, b: f64) -> f64 {
    let sum = a + b;
    let back = sum - a;
    let error = (a - (sum - back)) + (b - back);
    odd_f64(sum, error)
}

/// A rounded value and the sign of what rounding lost, to the neighbour with an odd last bit.
#[inline(always)]
pub fn odd_f64(value: f64, error: f64) -> f64 {
    let exact = error == 0.0 || error.is_nan() || !value.is_finite();
    if exact || value.to_bits() & 1 == 1 {
        value
    } else if error > 0.0 {
        value.next_up()
    } else {
        value.next_down()
    }
}

#[inline(always)]
pub fn odd_f32(value: f32, error: f64) -> f32 {
    let exact = error == 0.0 || error.is_nan() || !value.is_finite();
    if exact || value.to_bits() & 1 == 1 {
        value
    } else if error > 0.0 {
        value.next_up()
    } else {
        value.next_down()
    }
}

/// One step towards the direction of rounding, given an f64 result and the sign of what is missing.
pub fn direct_f64(value: f64, error: f64, round: Round) -> f64 {
    let wanted = match round {
        Round::Nearest => return value,
        Round::Up => error > 0.0,
        Round::Down => error < 0.0,
        Round::Zero => (value > 0.0 && error < 0.0) || (value < 0.0 && error > 0.0),
    };
    if !wanted || !value.is_finite() {
        return value;
    }
    let up = error > 0.0;
    if up { value.next_up() } else { value.next_down() }
}

pub fn f16_to_f64(bits: u16) -> f64 {
    let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
    let (exponent, fraction) = (i32::from(bits >> 10 & 31), f64::from(bits & 1023));
    sign * match exponent {
        0 => fraction * 2_f64.powi(-24),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (1024.0 + fraction) * 2_f64.powi(exponent - 25),
    }
}

#[inline(always)]
pub fn bf16_to_f32(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

/// f32 to bf16, nearest even; NaN becomes 0x7fff.
#[inline(always)]
pub fn f32_to_bf16(x: f32) -> u16 {
    let bits = x.to_bits();
    let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16;
    if bits & 0x7fff_ffff > 0x7f80_0000 { 0x7fff } else { rounded as u16 }
}

/// Flushes a subnormal to zero of its sign.
#[inline(always)]
pub fn flush(x: f32) -> f32 {
    if x.abs() < f32::MIN_POSITIVE { f32::from_bits(x.to_bits() & 0x8000_0000) } else { x }
}

/// The NaN that f32 arithmetic of a card produces. In integers: a compiler may drop a choice between NaNs.
#[inline(always)]
pub fn canonical(x: f32) -> f32 {
    let bits = x.to_bits();
    f32::from_bits(if bits & 0x7fff_ffff > 0x7f80_0000 { 0x7fff_ffff } else { bits })
}
