//! What solving a task leaves in a folder: `prediction.json` and `prediction.png`, each whole or
//! not there.

use std::path::Path;

use serde_json::{Value, json};

use super::outcome::Outcome;
use crate::data::sheet::{self, Panel};
use crate::data::{Kind, Task};
use crate::eval::submission;
use crate::io::file;
use crate::{Error, Result};

pub fn write(dir: &Path, task: &Task, outcome: &Outcome) -> Result<()> {
    file::create_dir(dir)?;
    let tiles: Vec<Vec<Panel>> = (0..outcome.tests.len())
        .map(|i| panels(outcome, i).into_iter().map(|(_, panel)| panel).collect())
        .collect();
    let own = task.train.iter().map(|p| vec![Panel::plain(&p.input), Panel::plain(&p.output)]);
    let tiles: Vec<Vec<Panel>> = own.chain(tiles).collect();
    sheet::write(&dir.join("prediction.png"), &tiles, Kind::Arc)?;
    let mut json = serde_json::to_vec_pretty(&prediction(outcome))
        .map_err(|e| Error::invalid(format!("prediction: {e}")))?;
    json.push(b'\n');
    file::write(&dir.join("prediction.json"), &json)
}

/// The outcome, and the two attempts per test input as the ARC Prize wants them.
pub fn prediction(outcome: &Outcome) -> Value {
    let attempts = outcome
        .tests
        .iter()
        .map(|test| submission::attempts(test.attempts.iter().map(|a| &a.grid)));
    let attempts: Vec<Value> = attempts.collect();
    let mut all = json!(outcome);
    all["trust"] = json!(outcome.trust());
    all["submission"] = json!({ &outcome.task: attempts });
    all
}

/// Input, expected (where the file says it) and the attempts, wrong cells marked.
pub fn panels(outcome: &Outcome, test: usize) -> Vec<(&'static str, Panel)> {
    let test = &outcome.tests[test];
    let mut panels = vec![("input", Panel::plain(&test.input))];
    panels.extend(test.output.as_ref().map(|output| ("expected", Panel::plain(output))));
    for (title, attempt) in ["attempt 1", "attempt 2"].into_iter().zip(&test.attempts) {
        panels.push((
            title,
            match &test.output {
                Some(output) => Panel::judged(&attempt.grid, output),
                None => Panel::plain(&attempt.grid),
            },
        ));
    }
    panels
}
