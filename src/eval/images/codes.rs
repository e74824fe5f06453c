//! Which of a code's numbers carry anything: statistics of the posterior over a set of images.
//!
//! A unit is active when its mean varies from image to image: var(mu) > 0.01 (Burda et al.,
//! "Importance weighted autoencoders", 2016). The KL of a unit is that of its Gaussian to N(0, 1),
//! in nats, mean over images.

/// Above it a unit is active.
pub const ACTIVE_VARIANCE: f64 = 0.01;

/// Running sums per unit.
#[derive(Clone, Debug)]
pub struct Codes {
    n: usize,
    sum: Vec<f64>,
    squares: Vec<f64>,
    kl: Vec<f64>,
}

#[derive(Clone, Debug, serde::Serialize)]
pub struct CodeStatistics {
    pub units: usize,
    pub active_units: usize,
    /// Sum over units.
    pub kl_nats: f64,
    /// Mean over units of the variance of mu.
    pub mean_variance: f64,
}

impl Codes {
    pub fn new(units: usize) -> Self {
        Self { n: 0, sum: vec![0.0; units], squares: vec![0.0; units], kl: vec![0.0; units] }
    }

    /// Means and logarithms of variances, (n, units) each.
    pub fn add(&mut self, mu: &[f32], log_var: &[f32]) {
        let units = self.sum.len();
        assert_eq!(
            (mu.len(), mu.len() % units),
            (log_var.len(), 0),
            "whole codes, as many of both"
        );
        for (mu, log_var) in mu.chunks_exact(units).zip(log_var.chunks_exact(units)) {
            self.n += 1;
            for i in 0..units {
                let (mu, log_var) = (f64::from(mu[i]), f64::from(log_var[i]));
                self.sum[i] += mu;
                self.squares[i] += mu * mu;
                self.kl[i] += 0.5 * (mu * mu + log_var.exp() - 1.0 - log_var);
            }
        }
    }

    pub fn statistics(&self) -> CodeStatistics {
        let n = self.n as f64;
        let units = self.sum.len();
        let variance = |i: usize| (self.squares[i] / n - (self.sum[i] / n).powi(2)).max(0.0);
        let variances: Vec<f64> = (0..units).map(variance).collect();
        CodeStatistics {
            units,
            active_units: variances.iter().filter(|v| **v > ACTIVE_VARIANCE).count(),
            kl_nats: self.kl.iter().sum::<f64>() / n,
            mean_variance: variances.iter().sum::<f64>() / units as f64,
        }
    }
}
