//! Plain loops; see the contract in `mod.rs`.

use crate::ops::real::Real;

/// Sizes of one call.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dims {
    pub cap: usize,
    pub nh: usize,
    pub hd: usize,
}

/// cos, sin (places, HD)
pub type Tables<'a, R> = Option<(&'a [R], &'a [R])>;

/// One head's vector at a place.
fn turned<R: Real>(x: &[R], tables: Tables<R>, place: usize) -> Vec<R> {
    let (hd, half) = (x.len(), x.len() / 2);
    let Some((cos, sin)) = tables else { return x.to_vec() };
    let other = |i: usize| if i < half { -x[i + half] } else { x[i - half] };
    let at = place * hd;
    (0..hd).map(|i| (x[i] * cos[at + i] + other(i) * sin[at + i]).store()).collect()
}

/// y (R, NH*HD); k, v (R, CAP, NH*HD) get a position more where a length is not negative.
#[allow(clippy::too_many_arguments)]
pub fn forward<R: Real>(
    d: Dims,
    qkv: &[R],
    tables: Tables<R>,
    places: &[i32],
    lengths: &[i32],
    k: &mut [R],
    v: &mut [R],
    y: &mut [R],
) {
    let Dims { cap, nh, hd } = d;
    let scale = R::of(1.0) / R::of(hd as f64).sqrt();
    for (r, (&length, &place)) in lengths.iter().zip(places).enumerate() {
        for h in 0..nh {
            let y = &mut y[(r * nh + h) * hd..][..hd];
            if length < 0 {
                y.fill(R::default());
                continue;
            }
            let part = |part: usize| &qkv[((r * 3 + part) * nh + h) * hd..][..hd];
            let row = |j: usize| ((r * cap + j) * nh + h) * hd;
            let (q, n) = (turned(part(0), tables, place as usize), length as usize);
            k[row(n)..][..hd].copy_from_slice(&turned(part(1), tables, place as usize));
            v[row(n)..][..hd].copy_from_slice(part(2));
            let dot = |j: usize| (0..hd).map(|i| q[i] * k[row(j) + i]).sum::<R>() * scale;
            let s: Vec<R> = (0..=n).map(dot).collect();
            let max = s.iter().copied().fold(s[0], |m, x| if x > m { x } else { m });
            let p: Vec<R> = s.iter().map(|&x| (x - max).exp()).collect();
            let total: R = p.iter().copied().sum();
            for (i, y) in y.iter_mut().enumerate() {
                let sum: R = (0..=n).map(|j| (p[j] / total).store() * v[row(j) + i]).sum();
                *y = sum.store();
            }
        }
    }
}
