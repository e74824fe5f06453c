//! A run folder as it stands and as it grows: `plan.toml`, `metrics.jsonl`, `train.log`. What is
//! kept of a run does not grow with its length.

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde_json::{Map, Value};
use toml::Table;

use super::series::Series;
use super::tail::{Piece, Tail};
use crate::run::checkpoint::Folder;
use crate::run::folder::{self, CHECKPOINTS, LOCK, LOG, METRICS, PLAN, STEPS};
use crate::{Error, Result};

/// Lines of the log that are kept.
const LOG_LINES: usize = 40;
/// Metrics that are kept; ours are some thirty.
const MOST_SERIES: usize = 100;
/// Stands in lines that tell of training, not of a validation.
const TRAINING: &str = "step_ms";

pub struct RunView {
    pub dir: PathBuf,
    pub preset: String,
    /// Where the run has said so, or the plan alone tells.
    pub total_steps: Option<u64>,
    /// Steps between validations; `None`: unknown.
    pub eval_every: Option<u64>,
    /// Process that holds or held the folder.
    pub pid: Option<u32>,
    /// In the order in which they first appeared.
    pub series: Vec<Series>,
    /// The last step that was written.
    pub step: u64,
    /// Steps between the last two lines of training.
    pub line_steps: u64,
    /// Since metrics were last written.
    pub silence: Option<Duration>,
    pub finished: bool,
    pub log: VecDeque<String>,
    metrics: Tail,
    log_tail: Tail,
}

impl RunView {
    /// What the folder holds now. Metrics and log may be missing: the run has just begun.
    ///
    /// # Errors
    ///
    /// `dir` is no run folder, or something in it cannot be read.
    pub fn open(dir: &Path) -> Result<Self> {
        if !folder::is_run(dir)? {
            return Err(Error::invalid(format!(
                "{}: no run folder, {PLAN} is missing: give one, such as runs/arc-small-1",
                dir.display()
            )));
        }
        let mut run = Self {
            dir: dir.to_owned(),
            preset: "?".to_owned(),
            total_steps: None,
            eval_every: None,
            pid: None,
            series: vec![],
            step: 0,
            line_steps: 0,
            silence: None,
            finished: false,
            log: VecDeque::new(),
            metrics: Tail::new(dir.join(METRICS)),
            log_tail: Tail::new(dir.join(LOG)),
        };
        run.refresh()?;
        Ok(run)
    }

    /// What was written since.
    pub fn refresh(&mut self) -> Result<()> {
        self.read_plan()?;
        let number = |name| fs::read_to_string(self.dir.join(name)).ok()?.trim().parse().ok();
        let (said, pid) = (number(STEPS), number(LOCK));
        self.total_steps = said.or(self.total_steps);
        self.pid = pid.and_then(|pid| u32::try_from(pid).ok());
        self.read_metrics()?;
        let log = &mut self.log;
        self.log_tail.read(|piece| match piece {
            Piece::Anew => log.clear(),
            Piece::Line(line) => {
                log.push_back(plain(line));
                log.drain(..log.len().saturating_sub(LOG_LINES));
            }
        })?;
        let written = fs::metadata(self.metrics.path()).and_then(|m| m.modified()).ok();
        self.silence = written.and_then(|at| SystemTime::now().duration_since(at).ok());
        self.finished = Folder::new(self.dir.join(CHECKPOINTS)).has_final()?;
        Ok(())
    }

    pub fn series(&self, name: &str) -> Option<&Series> {
        self.series.iter().find(|series| series.name == name)
    }

    fn read_plan(&mut self) -> Result<()> {
        let path = self.dir.join(PLAN);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            // Moved aside for a fresh start, which soon has a plan too.
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(e) => return Err(Error::io(&path, "read")(e)),
        };
        let plan: Table = text.parse().map_err(|e: toml::de::Error| {
            Error::invalid(format!("{}: {}", path.display(), e.message()))
        })?;
        self.preset = plain(plan.get("preset").and_then(|p| p.as_str()).unwrap_or("?"));
        (self.total_steps, self.eval_every) = planned(&plan);
        Ok(())
    }

    /// A line that is no object is not ours.
    fn read_metrics(&mut self) -> Result<()> {
        let (series, step, line_steps) = (&mut self.series, &mut self.step, &mut self.line_steps);
        self.metrics.read(|piece| {
            let line = match piece {
                Piece::Anew => {
                    series.clear();
                    (*step, *line_steps) = (0, 0);
                    return;
                }
                Piece::Line(line) => serde_json::from_str::<Map<String, Value>>(line),
            };
            let Ok(line) = line else { return };
            let Some(at) = line.get("step").and_then(Value::as_u64) else { return };
            if line.contains_key(TRAINING) {
                let before = series.iter().find(|s| s.name == TRAINING).map(|s| s.last().0);
                *line_steps = at.saturating_sub(before.unwrap_or(0));
            }
            *step = at;
            for (name, value) in line.iter().filter(|(name, _)| *name != "step") {
                let Some(value) = value.as_f64() else { continue };
                if name.contains(char::is_control) {
                    continue;
                }
                match series.iter().position(|series| series.name == *name) {
                    Some(i) => series[i].push(at, value),
                    None if series.len() < MOST_SERIES => {
                        let mut new = Series::new(name);
                        new.push(at, value);
                        series.push(new);
                    }
                    None => {}
                }
            }
        })
    }
}

