//! Plain loops; see the contract in `mod.rs`. x is (B, C, S) with the given C and S.

use crate::ops::real::Real;

/// Mean and variance of each channel, the variance divided by N - `ddof`.
pub fn moments<R: Real>(x: &[R], c: usize, s: usize, ddof: usize) -> (Vec<R>, Vec<R>) {
    let n = x.len() / c;
    let [mut mean, mut var] = [0, 1].map(|_| vec![R::default(); c]);
    for (i, &x) in x.iter().enumerate() {
        mean[i / s % c] += x / R::of(n as f64);
    }
    for (i, &x) in x.iter().enumerate() {
        let d = x - mean[i / s % c];
        var[i / s % c] += d * d / R::of((n - ddof) as f64);
    }
    (mean, var)
}

pub struct Given<'a, R> {
    pub s: usize,
    pub mean: &'a [R],
    pub var: &'a [R],
    pub gain: &'a [R],
    pub relu: bool,
}

impl<R: Real> Given<'_, R> {
    fn channel(&self, i: usize) -> usize {
        i / self.s % self.gain.len()
    }

    fn scale(&self, channel: usize) -> R {
        R::of(1.0) / (self.var[channel] + R::of(super::EPS as f64)).sqrt()
    }

    pub fn forward(&self, x: &[R], bias: &[R]) -> Vec<R> {
        let one = |(i, &x): (usize, &R)| {
            let c = self.channel(i);
            let y = (x - self.mean[c]) * self.scale(c) * self.gain[c] + bias[c];
            if self.relu && y < R::default() { R::default() } else { y }
        };
        x.iter().enumerate().map(one).collect()
    }

    /// dx, dgain, dbias. `training`: mean and var are x's own.
    pub fn backward(&self, x: &[R], y: &[R], dy: &[R], training: bool) -> [Vec<R>; 3] {
        let c = self.gain.len();
        let n = R::of((x.len() / c) as f64);
        let mut of_channel = [vec![R::default(); c], vec![R::default(); c]];
        let g: Vec<R> = (0..x.len())
            .map(|i| if self.relu && !(y[i] > R::default()) { R::default() } else { dy[i] })
            .collect();
        let xhat = |i: usize| (x[i] - self.mean[self.channel(i)]) * self.scale(self.channel(i));
        for (i, &g) in g.iter().enumerate() {
            of_channel[0][self.channel(i)] += g * xhat(i);
            of_channel[1][self.channel(i)] += g;
        }
        let [dgain, dbias] = of_channel;
        let dx = (0..x.len()).map(|i| {
            let k = self.channel(i);
            let shared = match training {
                true => dbias[k] / n + xhat(i) * dgain[k] / n,
                false => R::default(),
            };
            self.gain[k] * self.scale(k) * (g[i] - shared)
        });
        [dx.collect(), dgain, dbias]
    }
}
