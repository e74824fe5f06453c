//! How long the two phases are (the teacher's, then the student's), and which images a step takes:
//! a pure function of (seed, phase, step). An epoch visits a permutation of the images, in whole
//! batches: what is left over waits for another epoch's permutation. A set smaller than a batch is
//! one batch.

use crate::config::{DistillConfig, Teacher};
use crate::rng::{Rng, Stream};
use crate::run::checkpoint::Side;

/// Steps are counted over both phases, from 0: `step` many were made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Length {
    pub images: usize,
    pub batch: usize,
    pub steps_per_epoch: u64,
    pub teacher_steps: u64,
    pub student_steps: u64,
}

impl Length {
    pub fn of(config: &DistillConfig, images: usize) -> Self {
        let train = &config.train;
        let batch = train.batch_size.min(images).max(1);
        let steps_per_epoch = (images / batch).max(1) as u64;
        let teacher_epochs = match config.model.teacher {
            Teacher::None => 0,
            _ => train.teacher_epochs,
        };
        let limits = [train.epochs * steps_per_epoch, train.max_steps];
        let student_steps = limits.into_iter().filter(|n| *n > 0).min().unwrap_or(0);
        let teacher_steps = teacher_epochs * steps_per_epoch;
        Self { images, batch, steps_per_epoch, teacher_steps, student_steps }
    }

    pub fn total(&self) -> u64 {
        self.teacher_steps + self.student_steps
    }

    /// Phase of the step after `step` many, and how many of it were made.
    pub fn phase(&self, step: u64) -> (Side, u64) {
        match step.checked_sub(self.teacher_steps) {
            None => (Side::Teacher, step),
            Some(of_student) => (Side::Student, of_student),
        }
    }
}

/// The permutation of an epoch, kept while the epoch lasts.
#[derive(Default)]
pub struct Order {
    of: Option<(Side, u64)>,
    images: Vec<u32>,
}

impl Order {
    /// Images of the step after `step` many.
    pub fn batch(&mut self, length: &Length, seed: u64, step: u64) -> &[u32] {
        let (phase, of_phase) = length.phase(step);
        let epoch = of_phase / length.steps_per_epoch;
        if self.of != Some((phase, epoch)) {
            self.images = permutation(length.images, seed, phase, epoch);
            self.of = Some((phase, epoch));
        }
        let from = (of_phase % length.steps_per_epoch) as usize * length.batch;
        &self.images[from..from + length.batch]
    }
}

fn permutation(n: usize, seed: u64, phase: Side, epoch: u64) -> Vec<u32> {
    let phases = match phase {
        Side::Teacher => 0,
        Side::Student => 1 << 32,
    };
    let mut rng = Rng::new(seed, Stream::Order, phases + epoch);
    let mut images: Vec<u32> = (0..n as u32).collect();
    rng.shuffle(&mut images);
    images
}

#[cfg(test)]
mod tests {
    use super::*;

    fn length(images: usize, overrides: &[&str]) -> Length {
        let overrides: Vec<String> = overrides.iter().map(|o| o.to_string()).collect();
        Length::of(&DistillConfig::load(None, None, &overrides).unwrap(), images)
    }

    #[test]
    fn phases_follow_from_the_step() {
        let l = length(1000, &["train.batch_size=64", "train.epochs=3", "train.teacher_epochs=2"]);
        assert_eq!((l.steps_per_epoch, l.teacher_steps, l.student_steps), (15, 30, 45));
        assert_eq!(l.phase(29), (Side::Teacher, 29));
        assert_eq!(l.phase(30), (Side::Student, 0));
        let alone = length(1000, &["model.teacher=none", "train.max_steps=7"]);
        assert_eq!((alone.total(), alone.phase(0)), (7, (Side::Student, 0)));
        assert_eq!(length(5, &["train.epochs=2"]).batch, 5);
    }

    #[test]
    fn an_epoch_visits_every_image_at_most_once_and_any_step_is_reached_directly() {
        let l = length(100, &["train.batch_size=8", "train.epochs=3", "train.teacher_epochs=1"]);
        let mut order = Order::default();
        let steps: Vec<Vec<u32>> = (0..l.total()).map(|s| order.batch(&l, 5, s).to_vec()).collect();
        for epoch in steps.chunks(l.steps_per_epoch as usize) {
            let mut seen = epoch.concat();
            seen.sort();
            seen.dedup();
            assert_eq!(seen.len(), 96);
        }
        assert_ne!(steps[0], steps[12], "phases and epochs differ");
        assert_ne!(steps[12], steps[24]);
        for step in [47, 0, 13, 12] {
            assert_eq!(Order::default().batch(&l, 5, step), steps[step as usize]);
        }
        assert_ne!(Order::default().batch(&l, 6, 0), steps[0]);
    }
}
