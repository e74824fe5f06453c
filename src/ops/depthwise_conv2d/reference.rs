//! Plain loops; see the contract in `mod.rs`.

use super::Dims;
use crate::ops::real::Real;

/// f(y, w, x) with the positions of every product, channel and tap.
fn products(d: Dims, mut f: impl FnMut(usize, usize, usize)) {
    let (oh, ow) = (d.oh(), d.ow());
    for y in 0..d.b * d.c * oh * ow {
        let (plane, i, j) = (y / (oh * ow), y / ow % oh, y % ow);
        for (u, v) in (0..d.k * d.k).map(|tap| (tap / d.k, tap % d.k)) {
            let (row, column) = (i * d.stride + u, j * d.stride + v);
            let inside = |at: usize, size: usize| at >= d.padding && at < size + d.padding;
            if inside(row, d.h) && inside(column, d.w) {
                let x = (plane * d.h + row - d.padding) * d.w + column - d.padding;
                f(y, (plane % d.c * d.k + u) * d.k + v, x);
            }
        }
    }
}

pub fn forward<R: Real>(d: Dims, x: &[R], w: &[R], bias: &[R], y: &mut [R]) {
    let places = d.oh() * d.ow();
    y.iter_mut().enumerate().for_each(|(at, y)| *y = bias[at / places % d.c]);
    products(d, |at, tap, from| y[at] += w[tap] * x[from]);
}

/// dx, dw, dbias, overwritten.
pub fn backward<R: Real>(d: Dims, x: &[R], w: &[R], dy: &[R], [dx, dw, dbias]: [&mut [R]; 3]) {
    let places = d.oh() * d.ow();
    dbias.fill(R::default());
    dy.iter().enumerate().for_each(|(at, &dy)| dbias[at / places % d.c] += dy);
    dx.fill(R::default());
    dw.fill(R::default());
    products(d, |at, tap, from| {
        dx[from] += w[tap] * dy[at];
        dw[tap] += x[from] * dy[at];
    });
}
