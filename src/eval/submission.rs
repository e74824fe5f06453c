//! `submission.json` as ARC Prize takes it: for each task a list with, per test input in the task's
//! order, `attempt_1` and `attempt_2`. With one candidate both are the same; with none both are one
//! black cell, which the format needs and which is never counted as an answer.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use super::pass::Voted;
use crate::data::Grid;
use crate::io::file;
use crate::{Error, Result};

pub const FILE: &str = "submission.json";

pub fn write(path: &Path, voted: &[Voted]) -> Result<()> {
    let mut tasks: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
    for v in voted {
        let attempts = attempts(v.candidates.iter().map(|c| &c.grid));
        tasks.entry(&v.question.task).or_default().push(attempts);
    }
    let json = serde_json::to_vec(&tasks);
    file::write(path, &json.map_err(|e| Error::invalid(format!("submission: {e}")))?)
}

/// The two attempts at one test input, of its answers, best first.
pub fn attempts<'a>(mut answers: impl Iterator<Item = &'a Grid>) -> Value {
    let first = answers.next().map_or_else(|| json!([[0]]), |grid| json!(grid));
    let second = answers.next().map_or_else(|| first.clone(), |grid| json!(grid));
    json!({ "attempt_1": first, "attempt_2": second })
}
