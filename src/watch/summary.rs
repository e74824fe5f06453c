//! How a run stands, for a person or a script.

use std::fmt::Write;

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::run::RunView;
use super::series::Series;
use crate::io::units::compact_time;

const WIDTH: usize = 40;
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Lines of the log that are shown.
const LOG_LINES: usize = 5;
/// A line of metrics is overdue after this many times what one takes, and this many seconds.
const PATIENCE: f64 = 3.0;
const PATIENCE_S: f64 = 30.0;

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
    /// Seconds left of training and its validations; `None`: done, or the length is not known.
    pub eta_s: Option<f64>,
    /// Seconds since metrics were last written.
    pub silent_s: Option<f64>,
    /// Unfinished, and silent for much longer than its steps take: it may have stopped.
    pub overdue: bool,
    pub best: Option<Best>,
    pub latest: Map<String, Value>,
    pub log: Vec<String>,
    #[serde(skip)]
    curves: Vec<(String, String, f64)>,
}

impl Summary {
    pub fn of(run: &RunView) -> Self {
        let state = match () {
            () if run.finished => State::Finished,
            () if run.series.is_empty() => State::Waiting,
            () => State::Unfinished,
        };
        let latest = run.series.iter().map(|s| (s.name.clone(), json!(s.last().1)));
        let curves = run.series.iter().filter(|s| !["epoch", "samples"].contains(&&s.name[..]));
        let silent_s = run.silence.map(|time| time.as_secs_f64());
        let allowed_s = PATIENCE_S + PATIENCE * line_s(run);
        Self {
            run: run.dir.display().to_string(),
            preset: run.preset.clone(),
            state,
            step: run.step,
            total_steps: run.total_steps,
            eta_s: if state == State::Unfinished { eta_s(run) } else { None },
            silent_s,
            overdue: state == State::Unfinished && silent_s.is_some_and(|s| s > allowed_s),
            best: best(run),
            latest: latest.collect(),
            log: run.log.iter().skip(run.log.len().saturating_sub(LOG_LINES)).cloned().collect(),
            curves: curves.map(|s| (s.name.clone(), sparkline(s), s.last().1)).collect(),
        }
    }

