//! Plain loops over rows of one length at places 0, 1, ...; see the contract in `mod.rs`.

use crate::ops::draw::Draw;
use crate::ops::dropout::{self, Site};
use crate::ops::real::Real;

/// Sizes of one call, and how the positions of a row see each other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dims {
    pub b: usize,
    pub t: usize,
    pub nh: usize,
    pub hd: usize,
    pub causal: bool,
    pub dropout: Option<(Site, Draw)>,
}

impl Dims {
    /// Keys that query `i` sees.
    fn seen(self, i: usize) -> usize {
        if self.causal { i + 1 } else { self.t }
    }

    /// Whether row b, head h keeps what query i makes of key j.
    fn is_kept(self, b: usize, h: usize, i: usize, j: usize) -> bool {
        let words = 4 * self.t.div_ceil(4);
        let query = (b * self.t + i) * self.nh + h;
        let kept = |(site, draw)| dropout::reference::is_kept(query * words + j, site, draw);
        self.dropout.is_none_or(kept)
    }

    /// What is kept is multiplied by this.
    fn scale<R: Real>(self) -> R {
        R::of(self.dropout.map_or(1.0, |(site, _)| 1.0 / (1.0 - site.prob as f64)))
    }
}

/// cos, sin (T, HD)
pub type Tables<'a, R> = Option<(&'a [R], &'a [R])>;

/// One head's q, k (rotated) and v, each (T, HD).
fn head<R: Real>(d: Dims, qkv: &[R], tables: Tables<R>, b: usize, h: usize) -> [Vec<R>; 3] {
    let Dims { t: len, nh, hd, .. } = d;
    let mut out = [vec![], vec![], vec![]];
    for (part, out) in out.iter_mut().enumerate() {
        for t in 0..len {
            let start = ((b * len + t) * 3 + part) * nh * hd + h * hd;
            let x = &qkv[start..start + hd];
            match tables {
                Some((cos, sin)) if part < 2 => {
                    out.extend((0..hd).map(|i| {
                        let half = hd / 2;
                        let other = if i < half { -x[i + half] } else { x[i - half] };
                        (x[i] * cos[t * hd + i] + other * sin[t * hd + i]).store()
                    }));
                }
                _ => out.extend_from_slice(x),
            }
        }
    }
    out
}

fn dot<R: Real>(a: &[R], b: &[R]) -> R {
    a.iter().zip(b).map(|(&a, &b)| a * b).sum()
}

/// Softmax row of query `i`, and its log-sum-exp.
fn probabilities<R: Real>(d: Dims, q: &[R], k: &[R], i: usize) -> (Vec<R>, R) {
    let hd = d.hd;
    let scale = R::of(1.0) / R::of(hd as f64).sqrt();
    let score = |j: usize| dot(&q[i * hd..][..hd], &k[j * hd..][..hd]) * scale;
    let s: Vec<R> = (0..d.seen(i)).map(score).collect();
    let max = s.iter().copied().fold(s[0], |m, x| if x > m { x } else { m });
    let sum: R = s.iter().map(|&x| (x - max).exp()).sum();
    (s.iter().map(|&x| (x - max).exp() / sum).collect(), max + sum.ln())
}

/// sum_j p[j] v[j] over the keys that are kept, scaled, (HD)
fn output<R: Real>(d: Dims, p: &[R], v: &[R], is_kept: impl Fn(usize) -> bool) -> Vec<R> {
    let kept: Vec<usize> = (0..p.len()).filter(|j| is_kept(*j)).collect();
    let column = |c: usize| kept.iter().map(|&j| p[j].store() * v[j * d.hd + c]).sum::<R>();
    (0..d.hd).map(|c| (column(c) * d.scale()).store()).collect()
}

pub fn forward<R: Real>(d: Dims, qkv: &[R], tables: Tables<R>, y: &mut [R], lse: &mut [R]) {
    let Dims { b: batch, t: len, nh, hd, .. } = d;
    for b in 0..batch {
        for h in 0..nh {
            let [q, k, v] = head(d, qkv, tables, b, h);
            for i in 0..len {
                let (p, l) = probabilities(d, &q, &k, i);
                lse[(b * nh + h) * len + i] = l;
                let y = &mut y[((b * len + i) * nh + h) * hd..][..hd];
                y.copy_from_slice(&output(d, &p, &v, |j| d.is_kept(b, h, i, j)));
            }
        }
    }
}

/// dqkv, overwritten.
pub fn backward<R: Real>(d: Dims, qkv: &[R], tables: Tables<R>, dy: &[R], dqkv: &mut [R]) {
    let Dims { b: batch, t: len, nh, hd, .. } = d;
    let scale = R::of(1.0) / R::of(hd as f64).sqrt();
    for b in 0..batch {
        for h in 0..nh {
            let [q, k, v] = head(d, qkv, tables, b, h);
            let mut grads = [(); 3].map(|()| vec![R::default(); len * hd]);
            let [dq, dk, dv] = &mut grads;
            for i in 0..len {
                let (p, _) = probabilities(d, &q, &k, i);
                let dy = &dy[((b * len + i) * nh + h) * hd..][..hd];
                let delta = dot(dy, &output(d, &p, &v, |j| d.is_kept(b, h, i, j)));
                for j in 0..p.len() {
                    let factor = if d.is_kept(b, h, i, j) { d.scale() } else { R::default() };
                    let dp = dot(dy, &v[j * hd..][..hd]) * factor;
                    let ds = (p[j] * (dp - delta) * scale).store();
                    let p = p[j].store() * factor;
                    for c in 0..hd {
                        dq[i * hd + c] += ds * k[j * hd + c];
                        dk[j * hd + c] += ds * q[i * hd + c];
                        dv[j * hd + c] += p * dy[c];
                    }
                }
            }
            for (part, g) in grads.iter().enumerate() {
                for t in 0..len {
                    let start = ((b * len + t) * 3 + part) * nh * hd + h * hd;
                    let g = &g[t * hd..][..hd];
                    for i in 0..hd {
                        dqkv[start + i] = match tables {
                            Some((cos, sin)) if part < 2 => unrotate(g, cos, sin, t, i),
                            _ => g[i],
                        }
                        .store();
                    }
                }
            }
        }
    }
}

/// Element i of the transpose of the rotation, applied to g.
fn unrotate<R: Real>(g: &[R], cos: &[R], sin: &[R], t: usize, i: usize) -> R {
    let (hd, half) = (g.len(), g.len() / 2);
    let turned = if i < half {
        g[i + half] * sin[t * hd + i + half]
    } else {
        -(g[i - half] * sin[t * hd + i - half])
    };
    g[i] * cos[t * hd + i] + turned
}
