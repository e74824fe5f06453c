//! One new position for each of some sequences, whose earlier keys and values lie in a cache.

use macro_rules_attribute::apply;

use super::{Rope, Shared, rows};
use crate::backend::cpu::{par, scratch, simd};
use crate::dtype::Float;

/// Sequences and their heads.
#[derive(Clone, Copy, Debug)]
pub struct CachedDims<'a> {
    /// Positions that a sequence has in the cache, below `cap`; a negative number where it is idle.
    pub lengths: &'a [i32], // (R)
    pub cap: usize,
    pub heads: usize,
    pub head_dim: usize,
}

/// Keys, rotated, and values of every sequence, (R, CAP, C) each.
pub struct Cache<'a, E> {
    pub k: &'a mut [E],
    pub v: &'a mut [E],
}

/// y (R, C) from qkv (R, 3*C), whose keys and values go to the cache; zero where a sequence is
/// idle.
pub fn cached<E: Float>(
    dims: CachedDims,
    qkv: &[E],
    rope: Option<Rope>,
    cache: Cache<E>,
    y: &mut [E],
) {
    let CachedDims { lengths, cap, heads, head_dim: hd } = dims;
    let (r, c) = (lengths.len(), heads * hd);
    assert_eq!(qkv.len(), r * 3 * c, "attention_cached qkv (R, 3*C)");
    assert_eq!(y.len(), r * c, "attention_cached y (R, C)");
    let fits = cache.k.len() == r * cap * c && cache.v.len() == r * cap * c;
    assert!(fits, "attention_cached k, v (R, CAP, C)");
    assert!(lengths.iter().all(|&length| length < cap as i32), "attention_cached lengths (R)");
    assert!(rope.is_none_or(|rope| rope.places.len() == r), "attention_cached places (R)");
    let [k, v, y] = [cache.k, cache.v, y].map(Shared::new);
    par::tasks(r * heads, |task| {
        let (r, head) = (task / heads, task % heads);
        // SAFETY: the output of this sequence and head, which no other task touches.
        let y = unsafe { y.piece(r * c + head * hd, hd) };
        let Ok(t) = usize::try_from(lengths[r]) else {
            y.fill(E::from_f32(0.0));
            return;
        };
        let part = |part: usize| &qkv[(r * 3 + part) * c + head * hd..][..hd];
        let turned = |x: &[E], out: &mut [E]| match rope {
            Some(rope) => rows::rotate(x, hd, hd, rope.from(r), out),
            None => out.copy_from_slice(x),
        };
        let start = r * cap * c + head * hd;
        // SAFETY: rows of this sequence and head, which no other task touches; each is let go
        // before another is asked for.
        let row = |x: Shared<E>| move |at: usize| unsafe { x.piece(start + at * c, hd) };
        turned(part(1), row(k)(t));
        row(v)(t).copy_from_slice(part(2));
        scratch::with(hd, |q: &mut [E]| {
            turned(part(0), q);
            scratch::split(&[t + 1, hd], |[s, sums]| {
                let scale = std::f32::consts::LOG2_E / (hd as f32).sqrt();
                attend(q, scale, |at| &*row(k)(at), |at| &*row(v)(at), s, sums, y);
            });
        });
    });
}

/// y of a query and as many keys and values as `s` has room for scores.
#[apply(simd)]
fn attend<'a, E: Float>(
    q: &[E],
    scale: f32,
    k: impl Fn(usize) -> &'a [E],
    v: impl Fn(usize) -> &'a [E],
    s: &mut [f32],
    sums: &mut [f32],
    y: &mut [E],
) {
    for (at, s) in s.iter_mut().enumerate() {
        *s = scale * simd::dot(q, k(at));
    }
    let max = simd::max(s);
    s.iter_mut().for_each(|s| *s = rows::exp2(*s - max));
    let total = simd::sum(s);
    sums.fill(0.0);
    for (at, s) in s.iter().enumerate() {
        let weight = rows::round::<E>(*s).to_f32();
        for (sum, v) in sums.iter_mut().zip(v(at)) {
            *sum = weight.mul_add(v.to_f32(), *sum);
        }
    }
    y.iter_mut().zip(sums).for_each(|(y, sum)| *y = E::from_f32(*sum / total));
}