/// Nothing that a terminal would take for a command.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
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

/// Steps of the whole run and between validations, where the plan alone tells: a distilled run
/// counts epochs of its teacher and its student.
fn planned(plan: &Table) -> (Option<u64>, Option<u64>) {
    let number = |key: &str| {
        let value = plan.get("train")?.get(key)?.as_integer()?;
        u64::try_from(value).ok()
    };
    if number("teacher_epochs").is_some() {
        return (None, None);
    }
    let total = match (number("max_steps"), number("epochs")) {
        (Some(steps), Some(0)) if steps > 0 => Some(steps),
        _ => None,
    };
    (total, number("eval_every"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(plan: &str, metrics: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(PLAN), plan).unwrap();
        fs::write(dir.path().join(METRICS), metrics).unwrap();
        dir
    }

    #[test]
    fn half_a_line_null_and_garbage_are_passed_over() {
        let lines =
            "{\"step\":1,\"a\":0.5,\"b\":null}\nnoise\n[1]\n{\"step\":2,\"a\":0.25}\n{\"step\":3";
        let dir = folder("preset = 'x'", lines);
        let mut run = RunView::open(dir.path()).unwrap();
        assert_eq!((run.series.len(), run.step), (1, 2));
        assert_eq!(run.series[0].points(), [(1.0, 0.5), (2.0, 0.25)]);
        fs::write(dir.path().join(METRICS), format!("{lines},\"a\":0.125}}\n")).unwrap();
        run.refresh().unwrap();
        assert_eq!((run.step, run.series[0].last()), (3, (3, 0.125)));
    }

    #[test]
    fn a_run_that_goes_on_from_a_checkpoint_loses_what_was_cut() {
        let line = |step: u64| format!("{{\"step\":{step},\"a\":{step},\"step_ms\":2.0}}\n");
        let all: String = (1..=6).map(|i| line(5 * i)).collect();
        let dir = folder("preset = 'x'", &all);
        let mut run = RunView::open(dir.path()).unwrap();
        assert_eq!((run.step, run.line_steps), (30, 5));
        fs::write(dir.path().join(METRICS), line(5) + &line(10)).unwrap();
        run.refresh().unwrap();
        assert_eq!((run.step, run.series("a").unwrap().points().len()), (10, 2));
    }

    #[test]
    fn the_length_is_what_the_run_says_else_what_a_plan_in_steps_says() {
        let of = |plan: &str, said: &str| {
            let dir = folder(plan, "");
            fs::write(dir.path().join(STEPS), said).unwrap();
            RunView::open(dir.path()).unwrap().total_steps
        };
        let steps = "[train]\nmax_steps = 30\nepochs = 0";
        let epochs = "[train]\nmax_steps = 30\nepochs = 2";
        assert_eq!([of(steps, ""), of(epochs, ""), of(epochs, "12\n")], [Some(30), None, Some(12)]);
        assert_eq!(of("[train]\nmax_steps = 30\nepochs = 0\nteacher_epochs = 1", ""), None);
        assert_eq!([of("preset = 'x'", "noise"), of("train = 3", "7")], [None, Some(7)]);
    }

    #[test]
    fn nothing_in_a_folder_commands_the_terminal() {
        let dir = folder("preset = \"\\u001b[2J\"", "{\"step\":1,\"\\u001b[2J\":1.0}\n");
        fs::write(dir.path().join(LOG), "a\x1b]0;b\x07\n").unwrap();
        let run = RunView::open(dir.path()).unwrap();
        assert!(run.series.is_empty());
        let texts = [&run.preset, &run.log[0]];
        assert!(texts.iter().all(|text| !text.contains(char::is_control)), "{texts:?}");
    }
}
