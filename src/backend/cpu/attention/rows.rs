//! The parts of attention that are not matrix products, row by row, compiled for several CPUs.
//!
//! Rows of scores are padded to whole blocks of lanes. `mul_add` is exact everywhere but needs the
//! instruction to be fast, so it appears only in functions that are compiled for it.

use macro_rules_attribute::apply;

use super::Rope;
use crate::backend::Mode;
use crate::backend::cpu::prefetch::prefetch;
use crate::backend::cpu::simd;
use crate::dtype::Float;

pub(super) const LANES: usize = 16;

/// Rows of qkv between a request for memory and its use: rows of a head lie far apart.
const AHEAD: usize = 8;

/// 2^x to about one unit of the last place, at least 2^-126. For x up to 127.
#[inline(always)]
pub(super) fn exp2(x: f32) -> f32 {
    // Not `max`, which would lose a NaN.
    let x = if x < -126.0 { -126.0 } else { x };
    let shifted = x + simd::SHIFT;
    simd::exp2_fraction(x - (shifted - simd::SHIFT)) * simd::exp2_shifted(shifted)
}

/// Rounds like `E::from_f32`, but spends nothing on a NaN with all bits set.
#[inline(always)]
pub(super) fn round<E: Float>(x: f32) -> E {
    if size_of::<E>() == 2 {
        let bits = x.to_bits();
        let rounded = bits.wrapping_add(0x7FFF + ((bits >> 16) & 1)) >> 16;
        bytemuck::cast(rounded as u16)
    } else {
        E::from_f32(x)
    }
}

/// Sixteen lanes combined two by two.
#[inline(always)]
fn tree(mut lanes: [f32; LANES], combine: impl Fn(f32, f32) -> f32) -> f32 {
    for width in [8, 4, 2, 1] {
        for i in 0..width {
            lanes[i] = combine(lanes[i], lanes[i + width]);
        }
    }
    lanes[0]
}

/// One block of keys into the running softmax of some queries: `weights` = e^(score - maximum),
/// and what was summed before is scaled to the new maximum. With `Set` there was nothing before.
/// Scores are in base 2.
#[apply(simd)]
pub(super) fn softmax<E: Float>(
    s: &[f32],
    width: usize,
    mode: Mode,
    max: &mut [f32],
    total: &mut [f32],
    sums: &mut [f32],
    weights: &mut [E],
) {
    let larger = |a: f32, b: f32| if b > a { b } else { a };
    let hd = sums.len() / max.len();
    let rows = s.chunks_exact(width).zip(weights.chunks_exact_mut(width));
    let state = max.iter_mut().zip(total).zip(sums.chunks_exact_mut(hd));
    for ((s, weights), ((max, total), sums)) in rows.zip(state) {
        let before = if mode == Mode::Add { *max } else { f32::NEG_INFINITY };
        let mut lanes = [before; LANES];
        for s in s.as_chunks::<LANES>().0 {
            for (lane, &s) in lanes.iter_mut().zip(s) {
                *lane = larger(*lane, s);
            }
        }
        *max = tree(lanes, larger);
        let mut lanes = [0.0; LANES];
        let blocks = s.as_chunks::<LANES>().0.iter().zip(weights.as_chunks_mut::<LANES>().0);
        for (s, weights) in blocks {
            for ((lane, &s), weight) in lanes.iter_mut().zip(s).zip(weights) {
                let p = exp2(s - *max);
                *lane += p;
                *weight = round(p);
            }
        }
        let sum = tree(lanes, |a, b| a + b);
        if mode == Mode::Set {
            *total = sum;
        } else {
            let shrink = exp2(before - *max);
            *total = shrink.mul_add(*total, sum);
            sums.iter_mut().for_each(|x| *x *= shrink);
        }
    }
}

/// Weights and their gradient, a row per key, a column per query:
/// `p = 2^(s - lse)`, `ds = p * (dp - delta) * scale`. Scores and lse are in base 2.
#[apply(simd)]
#[allow(clippy::too_many_arguments)]
pub(super) fn softmax_backward<E: Float>(
    s: &[f32],
    dp: &[f32],
    width: usize,
    lse: &[f32],
    delta: &[f32],
    scale: f32,
    p: &mut [E],
    ds: &mut [E],
) {
    let (lse, delta) = (lse[..width].as_chunks::<LANES>().0, delta[..width].as_chunks::<LANES>().0);
    let rows = s.chunks_exact(width).zip(dp.chunks_exact(width));
    for ((s, dp), (p, ds)) in rows.zip(p.chunks_exact_mut(width).zip(ds.chunks_exact_mut(width))) {
        let scores = s.as_chunks::<LANES>().0.iter().zip(dp.as_chunks::<LANES>().0);
        let outputs = p.as_chunks_mut::<LANES>().0.iter_mut().zip(ds.as_chunks_mut::<LANES>().0);
        for (((s, dp), (p, ds)), (lse, delta)) in scores.zip(outputs).zip(lse.iter().zip(delta)) {
            for i in 0..LANES {
                let weight = exp2(s[i] - lse[i]);
                p[i] = round(weight);
                ds[i] = round(weight * (dp[i] - delta[i]) * scale);
            }
        }
    }
}

