//! Plain loops; see the contract in `mod.rs`.

use crate::ops::conv::Geometry;
use crate::ops::real::Real;

/// f(y's index, w's index, x's index) for every product of y's sums.
fn each(g: &Geometry, mut f: impl FnMut(usize, usize, usize)) {
    let [kh, kw] = g.kernel;
    for b in 0..g.batch {
        for m in 0..g.maps {
            for i in 0..g.map_height() {
                for j in 0..g.map_width() {
                    for c in 0..g.channels {
                        for u in 0..kh {
                            for v in 0..kw {
                                let (h, w) = (i * g.stride + u, j * g.stride + v);
                                let inside = |at: usize, len: usize| {
                                    at.checked_sub(g.padding).filter(|&at| at < len)
                                };
                                let (Some(h), Some(w)) = (inside(h, g.height), inside(w, g.width))
                                else {
                                    continue;
                                };
                                f(
                                    ((b * g.maps + m) * g.map_height() + i) * g.map_width() + j,
                                    ((m * g.channels + c) * kh + u) * kw + v,
                                    ((b * g.channels + c) * g.height + h) * g.width + w,
                                );
                            }
                        }
                    }
                }
            }
        }
    }
}

pub fn forward<R: Real>(g: &Geometry, x: &[R], w: &[R], bias: Option<&[R]>, y: &mut [R]) {
    for (at, y) in y.iter_mut().enumerate() {
        let m = at / (g.map_height() * g.map_width()) % g.maps;
        *y = bias.map_or(R::default(), |bias| bias[m]);
    }
    each(g, |at_y, at_w, at_x| y[at_y] += w[at_w] * x[at_x]);
}

/// dx, dw, dbias, all overwritten.
pub fn backward<R: Real>(g: &Geometry, x: &[R], w: &[R], dy: &[R], [dx, dw, dbias]: [&mut [R]; 3]) {
    dx.fill(R::default());
    dw.fill(R::default());
    dbias.fill(R::default());
    each(g, |at_y, at_w, at_x| {
        dx[at_x] += w[at_w] * dy[at_y];
        dw[at_w] += x[at_x] * dy[at_y];
    });
    for (at, dy) in dy.iter().enumerate() {
        dbias[at / (g.map_height() * g.map_width()) % g.maps] += *dy;
    }
}
