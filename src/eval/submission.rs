//! `submission.json` as ARC Prize takes it: for each task a list with, per test input in the task's
//! order, `attempt_1` and `attempt_2`. With one candidate both are the same; with none both are one
//! black cell, which the format needs and which is never counted as an answer.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use super::pass::Voted;
use crate::data::Grid;
use crate::data::manifest::write_atomically;
use crate::{Error, Result};

pub const FILE: &str = "submission.json";

pub fn write(path: &Path, voted: &[Voted]) -> Result<()> {
    let mut tasks: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
    for v in voted {
        let first = v.candidates.first().map(|c| c.grid.clone());
        let first = first.unwrap_or_else(|| Grid::from_fn(1, 1, |_, _| 0));
        let second = v.candidates.get(1).map_or(&first, |c| &c.grid);
        let attempts = json!({ "attempt_1": rows(&first), "attempt_2": rows(second) });
        tasks.entry(&v.question.task).or_default().push(attempts);
    }
    let json = serde_json::to_vec(&tasks);
    write_atomically(path, &json.map_err(|e| Error::invalid(format!("submission: {e}")))?)
}

/// A grid as task files have it.
fn rows(grid: &Grid) -> Vec<Vec<u8>> {
    grid.rows().map(<[u8]>::to_vec).collect()
}
