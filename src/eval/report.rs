//! What an evaluation found: a table for people, `eval.json` for scripts, every answer, pictures of
//! the first right and wrong ones. The model's column never stands without the identity baseline's.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::Path;

use serde_json::json;

use super::Evaluation;
use super::score::{Answers, Scores, Share, Verdict, answered_grid, score};
use crate::data::manifest::write_atomically;
use crate::data::sheet::{self, Panel};
use crate::data::{DataSet, Grid, Kind};
use crate::ops::act_halt::metric;
use crate::{Error, Result};

/// Pictures per sheet.
const PICTURES: usize = 24;

#[derive(Clone, Debug, serde::Serialize)]
pub struct Report {
    pub data_dir: String,
    pub data_digest: String,
    #[serde(skip)]
    pub kind: Kind,
    pub split: String,
    pub examples: usize,
    /// Examples of the split, evaluated or not.
    pub split_examples: usize,
    /// Examples that belong to a task as published.
    pub originals: usize,
    pub tasks: usize,
    pub model: Scores,
    pub identity_baseline: Scores,
    /// The official evaluation's means.
    pub official: Official,
    /// Segments run for each example.
    pub act_steps: u32,
    /// Mean segment at which training's rule would have halted.
    pub act_steps_wanted: f64,
    pub wall_s: f64,
    pub ms_per_example: f64,
    pub s_per_task: f64,
    #[serde(skip)]
    pub verdicts: Vec<Verdict>,
}

#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Official {
    pub lm_loss: f64,
    pub accuracy: f64,
    pub exact_accuracy: f64,
    pub q_halt_accuracy: f64,
}

/// Score an evaluation and the identity baseline on the same examples.
pub fn report(data: &DataSet, evaluation: &Evaluation) -> Result<Report> {
    let (split, examples) = (evaluation.split.as_str(), &evaluation.examples[..]);
    let model = score(data, split, examples, Answers::Rows(&evaluation.tokens))?;
    let identity = score(data, split, examples, Answers::Input)?;
    let tasks = count_tasks(data, split, examples)?;
    let wall_s = evaluation.wall_s;
    Ok(Report {
        data_dir: data.dir().display().to_string(),
        data_digest: data.digest(),
        kind: data.kind(),
        split: split.to_owned(),
        examples: examples.len(),
        split_examples: data.split(split)?.examples(),
        originals: model.verdicts.iter().filter(|v| v.original).count(),
        tasks,
        model: model.scores,
        identity_baseline: identity.scores,
        official: Official {
            lm_loss: evaluation.mean(metric::LM_LOSS),
            accuracy: evaluation.mean(metric::ACCURACY),
            exact_accuracy: evaluation.mean(metric::EXACT_ACCURACY),
            q_halt_accuracy: evaluation.mean(metric::Q_HALT_ACCURACY),
        },
        act_steps: evaluation.steps,
        act_steps_wanted: evaluation.mean_halt_steps(),
        wall_s,
        ms_per_example: wall_s * 1e3 / examples.len().max(1) as f64,
        s_per_task: wall_s / tasks.max(1) as f64,
        verdicts: model.verdicts,
    })
}

/// Groups of the split that at least one of `examples` belongs to.
fn count_tasks(data: &DataSet, split: &str, examples: &[u32]) -> Result<usize> {
    let shard = data.split(split)?;
    let mut first_of_group = vec![];
    for group in 0..shard.groups() {
        let puzzles = shard.group_range(group)?;
        let first = match puzzles.is_empty() {
            true => continue,
            false => shard.puzzle_range(puzzles.start)?.start as u32,
        };
        first_of_group.push(first);
    }
    let mut groups: Vec<usize> =
        examples.iter().map(|i| first_of_group.partition_point(|first| first <= i)).collect();
    groups.sort_unstable();
    groups.dedup();
    Ok(groups.len())
}

impl Report {
    pub fn table(&self) -> String {
        let (model, identity) = (&self.model, &self.identity_baseline);
        let arc = self.kind == Kind::Arc;
        let percent = |x: f64| format!("{:.2} %", 100.0 * x);
        let count = |s: &Share| format!("{}/{}", s.right, s.of);
        let mut lines = vec![
            (
                "token accuracy, with padding",
                percent(model.token_accuracy),
                percent(identity.token_accuracy),
            ),
            (
                "token accuracy, without",
                percent(model.token_accuracy_not_pad),
                percent(identity.token_accuracy_not_pad),
            ),
            ("cell accuracy", percent(model.cell_accuracy), percent(identity.cell_accuracy)),
        ];
        if arc {
            lines.push(("right shape", count(&model.same_shape), count(&identity.same_shape)));
        }
        let exact = if arc { "exact grids" } else { "exact boards" };
        lines.push((exact, count(&model.exact), count(&identity.exact)));
        for (name, ours, theirs) in [
            ("pass@1, tasks as published", model.pass_at_1, identity.pass_at_1),
            ("tasks solved", model.tasks_solved, identity.tasks_solved),
        ] {
            if let (Some(ours), Some(theirs)) = (ours, theirs) {
                lines.push((name, count(&ours), count(&theirs)));
            }
        }
        let mut text = self.heading();
        let _ = writeln!(text, "{:<30}{:>14}{:>18}", "", "model", "copy of the input");
        for (name, ours, theirs) in lines {
            let _ = writeln!(text, "{name:<30}{ours:>14}{theirs:>18}");
        }
        let _ = writeln!(
            text,
            "ACT steps: {} run, {:.2} wanted; {:.1} ms per example, {:.2} s per task, {:.1} s in all",
            self.act_steps,
            self.act_steps_wanted,
            self.ms_per_example,
            self.s_per_task,
            self.wall_s
        );
        text
    }