/// x times factors, element by element.
#[apply(simd)]
pub(super) fn multiply(x: &mut [f32], factors: &[f32]) {
    x.iter_mut().zip(factors).for_each(|(x, factor)| *x *= factor);
}

/// x becomes zero where its factor is zero.
#[apply(simd)]
pub(super) fn keep<E: Float>(x: &mut [E], factors: &[f32]) {
    for (x, &factor) in x.iter_mut().zip(factors) {
        *x = if factor == 0.0 { E::from_f32(0.0) } else { *x };
    }
}

/// `out` = rope(x), a row per token; rows of x are `stride` apart.
#[apply(simd)]
pub(super) fn rotate<E: Float>(x: &[E], stride: usize, hd: usize, rope: Rope, out: &mut [E]) {
    for ((row, out), (cos, sin)) in out.chunks_exact_mut(hd).enumerate().zip(rope.rows(hd)) {
        prefetch(x.get((row + AHEAD) * stride..).and_then(|x| x.get(..hd)).unwrap_or_default());
        out.copy_from_slice(&x[row * stride..][..hd]);
        pairs(out, cos, sin, |x, [c1, c2], [s1, s2]| {
            let [x1, x2] = x.map(E::to_f32);
            [round(x1 * c1 - x2 * s1), round(x2 * c2 + x1 * s2)]
        });
    }
}

/// The gradient of `rotate`, in place.
#[apply(simd)]
pub(super) fn rotate_back(hd: usize, rope: Rope, d: &mut [f32]) {
    for (d, (cos, sin)) in d.chunks_exact_mut(hd).zip(rope.rows(hd)) {
        pairs(d, cos, sin, |[a, b], [c1, c2], [s1, s2]| [a * c1 + b * s2, b * c2 - a * s1]);
    }
}

/// Each element of the first half of a row and its partner in the second become `f` of them, their
/// cosines and their sines.
#[inline(always)]
fn pairs<E: Float>(
    x: &mut [E],
    cos: &[f32],
    sin: &[f32],
    f: impl Fn([E; 2], [f32; 2], [f32; 2]) -> [E; 2],
) {
    // Vectors whose length is known, copied: no bound and no overlap is left to check.
    const N: usize = 8;
    let half = x.len() / 2;
    let (x1, x2) = x.split_at_mut(half);
    let ((x1, x1_rest), (x2, x2_rest)) = (x1.as_chunks_mut::<N>(), x2.as_chunks_mut::<N>());
    let tables = [&cos[..half], &cos[half..], &sin[..half], &sin[half..]];
    let [cos1, cos2, sin1, sin2] = tables.map(|table| table.as_chunks::<N>());
    let cos = cos1.0.iter().zip(cos2.0);
    let sin = sin1.0.iter().zip(sin2.0);
    for ((x1, x2), ((cos1, cos2), (sin1, sin2))) in x1.iter_mut().zip(x2).zip(cos.zip(sin)) {
        let (mut y1, mut y2) = (*x1, *x2);
        for i in 0..N {
            [y1[i], y2[i]] = f([y1[i], y2[i]], [cos1[i], cos2[i]], [sin1[i], sin2[i]]);
        }
        (*x1, *x2) = (y1, y2);
    }
    for (i, (x1, x2)) in x1_rest.iter_mut().zip(x2_rest).enumerate() {
        [*x1, *x2] = f([*x1, *x2], [cos1.1[i], cos2.1[i]], [sin1.1[i], sin2.1[i]]);
    }
}

/// `delta` = the product of each row of y and dy.
#[apply(simd)]
pub(super) fn dots<E: Float>(y: &[E], dy: &[E], stride: usize, hd: usize, delta: &mut [f32]) {
    for ((y, dy), delta) in y.chunks(stride).zip(dy.chunks(stride)).zip(delta) {
        *delta = simd::dot(&y[..hd], &dy[..hd]);
    }
}

/// Rows of x, each times its factor, into `out(row)`, set or added.
#[apply(simd)]
pub(super) fn store<'a, E: Float>(
    x: &[f32],
    hd: usize,
    factor: impl Fn(usize) -> f32,
    mode: Mode,
    out: impl Fn(usize) -> &'a mut [E],
) {
    for (row, x) in x.chunks_exact(hd).enumerate() {
        let (factor, out) = (factor(row), out(row).iter_mut().zip(x));
        match mode {
            Mode::Set => out.for_each(|(o, x)| *o = E::from_f32(x * factor)),
            Mode::Add => out.for_each(|(o, x)| *o = E::from_f32(o.to_f32() + x * factor)),
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn exp2_is_accurate_to_its_last_places() {
        for i in 0..40_000 {
            let x = -140.0 + i as f32 * 0.006_3;
            let (got, want) = (super::exp2(x) as f64, (x as f64).exp2());
            let close = (got / want.max(f64::exp2(-126.0)) - 1.0).abs() < 1.3e-7;
            assert!(close, "2^{x}: {got:e} {want:e}");
        }
        assert_eq!(super::exp2(0.0), 1.0);
        assert_eq!(super::exp2(f32::NEG_INFINITY), f32::MIN_POSITIVE);
        assert!(super::exp2(f32::NAN).is_nan());
    }
}
