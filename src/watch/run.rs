//! `metrics.jsonl`, `plan.toml` and `train.log` of one run folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde_json::{Map, Value};
use toml::Table;

use crate::train::checkpoint::Folder;
use crate::train::run_folder::{CHECKPOINTS, LOG, METRICS, PLAN};
use crate::{Error, Result};

const LOG_LINES: usize = 5;

/// The values of one metric, with the step of each.
pub struct Series {
    pub name: String,
    pub points: Vec<(u64, f64)>,
}

pub struct Run {
    pub dir: PathBuf,
    pub preset: String,
    /// Where the plan alone tells: it names steps, not epochs.
    pub total_steps: Option<u64>,
    /// In the order in which they first appeared.
    pub series: Vec<Series>,
    /// The last step that was written.
    pub step: u64,
    /// Since metrics were last written.
    pub silence: Option<Duration>,
    pub finished: bool,
    pub log: Vec<String>,
}

impl Run {
    /// What the folder holds now. Metrics and log may be missing: the run has just begun.
    ///
    /// # Errors
    ///
    /// `dir` is no run folder, or something in it cannot be read.
    pub fn read(dir: &Path) -> Result<Self> {
        let path = dir.join(PLAN);
        let Some(plan) = text(&path)? else {
            return Err(Error::invalid(format!(
                "{}: no run folder, {PLAN} is missing: give one, such as runs/arc-small-1",
                dir.display()
            )));
        };
        let plan: Table = plan.parse().map_err(|e: toml::de::Error| {
            Error::invalid(format!("{}: {}", path.display(), e.message()))
        })?;
        let metrics = dir.join(METRICS);
        let lines = text(&metrics)?.unwrap_or_default();
        let (series, step) = series(&lines);
        let log = text(&dir.join(LOG))?.unwrap_or_default();
        let log: Vec<String> = log.lines().map(str::to_owned).collect();
        let written = fs::metadata(&metrics).and_then(|m| m.modified()).ok();
        Ok(Self {
            dir: dir.to_owned(),
            preset: plan.get("preset").and_then(|p| p.as_str()).unwrap_or("?").to_owned(),
            total_steps: total_steps(&plan),
            step,
            silence: written.and_then(|at| SystemTime::now().duration_since(at).ok()),
            finished: Folder::new(dir.join(CHECKPOINTS)).r#final().exists(),
            series,
            log: log[log.len().saturating_sub(LOG_LINES)..].to_vec(),
        })
    }

    pub fn series(&self, name: &str) -> Option<&Series> {
        self.series.iter().find(|series| series.name == name)
    }
}

/// The folder below `root` whose metrics, or else plan, were written last.
pub fn newest(root: &Path) -> Result<PathBuf> {
    let none = || {
        Error::invalid(format!(
            "{}: no run here: start one with `hrm train`, or name its folder",
            root.display()
        ))
    };
    let entries = match fs::read_dir(root) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Err(none()),
        Err(e) => return Err(Error::io(root, "list the runs")(e)),
    };
    let mut newest: Option<(SystemTime, PathBuf)> = None;
    for entry in entries {
        let dir = entry.map_err(Error::io(root, "list the runs"))?.path();
        let written = |name| fs::metadata(dir.join(name)).and_then(|m| m.modified());
        let Ok(planned) = written(PLAN) else { continue };
        let at = written(METRICS).unwrap_or(planned);
        newest = newest.max(Some((at, dir)));
    }
    newest.map(|(_, dir)| dir).ok_or_else(none)
}

fn text(path: &Path) -> Result<Option<String>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::io(path, "read")(e)),
    }
}

/// A distilled run's steps include its teacher's, which are counted in epochs.
fn total_steps(plan: &Table) -> Option<u64> {
    let train = plan.get("train")?;
    let number = |key: &str| train.get(key).and_then(|x| x.as_integer());
    match (number("max_steps")?, number("epochs")?, number("teacher_epochs")) {
        (steps, 0, None) => u64::try_from(steps).ok().filter(|&steps| steps > 0),
        _ => None,
    }
}

/// A last line without its end is still being written; a line that is no object is not ours.
fn series(lines: &str) -> (Vec<Series>, u64) {
    let (mut all, mut last) = (Vec::<Series>::new(), 0);
    for line in lines.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
        let Ok(line) = serde_json::from_str::<Map<String, Value>>(line) else { continue };
        let Some(step) = line.get("step").and_then(Value::as_u64) else { continue };
        last = step;
        for (name, value) in line.iter().filter(|(name, _)| *name != "step") {
            let Some(value) = value.as_f64() else { continue };
            match all.iter_mut().find(|series| series.name == *name) {
                Some(series) => series.points.push((step, value)),
                None => all.push(Series { name: name.clone(), points: vec![(step, value)] }),
            }
        }
    }
    (all, last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_line_null_and_garbage_are_passed_over() {
        let lines =
            "{\"step\":1,\"a\":0.5,\"b\":null}\nnoise\n[1]\n{\"step\":2,\"a\":0.25}\n{\"step\":3";
        let (all, step) = series(lines);
        assert_eq!((all.len(), step), (1, 2));
        assert_eq!(all[0].points, [(1, 0.5), (2, 0.25)]);
    }

    #[test]
    fn only_a_plan_in_steps_tells_its_length() {
        let of = |text: &str| total_steps(&text.parse().unwrap());
        assert_eq!(of("[train]\nmax_steps = 30\nepochs = 0"), Some(30));
        assert_eq!(of("[train]\nmax_steps = 30\nepochs = 2"), None);
        assert_eq!(of("[train]\nmax_steps = 30\nepochs = 0\nteacher_epochs = 1"), None);
        assert_eq!(of("preset = 'x'"), None);
    }
}
