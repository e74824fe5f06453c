//! One variant in this process: its steps are timed, and each is told on stdout as a line of JSON,
//! so that whoever started the process can give up early. The last line is the result.

use std::time::Instant;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{WARM_UP_STEPS, shapes};
use crate::Result;
use crate::backend::{Device, DeviceKind};
use crate::io::machine;

/// Steps that a profile is the mean of; they come after the timed ones.
const PROFILED_STEPS: usize = 3;

/// A line of the results; the names are those of the baselines' JSON.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Timing {
    pub shape: String,
    pub variant: String,
    pub step_ms: f64,
    pub fastest_ms: f64,
    pub peak_bytes: usize,
    /// Where the time of a step goes, if that was asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub profile: Vec<Share>,
}

/// An op's share of a step.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Share {
    pub op: String,
    pub pass: String,
    pub calls: f64,
    pub ms: f64,
    /// Share of the step's time.
    pub frac: f64,
}

/// Times `SHAPE/DTYPE`.
pub fn run(variant: &str, steps: usize, is_profiled: bool, device: &Device) -> Result<()> {
    let (shape, dtype) = shapes::variant(variant)?;
    let mut step = shape.start(dtype, device)?;
    let mut timed = || -> Result<f64> {
        let start = Instant::now();
        step()?;
        Ok(start.elapsed().as_secs_f64() * 1e3)
    };
    let mut all_ms = vec![];
    for _ in 0..WARM_UP_STEPS + steps {
        let step_ms = timed()?;
        outln!("{}", json!({ "step_ms": step_ms }));
        all_ms.push(step_ms);
    }
    let mut step_ms = all_ms.split_off(WARM_UP_STEPS);
    step_ms.sort_by(f64::total_cmp);
    let peak_bytes = match device.kind() {
        DeviceKind::Cpu => machine::peak_resident_bytes().unwrap_or(0),
        DeviceKind::Cuda => device.usage().span_bytes,
    };
    let profile = if is_profiled { profile(&mut timed, device)? } else { vec![] };
    let timing = Timing {
        shape: shape.name.to_owned(),
        variant: format!("hrm {dtype}"),
        step_ms: step_ms[step_ms.len() / 2],
        fastest_ms: step_ms[0],
        peak_bytes,
        profile,
    };
    outln!("{}", json!(timing));
    Ok(())
}

/// Where the time of a few more steps goes; what no op takes is the host's.
fn profile(timed: &mut impl FnMut() -> Result<f64>, device: &Device) -> Result<Vec<Share>> {
    device.profile();
    let mut total_ms = 0.0;
    for _ in 0..PROFILED_STEPS {
        total_ms += timed()?;
    }
    let n = PROFILED_STEPS as f64;
    let mut spans = device.take_profile();
    spans.sort_by_key(|span| std::cmp::Reverse(span.time));
    let mut shares: Vec<Share> = spans
        .into_iter()
        .map(|span| {
            let ms = span.time.as_secs_f64() * 1e3;
            let (op, pass) = (span.op.to_owned(), span.pass.to_owned());
            Share { op, pass, calls: span.calls as f64 / n, ms: ms / n, frac: ms / total_ms }
        })
        .collect();
    let in_ops: f64 = shares.iter().map(|share| share.frac).sum();
    let rest = (1.0 - in_ops).max(0.0);
    let (op, pass) = ("between ops".to_owned(), String::new());
    shares.push(Share { op, pass, calls: 0.0, ms: rest * total_ms / n, frac: rest });
    Ok(shares)
}
