//! Plain loops; see the contract in `mod.rs`.

use crate::ops::real::Real;

/// s is saved, and so are mean and rstd.
pub struct Saved<R> {
    pub s: Vec<R>,
    pub mean: Vec<R>,
    pub rstd: Vec<R>,
}

pub fn forward<R: Real>(
    x: &[R],
    r: &[R],
    gain: &[R],
    bias: &[R],
    eps: f32,
    y: &mut [R],
) -> Saved<R> {
    let c = gain.len();
    let width = R::of(c as f64);
    let s: Vec<R> = x.iter().zip(r).map(|(&x, &r)| (x + r).store()).collect();
    let (mut means, mut rstds) = (vec![], vec![]);
    for (s, y) in s.chunks_exact(c).zip(y.chunks_exact_mut(c)) {
        let mean = s.iter().copied().sum::<R>() / width;
        let variance = s.iter().map(|&s| (s - mean) * (s - mean)).sum::<R>() / width;
        let rstd = R::of(1.0) / (variance + R::of(eps as f64)).sqrt();
        for i in 0..c {
            y[i] = ((s[i] - mean) * rstd * gain[i] + bias[i]).store();
        }
        means.push(mean);
        rstds.push(rstd);
    }
    Saved { s, mean: means, rstd: rstds }
}

/// ds (the gradient of x and of r), dgain, dbias; overwritten.
pub fn backward<R: Real>(
    saved: &Saved<R>,
    gain: &[R],
    dy: &[R],
    ds: &mut [R],
    dgain: &mut [R],
    dbias: &mut [R],
) {
    let c = gain.len();
    let width = R::of(c as f64);
    dgain.fill(R::default());
    dbias.fill(R::default());
    for (n, (&mean, &rstd)) in saved.mean.iter().zip(&saved.rstd).enumerate() {
        let row = n * c..(n + 1) * c;
        let (s, dy, ds) = (&saved.s[row.clone()], &dy[row.clone()], &mut ds[row]);
        let xhat: Vec<R> = s.iter().map(|&s| (s - mean) * rstd).collect();
        let g: Vec<R> = dy.iter().zip(gain).map(|(&dy, &gain)| dy * gain).collect();
        let mean_g = g.iter().copied().sum::<R>() / width;
        let mean_dot = g.iter().zip(&xhat).map(|(&g, &xhat)| g * xhat).sum::<R>() / width;
        for i in 0..c {
            ds[i] = (rstd * (g[i] - mean_g - xhat[i] * mean_dot)).store();
            dgain[i] += dy[i] * xhat[i];
            dbias[i] += dy[i];
        }
    }
}
