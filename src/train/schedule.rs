//! The learning rate of a step: linear warm-up, then cosine down to a share of the base.
//!
//! Steps count from 1, as in the official trainer: the first step of a run with W warm-up steps has
//! base / W. Reference: `cosine_schedule_with_warmup_lr_lambda`.

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    pub warmup_steps: u64,
    pub total_steps: u64,
    /// What remains of the base at the end; 1: constant after warm-up.
    pub min_ratio: f64,
}

impl Schedule {
    /// `step` is signed because the reference is defined below 0 too.
    pub fn lr(&self, base: f64, step: i64) -> f64 {
        let warmup = self.warmup_steps as i64;
        if step < warmup {
            return base * step as f64 / warmup.max(1) as f64;
        }
        let span = (self.total_steps as i64 - warmup).max(1) as f64;
        let progress = (step - warmup) as f64 / span;
        let cosine = 0.5 * (1.0 + (std::f64::consts::PI * progress).cos());
        base * (self.min_ratio + ((1.0 - self.min_ratio) * cosine).max(0.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warmup_longer_than_the_run_never_reaches_the_base() {
        let s = Schedule { warmup_steps: 100, total_steps: 10, min_ratio: 0.0 };
        assert_eq!(s.lr(1.0, 10), 0.1);
        assert!((1..=10).all(|step| s.lr(1.0, step) > 0.0));
    }
}
