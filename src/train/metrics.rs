//! Sums over steps or batches, and the names under which they appear in `metrics.jsonl`.

use serde_json::{Map, Value, json};

use super::trainer::Report;
use crate::ops::act_halt::metric;

/// Everything that adds up. Its numbers are part of a checkpoint, so that a resumed run writes the
/// line that is half collected; times are not, they are measured anew.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sums {
    pub sums: [f64; metric::LEN],
    pub rows: f64,
    pub steps: f64,
    pub grad_norm: f64,
}

impl Sums {
    pub fn add(&mut self, report: &Report) {
        self.sums.iter_mut().zip(report.sums).for_each(|(all, one)| *all += one);
        self.rows += report.rows as f64;
        self.steps += 1.0;
        self.grad_norm += report.grad_norm as f64;
    }

    pub fn to_vec(&self) -> Vec<f64> {
        let mut all = self.sums.to_vec();
        all.extend([self.rows, self.steps, self.grad_norm]);
        all
    }

    pub fn from_slice(all: &[f64]) -> Option<Self> {
        let (sums, rest) = all.split_first_chunk()?;
        let [rows, steps, grad_norm] = rest.try_into().ok()?;
        Some(Self { sums: *sums, rows, steps, grad_norm })
    }

    /// Losses are means over all rows.
    pub fn lm_loss(&self) -> f64 {
        self.sums[metric::LM_LOSS] / self.rows
    }

    /// Accuracies and ACT steps are means over rows that halted; none halted: NaN.
    pub fn of_halted(&self, which: usize) -> f64 {
        self.sums[which] / self.sums[metric::COUNT]
    }

    pub fn grad_norm(&self) -> f64 {
        self.grad_norm / self.steps
    }

    /// Append the metrics, `prefix` before each name. NaN becomes null.
    pub fn write(&self, prefix: &str, line: &mut Map<String, Value>) {
        let of_rows = |which: usize| self.sums[which] / self.rows;
        for (name, value) in [
            ("lm_loss", self.lm_loss()),
            ("q_halt_loss", of_rows(metric::Q_HALT_LOSS)),
            ("q_continue_loss", of_rows(metric::Q_CONTINUE_LOSS)),
            ("accuracy", self.of_halted(metric::ACCURACY)),
            ("exact_accuracy", self.of_halted(metric::EXACT_ACCURACY)),
            ("q_halt_accuracy", self.of_halted(metric::Q_HALT_ACCURACY)),
            ("act_steps", self.of_halted(metric::STEPS)),
        ] {
            line.insert(format!("{prefix}{name}"), json!(value));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vector_round_trip_and_null_for_nothing_halted() {
        let mut sums = Sums::default();
        let mut report = Report { rows: 4, grad_norm: 0.5, ..Report::default() };
        report.sums[metric::LM_LOSS] = 8.0;
        sums.add(&report);
        assert_eq!(Sums::from_slice(&sums.to_vec()), Some(sums.clone()));
        assert_eq!(Sums::from_slice(&[0.0; 10]), None);
        let mut line = Map::new();
        sums.write("val_", &mut line);
        assert_eq!(line["val_lm_loss"], json!(2.0));
        assert_eq!(line["val_accuracy"], Value::Null);
    }
}
