//! Elementary functions and sums that the compiler turns into vector code.
//!
//! Everything here is `#[inline(always)]` and free of branches and calls, and a multiply-add is
//! fused only where `mul_add` says so: it vectorises inside any loop over slices and gives the same
//! bits at every vector width. (CPUs without the instruction, of before 2013, are slow at it.) The
//! loop itself belongs in a function that is compiled for several CPUs:
//!
//! ```text
//! #[apply(simd)]
//! fn silu(x: &[f32], y: &mut [f32]) {
//!     for (y, &x) in y.iter_mut().zip(x) { *y = x * simd::sigmoid(x); }
//! }
//! ```
//!
//! Sums run in 16 lanes which are then added in a fixed tree. Errors against f64, in units of the
//! last place, over all finite inputs: `exp` 1.5, `ln` 2, `sigmoid` 4.

use macro_rules_attribute::apply;

use crate::dtype::{Float, bf16};

/// `#[apply(simd)]`: the function is compiled for AVX-512, for AVX2 and without either, and the
/// best that the CPU has runs.
macro_rules! simd {
    ($($function:tt)*) => {
        #[multiversion::multiversion(
            targets("x86_64+avx512f+avx512bw+avx512vl+avx512dq", "x86_64+avx2+fma"),
            dispatcher = "direct"
        )]
        $($function)*
    };
}
pub(crate) use simd;

/// Width of the accumulators, whatever the CPU's vectors are.
const LANES: usize = 16;

/// 1.5 * 2^23: adding it rounds to an integer, which then is the low bits of the sum.
pub const SHIFT: f32 = 12_582_912.0;

/// e^x. Overflow gives infinity, underflow subnormals and then 0; NaN stays NaN.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    let x = x.clamp(-104.0, 89.0);
    let shifted = x * std::f32::consts::LOG2_E + SHIFT;
    let n = shifted - SHIFT;
    // The high part of ln 2 has few bits, so that n times it is exact.
    let r = x - n * 0.693_359_4;
    let r = r - n * -2.121_944_4e-4;
    let p = 1.987_569_1e-4;
    let p = p * r + 1.398_199_9e-3;
    let p = p * r + 8.333_452e-3;
    let p = p * r + 4.166_579_6e-2;
    let p = p * r + 0.166_666_65;
    let p = p * r + 0.5;
    let p = p * (r * r) + r + 1.0;
    // 2^n in two factors: n reaches -150 and 128.
    let n = shifted.to_bits().wrapping_sub(SHIFT.to_bits()) as i32;
    let half = n >> 1;
    p * power_of_two(half) * power_of_two(n.wrapping_sub(half))
}

#[inline(always)]
fn power_of_two(n: i32) -> f32 {
    f32::from_bits((n.wrapping_add(127) as u32) << 23)
}

/// 1 / (1 + e^-x); 0 where that is subnormal.
#[inline(always)]
pub fn sigmoid(x: f32) -> f32 {
    /// e^-LIMIT is the smallest normal number.
    const LIMIT: f32 = 87.336_54;
    // log2 e in two parts: the exponent's rest stays exact.
    const HIGH: f32 = std::f32::consts::LOG2_E;
    const LOW: f32 = 1.925_963e-8;
    let is_zero = x < -LIMIT;
    // Not `clamp`, which costs more.
    let x = if is_zero { -LIMIT } else { x };
    let x = if x > LIMIT { LIMIT } else { x };
    let shifted = x.mul_add(-HIGH, SHIFT);
    let n = shifted - SHIFT;
    let r = x.mul_add(-LOW, x.mul_add(-HIGH, -n));
    let y = 1.0 / exp2_fraction(r).mul_add(exp2_shifted(shifted), 1.0);
    if is_zero { 0.0 } else { y }
}

/// 2^n of n + [`SHIFT`], n a whole number in -126..=127.
#[inline(always)]
pub fn exp2_shifted(shifted: f32) -> f32 {
    // The low bits of `shifted` go to the exponent; those of SHIFT leave it at the top.
    f32::from_bits((shifted.to_bits() << 23).wrapping_add(127 << 23))
}

/// 2^x for x in -0.5..=0.5 to about one unit of the last place.
#[inline(always)]
pub fn exp2_fraction(x: f32) -> f32 {
    let p = 1.535_336_2e-4f32;
    let p = p.mul_add(x, 1.339_887_5e-3);
    let p = p.mul_add(x, 9.618_437e-3);
    let p = p.mul_add(x, 5.550_332_5e-2);
    let p = p.mul_add(x, 2.402_264_8e-1);
    let p = p.mul_add(x, 6.931_472e-1);
    p.mul_add(x, 1.0)
}

/// y = silu(gate) * up, element by element; the shortest slice decides the length.
#[inline(always)]
pub fn swiglu<E: Float>(gate: &[E], up: &[E], y: &mut [E]) {
    for ((y, g), u) in y.iter_mut().zip(gate).zip(up) {
        let g = g.to_f32();
        *y = E::from_f32(g * sigmoid(g) * u.to_f32());
    }
}

