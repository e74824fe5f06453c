//! `hrm train --quick`: a look at whether everything works, from data to scores, not a result.

use crate::config::{Merged, Settings};

/// Optimizer steps at most.
const STEPS: u64 = 40;
/// Rows of one step at most.
const ROWS: usize = 8;
/// Examples per validation, and of the closing evaluation.
pub const EXAMPLES: u64 = 16;

/// Cut `config` to a small size. What the command line sets stays.
pub fn cut(config: &mut Settings, merged: &Merged) {
    let asked = |key: &str| merged.is_asked(key);
    let (train, data) = (&mut config.train, &mut config.data);
    if !asked("train.max_steps") && !asked("train.epochs") {
        // Whichever ends first: epochs of tiny data may be fewer steps.
        train.max_steps = if train.max_steps == 0 { STEPS } else { train.max_steps.min(STEPS) };
    }
    if !asked("train.batch_size") {
        train.batch_size = train.batch_size.min(ROWS);
    }
    if !asked("train.grad_accum") {
        train.grad_accum = 1;
    }
    if !asked("train.warmup_steps") {
        train.warmup_steps = train.warmup_steps.min(STEPS / 10);
    }
    if !asked("train.eval_every") {
        train.eval_every = 0;
    }
    if !asked("train.eval_examples") {
        train.eval_examples = EXAMPLES;
    }
    if !asked("data.num_aug") {
        data.num_aug = data.num_aug.min(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::DeviceKind;
    use crate::config::Layer;

    #[test]
    fn quick_runs_are_short_and_keep_what_was_asked_for() {
        let asked = Layer::command_line(&["train.batch_size=64".to_owned()]).unwrap();
        for preset in ["arc-simple", "arc-full", "arc-small"] {
            let merged = Merged::of(Some(preset), None, &asked).unwrap().on(DeviceKind::Cpu);
            let mut config = merged.config().unwrap();
            cut(&mut config, &merged);
            assert_eq!((config.train.batch_size, config.train.grad_accum), (64, 1), "{preset}");
            assert!(config.train.max_steps <= STEPS && config.data.num_aug <= 1, "{preset}");
            assert!(config.train.warmup_steps < config.train.max_steps, "{preset}");
        }
    }
}
