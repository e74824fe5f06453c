//! What the loop tells: lines of `metrics.jsonl`, the log and the bar. Reads the state, changes only
//! what is collected for the next line.

use serde_json::{Map, Value, json};

use super::Run;
use crate::Result;
use crate::ops::act_halt::metric;
use crate::run::log::duration;
use crate::train::metrics::Sums;

/// Time spent since the last line of metrics.
#[derive(Clone, Copy, Default)]
pub(super) struct Clock {
    pub steps: u64,
    pub rows: usize,
    pub total_ms: f64,
    pub wait_ms: f64,
}

impl Run<'_> {
    fn line_head(&self) -> Map<String, Value> {
        let epoch = (self.ledger.state.samples as f64 / self.rows_per_pass.max(1.0)) as u64;
        let head = [
            ("step", self.ledger.state.step),
            ("epoch", epoch),
            ("samples", self.ledger.state.samples),
        ];
        head.into_iter().map(|(name, value)| (name.to_owned(), json!(value))).collect()
    }

    pub(super) fn write_metrics(&mut self) -> Result<()> {
        let sums = std::mem::take(&mut self.pending);
        let clock = std::mem::take(&mut self.clock);
        let steps = clock.steps.max(1) as f64;
        let (step, lr) = (self.ledger.state.step, self.rates(self.ledger.state.step).lr);
        let step_ms = clock.total_ms / steps;
        let samples_per_s = clock.rows as f64 / clock.total_ms.max(1e-9) * 1e3;
        let mut line = self.line_head();
        sums.write("", &mut line);
        for (name, value) in [
            ("grad_norm", json!(sums.grad_norm())),
            ("lr", json!(lr)),
            ("step_ms", json!(step_ms)),
            ("data_wait_ms", json!(clock.wait_ms / steps)),
            ("samples_per_s", json!(samples_per_s)),
            ("mem_bytes", json!(self.device.usage().span_bytes)),
        ] {
            line.insert(name.into(), value);
        }
        self.ledger.tracker.write(line)?;
        let exact = or_dash(sums.of_halted(metric::EXACT_ACCURACY));
        let act_steps = or_dash(sums.of_halted(metric::STEPS));
        let common = format!("lm {:.4}  exact {exact}  act {act_steps}", sums.lm_loss());
        let total = self.schedule.total_steps;
        let eta_s = total.saturating_sub(step) as f64 * step_ms / 1e3;
        self.log.progress(step, &format!("{common}  {samples_per_s:.1} samples/s"), || {
            format!(
                "step {step:>6}/{total}  {common}  grad {:.2}  lr {lr:.1e}  step_ms {step_ms:.1}  \
                 {samples_per_s:.1} samples/s  ETA {}",
                sums.grad_norm(),
                duration(eta_s)
            )
        })
    }

    pub(super) fn report_validation(&mut self, sums: &Sums, seconds: f64) -> Result<()> {
        let mut line = self.line_head();
        sums.write("val_", &mut line);
        // In evaluation there is no second Q target.
        line.shift_remove("val_q_continue_loss");
        line.insert("val_samples".into(), json!(sums.rows as u64));
        line.insert("val_samples_per_s".into(), json!(sums.rows / seconds));
        self.ledger.tracker.write(line)?;
        let (step, loss) = (self.ledger.state.step, sums.lm_loss());
        self.log.say(&format!(
            "validation step {step}  lm {loss:.4}  accuracy {:.4}  exact {:.4}  ({} examples, {})",
            sums.of_halted(metric::ACCURACY),
            sums.of_halted(metric::EXACT_ACCURACY),
            sums.rows,
            duration(seconds)
        ))
    }
}

/// No row halted in these steps: there is nothing to say about them.
fn or_dash(x: f64) -> String {
    if x.is_nan() { "-".into() } else { format!("{x:.3}") }
}
