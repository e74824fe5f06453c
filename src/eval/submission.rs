//! `submission.json` as ARC Prize takes it: for each task a list with, per test input in the task's
//! order, `attempt_1` and `attempt_2`. With one candidate both are the same; with none both are one
//! black cell, which the format needs and which is never counted as an answer; so is an empty grid.
//! Every test input of every task of the split is there, asked or not.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use super::Evaluation;
use super::answered::{answered, place};
use super::pass::Voted;
use super::question::names;
use crate::data::{DataSet, Grid, Kind};
use crate::io::file;
use crate::io::json::{self, Object};
use crate::{Error, Result};

pub const FILE: &str = "submission.json";

pub fn write(path: &Path, data: &DataSet, split: &str, voted: &[Voted]) -> Result<()> {
    let (names, shard) = (names(data, split)?, data.split(split)?);
    let mut tasks: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
    for (puzzle, name) in names.iter().enumerate() {
        let inputs = shard.puzzle_range(puzzle)?.len();
        let task = tasks.entry(&name.task).or_default();
        task.resize_with(inputs.max(task.len()), || attempts(std::iter::empty()));
    }
    for v in voted {
        let place = tasks.get_mut(&*v.question.task).and_then(|t| t.get_mut(v.question.number));
        if let Some(place) = place {
            *place = attempts(v.candidates.iter().map(|c| &c.grid));
        }
    }
    let json = serde_json::to_vec(&tasks);
    file::write(path, &json.map_err(|e| Error::invalid(format!("submission: {e}")))?)
}

type Rows = Vec<Vec<i64>>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Attempts {
    attempt_1: Rows,
    attempt_2: Rows,
}

/// Whether a text that begins with an object has answers by task, not an example per line.
pub(super) fn is_by_task(text: &[u8]) -> bool {
    let mut values = serde_json::Deserializer::from_slice(text).into_iter();
    let first: Option<serde_json::Result<BTreeMap<String, IgnoredAny>>> = values.next();
    matches!(first, Some(Ok(fields)) if !fields.contains_key("example"))
}

/// Attempts at the test inputs of each task; the one that Kaggle's `*_solutions.json` has counts as
/// both.
fn parse(text: &[u8]) -> Result<BTreeMap<String, Vec<Attempts>>, String> {
    if let Ok(solutions) = json::parse::<BTreeMap<String, Vec<Rows>>>(text) {
        let both = |rows: Rows| Attempts { attempt_1: rows.clone(), attempt_2: rows };
        let task = |(id, grids): (_, Vec<_>)| (id, grids.into_iter().map(both).collect());
        return Ok(solutions.into_iter().map(task).collect());
    }
    let tasks: BTreeMap<String, Vec<Object<Attempts>>> = json::parse(text).map_err(|e| {
        format!(
            "neither an object per line with \"example\" and \"answer\", nor submission.json with \
             \"attempt_1\" and \"attempt_2\" per test input, nor Kaggle's *_solutions.json: {e}"
        )
    })?;
    let plain = |(id, inputs): (_, Vec<_>)| (id, inputs.into_iter().map(|Object(a)| a).collect());
    Ok(tasks.into_iter().map(plain).collect())
}

/// The attempts at the tasks as published, each a row of its own; the first one counts as believed
/// more.
pub(super) fn read(text: &[u8], data: &DataSet, split: &str) -> Result<Evaluation, String> {
    let tasks = parse(text)?;
    if data.kind() != Kind::Arc {
        return Err(format!(
            "is a submission to ARC, but the data set holds {}",
            data.kind().name()
        ));
    }
    let text = |e: Error| e.to_string();
    let (names, shard) = (names(data, split).map_err(text)?, data.split(split).map_err(text)?);
    let mut out = answered(data, split);
    for (task, inputs) in tasks {
        let found = names.iter().position(|name| name.task == task && name.is_original());
        let puzzle = found.ok_or_else(|| format!("task {task} is not in split {split}"))?;
        let examples = shard.puzzle_range(puzzle).map_err(text)?;
        if examples.len() != inputs.len() {
            let (has, asked) = (inputs.len(), examples.len());
            return Err(format!("task {task}: answers {has} test inputs, but it has {asked}"));
        }
        for (number, (i, attempts)) in examples.zip(inputs).enumerate() {
            let example = data.example(split, i).map_err(text)?;
            let Attempts { attempt_1, attempt_2 } = attempts;
            let both = attempt_1 != attempt_2;
            let attempts = [(attempt_1, 1.0), (attempt_2, 0.0)];
            for (rows, belief) in attempts.into_iter().take(1 + both as usize) {
                let at = |what| format!("task {task}, test input {number}: {what}");
                let grid = Grid::from_arc_rows(&rows).map_err(|what| at(format!("grid {what}")))?;
                out.tokens.extend(place(&grid, &example, data).map_err(at)?);
                out.examples.push(i as u32);
                out.q.push([belief, 0.0]);
            }
        }
    }
    Ok(out)
}

/// The two attempts at one test input, of its answers, best first.
pub fn attempts<'a>(mut answers: impl Iterator<Item = &'a Grid>) -> Value {
    let shown = |grid: &Grid| if grid.is_empty() { json!([[0]]) } else { json!(grid) };
    let first = answers.next().map_or_else(|| json!([[0]]), shown);
    let second = answers.next().map_or_else(|| first.clone(), shown);
    json!({ "attempt_1": first, "attempt_2": second })
}
