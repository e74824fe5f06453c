//! The learning rate of a step: linear warm-up, then down to a share of the base.
//!
//! Steps count from 1, as in the official trainer: the first step of a run with W warm-up steps has
//! base / W. Reference of the cosine: `cosine_schedule_with_warmup_lr_lambda`.

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    pub warmup_steps: u64,
    pub total_steps: u64,
    /// What remains of the base at the end; 1: constant after warm-up.
    pub min_ratio: f64,
    pub decay: Decay,
}

/// How the rate falls after warm-up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Decay {
    /// Half a cosine over all that is left.
    Cosine,
    /// Linear over the last `share` of all steps, constant before them.
    Linear { share: f64 },
}

impl Schedule {
    /// `step` is signed because the reference is defined below 0 too.
    pub fn lr(&self, base: f64, step: i64) -> f64 {
        let warmup = self.warmup_steps as i64;
        if step < warmup {
            return base * step as f64 / warmup.max(1) as f64;
        }
        let left = match self.decay {
            Decay::Cosine => {
                let span = (self.total_steps as i64 - warmup).max(1) as f64;
                let progress = (step - warmup) as f64 / span;
                0.5 * (1.0 + (std::f64::consts::PI * progress).cos())
            }
            Decay::Linear { share } => {
                let total = self.total_steps as f64;
                let span = (share * total).min(total - warmup as f64).max(1.0);
                ((total - step as f64) / span).clamp(0.0, 1.0)
            }
        };
        base * (self.min_ratio + ((1.0 - self.min_ratio) * left).max(0.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warmup_longer_than_the_run_never_reaches_the_base() {
        for decay in [Decay::Cosine, Decay::Linear { share: 0.2 }] {
            let s = Schedule { warmup_steps: 100, total_steps: 10, min_ratio: 0.0, decay };
            assert_eq!(s.lr(1.0, 10), 0.1);
            assert!((1..=10).all(|step| s.lr(1.0, step) > 0.0));
        }
    }

    #[test]
    fn the_last_share_of_steps_falls_linearly() {
        let schedule = |min_ratio, share| Schedule {
            warmup_steps: 4,
            total_steps: 100,
            min_ratio,
            decay: Decay::Linear { share },
        };
        let s = schedule(0.0, 0.2);
        assert_eq!([1, 2, 4, 50, 80].map(|t| s.lr(1.0, t)), [0.25, 0.5, 1.0, 1.0, 1.0]);
        assert_eq!([85, 90, 100].map(|t| s.lr(2.0, t)), [1.5, 1.0, 0.0]);
        assert_eq!([80, 90, 100].map(|t| schedule(0.5, 0.2).lr(1.0, t)), [1.0, 0.75, 0.5]);
        assert!((4..=100).all(|t| schedule(1.0, 0.2).lr(1.0, t) == 1.0));
        // All of it: from the end of warm-up on.
        assert_eq!([4, 52, 100].map(|t| schedule(0.0, 1.0).lr(1.0, t)), [1.0, 0.5, 0.0]);
        // None of it: to the last step.
        assert_eq!([99, 100].map(|t| schedule(0.0, 0.0).lr(1.0, t)), [1.0, 0.0]);
    }
}