/// Natural logarithm. ln 0 = -infinity, below 0 and NaN: NaN.
#[inline(always)]
pub fn ln(x: f32) -> f32 {
    let subnormal = x < f32::MIN_POSITIVE;
    let bits = (if subnormal { x * 8_388_608.0 } else { x }).to_bits();
    // Mantissa in sqrt(1/2)..sqrt(2), so that the logarithm of 1 is exact.
    let bits_above = bits.wrapping_sub(0x3F35_04F3);
    let e = (bits_above as i32 >> 23) as f32 - if subnormal { 23.0 } else { 0.0 };
    let f = f32::from_bits((bits_above & 0x007F_FFFF).wrapping_add(0x3F35_04F3)) - 1.0;
    let p = 7.037_683_6e-2;
    let p = p * f - 1.151_461e-1;
    let p = p * f + 1.167_699_9e-1;
    let p = p * f - 1.242_014_1e-1;
    let p = p * f + 1.424_932_3e-1;
    let p = p * f - 1.666_805_8e-1;
    let p = p * f + 2.000_071_5e-1;
    let p = p * f - 2.499_999_4e-1;
    let p = p * f + 3.333_333e-1;
    let z = f * f;
    let y = p * f * z - 2.121_944_4e-4 * e - 0.5 * z;
    let y = f + y + 0.693_359_4 * e;
    let y = if x == f32::INFINITY { x } else { y };
    let y = if x == 0.0 { f32::NEG_INFINITY } else { y };
    if x < 0.0 || x.is_nan() { f32::NAN } else { y }
}

/// Sixteen lanes over `x`, the end of it padded with `empty`.
#[inline(always)]
fn lanes<E: Float>(x: &[E], empty: f32, mut step: impl FnMut(&mut f32, f32)) -> [f32; LANES] {
    let mut lanes = [empty; LANES];
    let blocks = x.chunks_exact(LANES);
    let rest = blocks.remainder();
    for block in blocks {
        for (lane, x) in lanes.iter_mut().zip(block) {
            step(lane, x.to_f32());
        }
    }
    for (lane, x) in lanes.iter_mut().zip(rest) {
        step(lane, x.to_f32());
    }
    lanes
}

/// The lanes combined two by two.
#[inline(always)]
fn tree(mut lanes: [f32; LANES], combine: impl Fn(f32, f32) -> f32) -> f32 {
    for width in [8, 4, 2, 1] {
        for i in 0..width {
            lanes[i] = combine(lanes[i], lanes[i + width]);
        }
    }
    lanes[0]
}

#[inline(always)]
pub fn sum<E: Float>(x: &[E]) -> f32 {
    tree(lanes(x, 0.0, |lane, x| *lane += x), |a, b| a + b)
}

#[inline(always)]
pub fn sum_sq<E: Float>(x: &[E]) -> f32 {
    tree(lanes(x, 0.0, |lane, x| *lane += x * x), |a, b| a + b)
}

/// Sum of products; the shorter slice decides the length.
#[inline(always)]
pub fn dot<E: Float, F: Float>(x: &[E], y: &[F]) -> f32 {
    let len = x.len().min(y.len());
    let mut lanes = [0.0; LANES];
    let (x, y) = (x[..len].chunks_exact(LANES), y[..len].chunks_exact(LANES));
    let (x_rest, y_rest) = (x.remainder(), y.remainder());
    for (x, y) in x.zip(y) {
        for ((lane, x), y) in lanes.iter_mut().zip(x).zip(y) {
            *lane += x.to_f32() * y.to_f32();
        }
    }
    for ((lane, x), y) in lanes.iter_mut().zip(x_rest).zip(y_rest) {
        *lane += x.to_f32() * y.to_f32();
    }
    tree(lanes, |a, b| a + b)
}

/// Sum of `f` over the elements of several slices of equal length, side by side.
#[inline(always)]
pub fn sum_over<const N: usize>(x: [&[f32]; N], f: impl Fn([f32; N]) -> f32) -> f32 {
    let len = x[0].len();
    let x = x.map(|x| &x[..len]);
    let whole = len - len % LANES;
    let mut lanes = [0.0; LANES];
    for start in (0..whole).step_by(LANES) {
        let block = x.map(|x| &x[start..start + LANES]);
        for (i, lane) in lanes.iter_mut().enumerate() {
            *lane += f(block.map(|x| x[i]));
        }
    }
    for (lane, i) in lanes.iter_mut().zip(whole..len) {
        *lane += f(x.map(|x| x[i]));
    }
    tree(lanes, |a, b| a + b)
}

/// The largest element, -infinity of none. NaN is passed over.
#[inline(always)]
pub fn max<E: Float>(x: &[E]) -> f32 {
    let larger = |a: f32, b: f32| if b > a { b } else { a };
    tree(lanes(x, f32::NEG_INFINITY, |lane, x| *lane = larger(*lane, x)), larger)
}

