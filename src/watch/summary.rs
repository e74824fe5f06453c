//! How a run stands, for a person or a script.

use std::fmt::Write;

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::run::{Run, Series};
use crate::train::log::duration;

const WIDTH: usize = 40;
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Step times of this many lines make the ETA.
const RECENT: usize = 20;

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Waiting,
    Unfinished,
    Finished,
}

#[derive(Debug, Serialize)]
pub struct Best {
    pub name: String,
    pub value: f64,
    pub step: u64,
}

#[derive(Serialize)]
pub struct Summary {
    pub run: String,
    pub preset: String,
    pub state: State,
    pub step: u64,
    pub total_steps: Option<u64>,
    /// Seconds of training left, without validation; `None`: the plan counts epochs.
    pub eta_s: Option<f64>,
    /// Seconds since metrics were last written.
    pub silent_s: Option<f64>,
    pub best: Option<Best>,
    pub latest: Map<String, Value>,
    pub log: Vec<String>,
    #[serde(skip)]
    curves: Vec<(String, String, f64)>,
}

impl Summary {
    pub fn of(run: &Run) -> Self {
        let state = match () {
            () if run.finished => State::Finished,
            () if run.series.is_empty() => State::Waiting,
            () => State::Unfinished,
        };
        let last = |series: &Series| series.points.last().map_or(f64::NAN, |p| p.1);
        let latest = run.series.iter().map(|s| (s.name.clone(), json!(last(s))));
        let curves = run.series.iter().filter(|s| !["epoch", "samples"].contains(&&s.name[..]));
        Self {
            run: run.dir.display().to_string(),
            preset: run.preset.clone(),
            state,
            step: run.step,
            total_steps: run.total_steps,
            eta_s: if state == State::Unfinished { eta(run) } else { None },
            silent_s: run.silence.map(|time| time.as_secs_f64()),
            best: best(run),
            latest: latest.collect(),
            log: run.log.clone(),
            curves: curves.map(|s| (s.name.clone(), sparkline(s), last(s))).collect(),
        }
    }

    pub fn text(&self) -> String {
        let mut text = format!("{}  preset {}\n", self.run, self.preset);
        let of = self.total_steps.map(|total| format!("/{total}")).unwrap_or_default();
        let ago = self.silent_s.map(|s| format!(", last metrics {} ago", duration(s)));
        let left = self.eta_s.map(|s| format!(", about {} left", duration(s)));
        let _ = match self.state {
            State::Waiting => writeln!(text, "waiting for the first step"),
            State::Finished => writeln!(text, "finished: step {}{of}", self.step),
            State::Unfinished => writeln!(
                text,
                "step {}{of}{}{}",
                self.step,
                left.unwrap_or_default(),
                ago.unwrap_or_default()
            ),
        };
        if let Some(Best { name, value, step }) = &self.best {
            let _ = writeln!(text, "best {name} {value:.4} at step {step}");
        }
        for (name, line, last) in &self.curves {
            let _ = writeln!(text, "{name:<20} {line:<WIDTH$} {}", number(*last));
        }
        self.log.iter().for_each(|line| text += &format!("{line}\n"));
        text
    }
}

fn eta(run: &Run) -> Option<f64> {
    let points = &run.series("step_ms")?.points;
    let recent = &points[points.len().saturating_sub(RECENT)..];
    let mean_ms = recent.iter().map(|p| p.1).sum::<f64>() / recent.len() as f64;
    Some(run.total_steps?.saturating_sub(run.step) as f64 * mean_ms / 1000.0)
}

/// The lowest validation loss, by which a run keeps its best model; a tie goes to the earlier step.
fn best(run: &Run) -> Option<Best> {
    let series = ["val_lm_loss", "val_mse"].iter().find_map(|name| run.series(name))?;
    let better = |a: (u64, f64), b: (u64, f64)| if b.1 < a.1 { b } else { a };
    let (step, value) = series.points.iter().copied().reduce(better)?;
    Some(Best { name: series.name.clone(), value, step })
}

/// Counts whole, other numbers to four places, small ones (rates) by their power of ten.
fn number(x: f64) -> String {
    match x.abs() {
        _ if x.fract() == 0.0 => format!("{x}"),
        size if size < 1e-2 => format!("{x:.2e}"),
        _ => format!("{x:.4}"),
    }
}

/// At most [`WIDTH`] bars, each the mean of its share of the points, between least and greatest.
fn sparkline(series: &Series) -> String {
    let values: Vec<f64> = series.points.iter().map(|p| p.1).collect();
    let n = values.len().min(WIDTH);
    let share = |i: usize| &values[i * values.len() / n..(i + 1) * values.len() / n];
    let means: Vec<f64> =
        (0..n).map(|i| share(i).iter().sum::<f64>() / share(i).len() as f64).collect();
    let low = means.iter().copied().fold(f64::INFINITY, f64::min);
    let high = means.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let bar = |mean: &f64| {
        let height = if high > low { (mean - low) / (high - low) } else { 0.0 };
        BARS[(height * (BARS.len() - 1) as f64).round() as usize]
    };
    means.iter().map(bar).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(name: &str, values: &[f64]) -> Series {
        let points = values.iter().zip(1..).map(|(&x, step)| (step, x)).collect();
        Series { name: name.into(), points }
    }

    fn run(series: Vec<Series>) -> Run {
        Run {
            dir: "runs/a".into(),
            preset: "a".into(),
            total_steps: Some(100),
            step: 40,
            series,
            silence: None,
            finished: false,
            log: vec![],
        }
    }

    #[test]
    fn sparklines_span_their_range_and_are_never_too_wide() {
        assert_eq!(sparkline(&series("a", &[0.0, 7.0, 3.0])), "▁█▄");
        assert_eq!(sparkline(&series("a", &[2.0, 2.0])), "▁▁");
        let long: Vec<f64> = (0..1001).map(f64::from).collect();
        let line: Vec<char> = sparkline(&series("a", &long)).chars().collect();
        assert_eq!((line.len(), line[0], line[WIDTH - 1]), (WIDTH, '▁', '█'));
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!([100941056.0, 0.38238, 1e-4].map(number), ["100941056", "0.3824", "1.00e-4"]);
    }

    #[test]
    fn eta_best_and_waiting() {
        let of = |series| Summary::of(&run(series));
        let summary =
            of(vec![series("step_ms", &[500.0, 1500.0]), series("val_mse", &[3., 1., 1.])]);
        assert_eq!(summary.eta_s, Some(60.0));
        let best = summary.best.as_ref().unwrap();
        assert_eq!((best.value, best.step), (1.0, 2));
        let judged =
            vec![series("val_exact_accuracy", &[0.5, 0.9]), series("val_lm_loss", &[1., 2.])];
        assert_eq!(of(judged).best.unwrap().step, 1);
        assert!(summary.text().contains("step 40/100, about 1m00s left"), "{}", summary.text());
        assert!(of(vec![]).text().contains("waiting for the first step"));
    }
}
