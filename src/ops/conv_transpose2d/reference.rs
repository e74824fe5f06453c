//! Plain loops; see the contract in `mod.rs`.

use super::ConvTranspose2d;
use crate::ops::real::Real;

/// x (B, C, H, W), w (C, O, KH, KW).
#[derive(Clone, Copy, Debug)]
pub struct Dims {
    pub x: [usize; 4],
    pub w: [usize; 4],
    pub how: ConvTranspose2d,
}

impl Dims {
    /// y (B, O, OH, OW).
    pub fn y(&self) -> [usize; 4] {
        let Self { x: [b, _, h, w], w: [_, o, kh, kw], how } = *self;
        let size = |len: usize, kernel: usize| {
            (len - 1) * how.stride + kernel + how.output_padding - 2 * how.padding
        };
        [b, o, size(h, kh), size(w, kw)]
    }

    /// f(y's index, w's index, x's index) for every product.
    fn each(&self, mut f: impl FnMut(usize, usize, usize)) {
        let Self { x: [batch, c_all, h, w], w: [_, o_all, kh, kw], how } = *self;
        let [_, _, oh, ow] = self.y();
        for b in 0..batch {
            for c in 0..c_all {
                for i in 0..h {
                    for j in 0..w {
                        for o in 0..o_all {
                            for u in 0..kh {
                                for v in 0..kw {
                                    let (y, x) = (i * how.stride + u, j * how.stride + v);
                                    if y < how.padding || x < how.padding {
                                        continue;
                                    }
                                    let (y, x) = (y - how.padding, x - how.padding);
                                    if y >= oh || x >= ow {
                                        continue;
                                    }
                                    f(
                                        ((b * o_all + o) * oh + y) * ow + x,
                                        ((c * o_all + o) * kh + u) * kw + v,
                                        ((b * c_all + c) * h + i) * w + j,
                                    );
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    /// The output channel of an element of y.
    fn channel(&self, at: usize) -> usize {
        let [_, o, oh, ow] = self.y();
        at / (oh * ow) % o
    }
}

pub fn forward<R: Real>(d: &Dims, x: &[R], w: &[R], bias: Option<&[R]>, y: &mut [R]) {
    for (at, y) in y.iter_mut().enumerate() {
        *y = bias.map_or(R::default(), |bias| bias[d.channel(at)]);
    }
    d.each(|at_y, at_w, at_x| y[at_y] += w[at_w] * x[at_x]);
}

/// dx, dw, dbias, all overwritten.
pub fn backward<R: Real>(d: &Dims, x: &[R], w: &[R], dy: &[R], [dx, dw, dbias]: [&mut [R]; 3]) {
    dx.fill(R::default());
    dw.fill(R::default());
    dbias.fill(R::default());
    d.each(|at_y, at_w, at_x| {
        dx[at_x] += w[at_w] * dy[at_y];
        dw[at_w] += x[at_x] * dy[at_y];
    });
    dy.iter().enumerate().for_each(|(at, dy)| dbias[d.channel(at)] += *dy);
}
