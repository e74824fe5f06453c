//! Plain loops; see the contract in `mod.rs`.

use super::Dims;
use crate::ops::real::Real;

/// f(y's index, the index of its largest x).
fn each<R: Real>(d: Dims, x: &[R], mut f: impl FnMut(usize, usize)) {
    let (rows, cols) = (d.height / 2, d.width / 2);
    for plane in 0..d.planes {
        for i in 0..rows {
            for j in 0..cols {
                let mut best = None;
                for (u, v) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
                    let at = (plane * d.height + 2 * i + u) * d.width + 2 * j + v;
                    let is_nan = x[at].partial_cmp(&x[at]).is_none();
                    if best.is_none_or(|best: usize| is_nan || x[at] > x[best]) {
                        best = Some(at);
                    }
                }
                f((plane * rows + i) * cols + j, best.expect("four looked at"));
            }
        }
    }
}

pub fn forward<R: Real>(d: Dims, x: &[R], y: &mut [R]) {
    each(d, x, |at_y, at_x| y[at_y] = x[at_x]);
}

/// dx, overwritten.
pub fn backward<R: Real>(d: Dims, x: &[R], dy: &[R], dx: &mut [R]) {
    dx.fill(R::default());
    each(d, x, |at_y, at_x| dx[at_x] += dy[at_y]);
}