    fn heading(&self) -> String {
        let (split, dir) = (&self.split, &self.data_dir);
        let mut text =
            format!("split {split} of {dir}: {} of {} ", self.examples, self.split_examples);
        let variants = self.examples - self.originals;
        let _ = match self.kind {
            Kind::Arc => writeln!(
                text,
                "examples, {} tasks ({} pairs as published, {variants} of their variants)",
                self.tasks, self.originals
            ),
            _ => writeln!(text, "boards"),
        };
        text
    }

    /// `eval.json`, `predictions.jsonl`, `right.png`, `wrong.png` (a picture only if there is
    /// something to show; one of an earlier evaluation is removed).
    pub fn write(&self, dir: &Path, data: &DataSet, evaluation: &Evaluation) -> Result<()> {
        fs::create_dir_all(dir).map_err(Error::io(dir, "create folder"))?;
        self.write_predictions(&dir.join("predictions.jsonl"), data, evaluation)?;
        for (name, exact) in [("right.png", true), ("wrong.png", false)] {
            self.write_pictures(&dir.join(name), data, evaluation, exact)?;
        }
        let mut json = serde_json::to_vec_pretty(self)
            .map_err(|e| Error::invalid(format!("evaluation: {e}")))?;
        json.push(b'\n');
        write_atomically(&dir.join("eval.json"), &json)
    }

    /// One line per example: which one, what was answered (one hexadecimal digit per cell: colours, or
    /// a board's tokens), how right it is.
    fn write_predictions(
        &self,
        path: &Path,
        data: &DataSet,
        evaluation: &Evaluation,
    ) -> Result<()> {
        let io = || Error::io(path, "write (disk full?)");
        let mut file = BufWriter::new(File::create(path).map_err(io())?);
        let names = data.identifiers()?;
        for (i, verdict) in self.verdicts.iter().enumerate() {
            let example = data.example(&self.split, evaluation.examples[i] as usize)?;
            let grid = self.answer(data, evaluation, i)?;
            let rows = |g: &Grid| g.rows().map(digits).collect::<Vec<_>>();
            let line = json!({
                "example": evaluation.examples[i],
                "puzzle": names.get(example.puzzle_id as usize),
                "original": verdict.original,
                "answer": rows(&grid),
                "exact": verdict.exact,
                "cells": verdict.cells,
                "q_halt": evaluation.q[i][0],
                "q_continue": evaluation.q[i][1],
                "halt_step": evaluation.halt_steps[i],
            });
            writeln!(file, "{line}").map_err(io())?;
        }
        file.flush().map_err(io())
    }

    /// Input, expected, answered; wrong cells marked.
    fn write_pictures(
        &self,
        path: &Path,
        data: &DataSet,
        evaluation: &Evaluation,
        exact: bool,
    ) -> Result<()> {
        let chosen = (0..self.verdicts.len()).filter(|&i| self.verdicts[i].exact == exact);
        let tiles = chosen.take(PICTURES).map(|i| {
            let pair = data.example(&self.split, evaluation.examples[i] as usize)?.pair;
            let answer = Panel::judged(&self.answer(data, evaluation, i)?, &pair.output);
            Ok(vec![Panel::plain(&pair.input), Panel::plain(&pair.output), answer])
        });
        let tiles = tiles.collect::<Result<Vec<_>>>()?;
        if tiles.is_empty() {
            return match fs::remove_file(path) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                    Err(Error::io(path, "remove the old picture")(e))
                }
                _ => Ok(()),
            };
        }
        sheet::write(path, &tiles, self.kind)
    }

    fn answer(&self, data: &DataSet, evaluation: &Evaluation, i: usize) -> Result<Grid> {
        let example = data.example(&self.split, evaluation.examples[i] as usize)?;
        let row: Vec<i32> = evaluation.row(i).iter().map(|&t| t as i32).collect();
        Ok(answered_grid(self.kind, &row, example.input_at, data.canvas()))
    }
}

fn digits(cells: &[u8]) -> String {
    cells.iter().filter_map(|&c| char::from_digit(c as u32, 16)).collect()
}