/// Round to bf16. Slices of equal length.
#[apply(simd)]
pub fn to_bf16(x: &[f32], y: &mut [bf16]) {
    assert_eq!(x.len(), y.len());
    for (y, &x) in y.iter_mut().zip(x) {
        *y = Float::from_f32(x);
    }
}

/// Widen to f32. Slices of equal length.
#[apply(simd)]
pub fn to_f32(x: &[bf16], y: &mut [f32]) {
    assert_eq!(x.len(), y.len());
    for (y, x) in y.iter_mut().zip(x) {
        *y = Float::to_f32(*x);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Distance in units of the last place of `want`.
    fn ulps(got: f32, want: f64) -> f64 {
        let near = want as f32;
        if near.is_infinite() || near.is_nan() {
            return if got.to_bits() == near.to_bits() || (got.is_nan() && near.is_nan()) {
                0.0
            } else {
                f64::INFINITY
            };
        }
        let above = f32::from_bits(near.abs().to_bits() + 1) as f64;
        let error = (got as f64 - want).abs() / (above - near.abs() as f64);
        if error.is_nan() { f64::INFINITY } else { error }
    }

    /// Every float with a step coprime to powers of two, both signs.
    fn floats() -> impl Iterator<Item = f32> {
        (0..u32::MAX).step_by(4099).map(f32::from_bits)
    }

    fn worst(f: impl Fn(f32) -> f32, g: impl Fn(f64) -> f64) -> (f64, f32) {
        let errors = floats().map(|x| (ulps(f(x), g(x as f64)), x));
        errors.fold((0.0, 0.0), |a, b| if b.0 > a.0 { b } else { a })
    }

    #[test]
    fn functions_are_within_their_stated_errors() {
        let (error, at) = worst(exp, f64::exp);
        assert!(error <= 1.5, "exp({at:e}): {error} ulp");
        let (error, at) = worst(ln, f64::ln);
        assert!(error <= 2.0, "ln({at:e}): {error} ulp");
        let flushed = |x: f64| if x < f32::MIN_POSITIVE as f64 { 0.0 } else { x };
        let (error, at) =
            worst(|x| flushed(sigmoid(x) as f64) as f32, |x| flushed(1.0 / (1.0 + (-x).exp())));
        assert!(error <= 4.0, "sigmoid({at:e}): {error} ulp");
    }

    #[test]
    fn special_values() {
        assert_eq!(exp(0.0), 1.0);
        assert_eq!((exp(f32::INFINITY), exp(f32::NEG_INFINITY)), (f32::INFINITY, 0.0));
        assert_eq!((ln(1.0), ln(0.0), ln(f32::INFINITY)), (0.0, f32::NEG_INFINITY, f32::INFINITY));
        assert!(exp(f32::NAN).is_nan() && sigmoid(f32::NAN).is_nan() && ln(f32::NAN).is_nan());
        assert!(ln(-1.0).is_nan() && ln(f32::NEG_INFINITY).is_nan());
        assert_eq!((sigmoid(200.0), sigmoid(-200.0), sigmoid(0.0)), (1.0, 0.0, 0.5));
    }

    #[test]
    fn sums_at_every_tail_length() {
        let x: Vec<f32> = (0..70).map(|i| ((i * 37 % 19) as f32 - 9.0) / 8.0).collect();
        let b: Vec<bf16> = x.iter().map(|&x| Float::from_f32(x)).collect();
        for n in 0..x.len() {
            // Eighths of small integers: every sum is exact in any order.
            let total = |f: &dyn Fn(f32) -> f32| x[..n].iter().map(|&x| f(x)).sum::<f32>();
            assert_eq!(sum(&x[..n]), total(&|x| x));
            assert_eq!(sum_sq(&x[..n]), total(&|x| x * x));
            assert_eq!(dot(&x[..n], &b[..n]), total(&|x| x * x));
            assert_eq!(sum_over([&x[..n], &x[..n]], |[x, y]| x * y + y), total(&|x| x * x + x));
            assert_eq!(max(&b[..n]), x[..n].iter().copied().fold(f32::NEG_INFINITY, f32::max));
        }
    }

    #[test]
    fn conversions_keep_every_bf16_and_round_to_even() {
        let all: Vec<bf16> = (0..=u16::MAX).map(bf16::from_bits).collect();
        let (mut wide, mut back) = (vec![0.0; all.len()], vec![bf16::ZERO; all.len()]);
        to_f32(&all, &mut wide);
        to_bf16(&wide, &mut back);
        assert!(all.iter().zip(&back).all(|(a, b)| a == b || (a.is_nan() && b.is_nan())));
        let mut one = [bf16::ZERO; 3];
        to_bf16(&[1.0 + 1.0 / 256.0, 1.0 + 3.0 / 256.0, 1.0 + 1.1 / 256.0], &mut one);
        assert_eq!(one.map(|x| x.to_bits()), [0x3F80, 0x3F82, 0x3F81]);
    }
}