    pub fn text(&self) -> String {
        let mut text = format!("{}  preset {}\n", self.run, self.preset);
        let of = self.total_steps.map(|total| format!("/{total}")).unwrap_or_default();
        let ago = self.silent_s.map(|s| format!(", last metrics {} ago", compact_time(s)));
        let left = self.eta_s.map(|s| format!(", about {} left", compact_time(s)));
        let _ = match self.state {
            State::Waiting => writeln!(text, "waiting for the first step"),
            State::Finished => writeln!(text, "finished: step {}{of}", self.step),
            State::Unfinished => writeln!(
                text,
                "step {}{of}{}{}{}",
                self.step,
                left.filter(|_| !self.overdue).unwrap_or_default(),
                ago.unwrap_or_default(),
                if self.overdue { ": stopped?" } else { "" }
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

/// Seconds of a step, of late; 0 before there is one.
fn step_s(run: &RunView) -> f64 {
    let mean_ms = run.series("step_ms").map_or(f64::NAN, Series::recent_mean);
    if mean_ms.is_finite() { mean_ms / 1e3 } else { 0.0 }
}

/// Seconds of the last validation; 0 where that is not known.
fn validation_s(run: &RunView) -> f64 {
    let last = |name| run.series(name).map_or(f64::NAN, |series| series.last().1);
    let seconds = last("val_samples") / last("val_samples_per_s");
    if seconds.is_finite() { seconds } else { 0.0 }
}

/// Seconds in which a line of metrics can be expected.
fn line_s(run: &RunView) -> f64 {
    run.line_steps as f64 * step_s(run) + validation_s(run)
}

fn eta_s(run: &RunView) -> Option<f64> {
    run.series("step_ms")?;
    let total = run.total_steps?;
    let validations = |step: u64| run.eval_every.and_then(|every| step.checked_div(every));
    let ahead = match (validations(run.step), validations(total)) {
        (Some(done), Some(all)) => all.saturating_sub(done),
        _ => 0,
    };
    let steps = total.saturating_sub(run.step) as f64;
    Some(steps * step_s(run) + ahead as f64 * validation_s(run))
}

/// The lowest validation loss, by which a run keeps its best model; a tie goes to the earlier step.
fn best(run: &RunView) -> Option<Best> {
    let series = ["val_lm_loss", "val_mse"].iter().find_map(|name| run.series(name))?;
    let (step, value) = series.lowest();
    value.is_finite().then(|| Best { name: series.name.clone(), value, step })
}

/// Counts whole, other numbers to four places, small ones (rates) by their power of ten.
pub fn number(x: f64) -> String {
    match x.abs() {
        size if size >= 1e9 => format!("{x:.2e}"),
        _ if x.fract() == 0.0 => format!("{x}"),
        size if size < 1e-2 => format!("{x:.2e}"),
        size if size >= 1e3 => format!("{x:.1}"),
        _ => format!("{x:.4}"),
    }
}

/// At most [`WIDTH`] bars, each the mean of its share of the points, between least and greatest.
fn sparkline(series: &Series) -> String {
    let values: Vec<f64> = series.points().iter().map(|p| p.1).collect();
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
    use crate::watch::fixture;
    use std::time::Duration;

    fn series(values: &[f64]) -> Series {
        let mut series = Series::new("a");
        values.iter().zip(1..).for_each(|(&x, step)| series.push(step, x));
        series
    }

    #[test]
    fn sparklines_span_their_range_and_are_never_too_wide() {
        assert_eq!(sparkline(&series(&[0.0, 7.0, 3.0])), "▁█▄");
        assert_eq!(sparkline(&series(&[2.0, 2.0])), "▁▁");
        let long: Vec<f64> = (0..1001).map(f64::from).collect();
        let line: Vec<char> = sparkline(&series(&long)).chars().collect();
        assert_eq!((line.len(), line[0], line[WIDTH - 1]), (WIDTH, '▁', '█'));
    }

    #[test]
    fn numbers_are_short() {
        let numbers = [100941056.0, 0.38238, 1e-4, 2350.123, 4.2e10];
        assert_eq!(numbers.map(number), ["100941056", "0.3824", "1.00e-4", "2350.1", "4.20e10"]);
    }

    #[test]
    fn eta_counts_steps_and_validations() {
        let plan = "[train]\nmax_steps = 100\nepochs = 0\neval_every = 30\n";
        let trained = |step: u64| format!("{{\"step\":{step},\"step_ms\":1000.0}}\n");
        let (_dir, run) = fixture::run(plan, &(trained(20) + &trained(40)));
        let summary = Summary::of(&run);
        assert_eq!(summary.eta_s, Some(60.0));
        assert!(summary.text().contains("step 40/100, about 1m00s left"), "{}", summary.text());
        let validated = "{\"step\":30,\"val_samples\":50,\"val_samples_per_s\":10.0}\n";
        let (_dir, run) = fixture::run(plan, &(trained(20) + validated + &trained(40)));
        // Two validations of five seconds: after steps 60 and 90.
        assert_eq!(Summary::of(&run).eta_s, Some(70.0));
    }

    #[test]
    fn the_best_model_is_the_one_with_the_lowest_validation_loss() {
        let lines = |values: &[f64], name: &str| {
            let line = |(x, step): (&f64, i32)| format!("{{\"step\":{step},\"{name}\":{x}}}\n");
            values.iter().zip(1..).map(line).collect::<String>()
        };
        let (_dir, run) = fixture::run("", &lines(&[3.0, 1.0, 1.0], "val_mse"));
        let best = Summary::of(&run).best.unwrap();
        assert_eq!((best.value, best.step), (1.0, 2));
        let both = lines(&[0.5, 0.9], "val_exact_accuracy") + &lines(&[1.0, 2.0], "val_lm_loss");
        let (_dir, run) = fixture::run("", &both);
        assert_eq!(Summary::of(&run).best.unwrap().step, 1);
    }

    #[test]
    fn silence_beyond_what_steps_take_is_named() {
        let (_dir, mut run) = fixture::run("", "{\"step\":10,\"step_ms\":2000.0}\n");
        // Ten steps of two seconds a line: three times that and half a minute.
        for (silent_s, overdue) in [(85, false), (95, true)] {
            run.silence = Some(Duration::from_secs(silent_s));
            let summary = Summary::of(&run);
            assert_eq!(summary.overdue, overdue, "{silent_s}");
            assert_eq!(summary.text().contains("stopped?"), overdue, "{}", summary.text());
        }
        run.finished = true;
        assert!(!Summary::of(&run).overdue);
        let (_dir, run) = fixture::run("", "");
        assert!(Summary::of(&run).text().contains("waiting for the first step"));
    }
}
