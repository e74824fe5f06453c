//! Plain loops; see the contract in `mod.rs`.

use crate::ops::real::Real;

/// `r`: zeros where x alone is normed.
pub fn forward<R: Real>(x: &[R], r: &[R], c: usize, eps: f32, y: &mut [R], rstd: &mut [R]) {
    for (n, rstd) in rstd.iter_mut().enumerate() {
        let s: Vec<R> = (n * c..(n + 1) * c).map(|i| (x[i] + r[i]).store()).collect();
        let mean_sq = s.iter().map(|&s| s * s).sum::<R>() / R::of(c as f64);
        *rstd = R::of(1.0) / (mean_sq + R::of(eps as f64)).sqrt();
        for (y, s) in y[n * c..].iter_mut().zip(s) {
            *y = (s * *rstd).store();
        }
    }
}

/// ds, which is the gradient of x and of r; overwritten.
pub fn backward<R: Real>(y: &[R], rstd: &[R], c: usize, dy: &[R], ds: &mut [R]) {
    for (n, &rstd) in rstd.iter().enumerate() {
        let row = n * c..(n + 1) * c;
        let mean = row.clone().map(|i| dy[i] * y[i]).sum::<R>() / R::of(c as f64);
        for i in row {
            ds[i] = (rstd * (dy[i] - y[i] * mean)).store();
        }
    }
}
