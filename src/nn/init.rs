//! Initial values: a pure function of (seed, position of the tensor in the model).

use crate::rng::{Rng, Stream};

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    Constant(f32),
    /// Normal cut at two standard deviations, scaled so that the result has exactly this `std`
    /// (JAX's truncated normal, which the official HRM uses; PyTorch's is not corrected).
    TruncatedNormal {
        std: f64,
    },
    /// Between -bound and bound.
    Uniform {
        bound: f64,
    },
    Normal {
        std: f64,
    },
}

impl Init {
    /// Truncated LeCun normal: std = 1 / sqrt(fan_in).
    pub fn lecun(fan_in: usize) -> Self {
        Init::TruncatedNormal { std: 1.0 / (fan_in as f64).sqrt() }
    }

    /// Weight and bias of `torch.nn.Linear`: uniform within 1 / sqrt(fan_in).
    pub fn linear(fan_in: usize) -> Self {
        Init::Uniform { bound: 1.0 / (fan_in as f64).sqrt() }
    }

    /// Xavier's uniform for a (fan_out, fan_in) matrix.
    pub fn xavier(fan_out: usize, fan_in: usize) -> Self {
        Init::Uniform { bound: (6.0 / (fan_in + fan_out) as f64).sqrt() }
    }

    pub fn values(self, elems: usize, seed: u64, stream: u64) -> Vec<f32> {
        match self {
            Init::Constant(x) => vec![x; elems],
            Init::TruncatedNormal { std } => {
                let mut rng = Rng::new(seed, Stream::Init, stream);
                let scale = std / TRUNCATED_STD;
                (0..elems).map(|_| (truncated(&mut rng) * scale) as f32).collect()
            }
            Init::Uniform { bound } => {
                let mut rng = Rng::new(seed, Stream::Init, stream);
                (0..elems).map(|_| ((2.0 * rng.uniform_f64() - 1.0) * bound) as f32).collect()
            }
            Init::Normal { std } => {
                let mut rng = Rng::new(seed, Stream::Init, stream);
                (0..elems).map(|_| (rng.normal() * std) as f32).collect()
            }
        }
    }
}

const CUT: f64 = 2.0;
/// Standard deviation of a unit normal cut at two: sqrt(1 - 2 * 2 phi(2) / (Phi(2) - Phi(-2))).
const TRUNCATED_STD: f64 = 0.879_625_661_034_239_8;

fn truncated(rng: &mut Rng) -> f64 {
    loop {
        let x = rng.normal();
        if x.abs() <= CUT {
            return x;
        }
    }
}

#[cfg(test)]
mod tests {
    use approx::assert_relative_eq;

    use super::*;

    #[test]
    fn uniform_and_normal_have_the_spread_asked_for() {
        for (init, std) in [
            (Init::linear(16), 0.25 / 3.0_f64.sqrt()),
            (Init::xavier(48, 6), (1.0 / 9.0_f64).sqrt() / 3.0_f64.sqrt()),
            (Init::Normal { std: 1.5 }, 1.5),
        ] {
            let x = init.values(100_000, 1, 2);
            let n = x.len() as f64;
            let mean = x.iter().map(|&x| x as f64).sum::<f64>() / n;
            let var = x.iter().map(|&x| (x as f64 - mean).powi(2)).sum::<f64>() / n;
            assert!(mean.abs() < 0.02 * std, "{init:?}: {mean}");
            assert_relative_eq!(var.sqrt(), std, max_relative = 0.02);
            if let Init::Uniform { bound } = init {
                assert!(x.iter().all(|x| x.abs() as f64 <= bound));
            }
        }
    }

    #[test]
    fn truncated_normal_has_the_std_asked_for_and_is_cut() {
        let x = Init::TruncatedNormal { std: 0.5 }.values(200_000, 1, 2);
        let n = x.len() as f64;
        let mean = x.iter().map(|&x| x as f64).sum::<f64>() / n;
        let var = x.iter().map(|&x| (x as f64 - mean).powi(2)).sum::<f64>() / n;
        assert!(mean.abs() < 0.005, "{mean}");
        assert!((var.sqrt() - 0.5).abs() < 0.003, "{}", var.sqrt());
        assert!(x.iter().all(|x| x.abs() as f64 <= 0.5 * CUT / TRUNCATED_STD + 1e-6));
    }
}
