//! What a distillation tells: lines of `metrics.jsonl`, the log and the bar.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::order::Phase;
use super::run::Run;
use super::trainer::StepReport;
use crate::Result;
use crate::eval::images::Quality;
use crate::run::log::duration;

/// Sums over the steps since the last line of metrics. A line ends with each phase, so that a sum
/// never spans two.
#[derive(Default)]
pub(super) struct Pending {
    /// Steps, gradient norms, then the losses.
    sums: Vec<f64>,
    names: Vec<&'static str>,
    /// Of this process only: times are no part of the state.
    timed_steps: f64,
    elapsed: Duration,
}

impl Pending {
    pub fn new(sums: &[f64]) -> Self {
        Self { sums: sums.to_vec(), ..Self::default() }
    }

    pub fn to_vec(&self) -> Vec<f64> {
        self.sums.clone()
    }

    pub fn add(&mut self, report: &StepReport, elapsed: Duration) {
        self.names = report.losses.iter().map(|(name, _)| *name).collect();
        self.sums.resize(2 + self.names.len(), 0.0);
        let losses = report.losses.iter().map(|(_, loss)| *loss);
        let values = [1.0, report.grad_norm].into_iter().chain(losses);
        self.sums.iter_mut().zip(values).for_each(|(sum, v)| *sum += v);
        self.timed_steps += 1.0;
        self.elapsed += elapsed;
    }
}

impl Run<'_> {
    fn line_head(&self, phase: Phase) -> Map<String, Value> {
        let (_, made) = self.length.phase(self.ledger.state.step);
        let of_phase = match phase {
            Phase::Teacher => self.ledger.state.step,
            Phase::Student => made,
        };
        let mut line = Map::new();
        line.insert("step".into(), json!(self.ledger.state.step));
        line.insert("phase".into(), json!(name(phase)));
        line.insert("epoch".into(), json!(of_phase / self.length.steps_per_epoch));
        line.insert("samples".into(), json!(self.ledger.state.samples));
        line
    }

    pub(super) fn write_metrics(&mut self, phase: Phase, lr: f64) -> Result<()> {
        let pending = std::mem::take(&mut self.pending);
        let [steps, grad_norm, losses @ ..] = &pending.sums[..] else { return Ok(()) };
        let step_ms = pending.elapsed.as_secs_f64() * 1e3 / pending.timed_steps.max(1.0);
        let samples_per_s = self.length.batch as f64 / step_ms.max(1e-9) * 1e3;
        let mut line = self.line_head(phase);
        let mut words = String::new();
        for (name, sum) in pending.names.iter().zip(losses) {
            let mean = sum / steps;
            line.insert((*name).into(), json!(mean));
            words += &format!("  {name} {mean:.5}");
        }
        for (name, value) in [
            ("grad_norm", grad_norm / steps),
            ("lr", lr),
            ("step_ms", step_ms),
            ("samples_per_s", samples_per_s),
        ] {
            line.insert(name.into(), json!(value));
        }
        self.ledger.tracker.write(line)?;
        let (step, total) = (self.ledger.state.step, self.length.total());
        let eta_s = total.saturating_sub(step) as f64 * step_ms / 1e3;
        let phase = name(phase);
        self.log.progress(step, &format!("{phase}{words}  {samples_per_s:.0} images/s"), || {
            format!(
                "step {step:>6}/{total}  {phase}{words}  lr {lr:.1e}  step_ms {step_ms:.1}  \
                 {samples_per_s:.0} images/s  ETA {}",
                duration(eta_s)
            )
        })
    }

    pub(super) fn report_validation(&mut self, quality: &Quality) -> Result<()> {
        let mut line = self.line_head(Phase::Student);
        for (name, value) in [
            ("val_mse", quality.mse()),
            ("val_psnr_db", quality.psnr_db()),
            ("val_ssim", quality.ssim()),
        ] {
            line.insert(name.into(), json!(value));
        }
        line.insert("val_samples".into(), json!(quality.images()));
        self.ledger.tracker.write(line)?;
        let (step, mse, db, ssim) =
            (self.ledger.state.step, quality.mse(), quality.psnr_db(), quality.ssim());
        self.log.say(&format!(
            "validation step {step}  MSE {mse:.6}  PSNR {db:.2} dB  SSIM {ssim:.4}  ({} images)",
            quality.images()
        ))
    }
}

fn name(phase: Phase) -> &'static str {
    match phase {
        Phase::Teacher => "teacher",
        Phase::Student => "student",
    }
}
