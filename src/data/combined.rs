//! Kaggle's form of ARC: all tasks of a set in `*_challenges.json`, `{id: task}`, and the outputs
//! of their test pairs beside it in `*_solutions.json`, `{id: [grid, ..]}`. What has no solution,
//! or null, is a hidden test input.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::de::IgnoredAny;
use serde_json::Value;

use crate::io::{file, json};
use crate::{Error, Result};

const CHALLENGES: &str = "_challenges.json";
const SOLUTIONS: &str = "_solutions.json";
/// Shows how answers are handed in.
const SAMPLE: &str = "sample_submission.json";
/// A thousand tasks have about 10 MB.
const MAX_FILE_BYTES: u64 = 256 << 20;

/// The JSON of a task as a file of its own would hold it, or what is wrong with it.
pub type Entry = (String, Result<Vec<u8>>);

pub fn is_challenges(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().ends_with(CHALLENGES))
}

/// Whether a file belongs to this form: tasks, solutions, or the sample of a submission.
pub fn is_part(path: &Path) -> bool {
    is_challenges(path) || is_sample(path) || is_solutions(path)
}

/// Whether a file is the sample of a submission, which holds no task.
pub fn is_sample(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name == SAMPLE)
}

/// Whether a file holds outputs whose tasks are not beside it.
pub fn is_alone(path: &Path) -> Result<bool> {
    Ok(is_solutions(path) && !file::exists(&challenges_of(path))?)
}

fn is_solutions(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().ends_with(SOLUTIONS))
}

/// Only a set that calls itself training is trained on.
pub fn is_evaluation(challenges: &Path) -> bool {
    !challenges.file_name().is_some_and(|name| name.to_string_lossy().contains("training"))
}

/// Where the outputs of a set would be.
pub fn solutions_of(challenges: &Path) -> PathBuf {
    renamed(challenges, CHALLENGES, SOLUTIONS)
}

/// Where the tasks of a set's outputs would be.
pub fn challenges_of(solutions: &Path) -> PathBuf {
    renamed(solutions, SOLUTIONS, CHALLENGES)
}

fn renamed(path: &Path, from: &str, to: &str) -> PathBuf {
    path.with_file_name(path.file_name().unwrap_or_default().to_string_lossy().replace(from, to))
}

/// The tasks of a set, by id.
pub fn read(challenges: &Path) -> Result<Vec<Entry>> {
    let tasks = file::read_at_most(challenges, MAX_FILE_BYTES)?;
    let solutions = solutions_of(challenges);
    let outputs = match file::exists(&solutions)? {
        true => Some(file::read_at_most(&solutions, MAX_FILE_BYTES)?),
        false => None,
    };
    join(challenges, &tasks, outputs.as_deref())
}

/// Tasks of the texts of both files, wherever they come from.
pub fn join(challenges: &Path, tasks: &[u8], outputs: Option<&[u8]>) -> Result<Vec<Entry>> {
    let solutions = solutions_of(challenges);
    let corrupt = |path: &Path, e| Error::corrupt(path, format!("not tasks by their ids: {e}"));
    let tasks: BTreeMap<String, Value> = json::parse(tasks).map_err(|e| corrupt(challenges, e))?;
    let mut outputs: BTreeMap<String, Vec<Value>> = match outputs {
        Some(text) => json::parse(text).map_err(|e| corrupt(&solutions, e))?,
        None => BTreeMap::new(),
    };
    let mut entries: Vec<Entry> = vec![];
    for (id, task) in tasks {
        let task = match outputs.remove(&id) {
            None => Ok(task.to_string().into_bytes()),
            Some(outputs) => with_outputs(task, outputs)
                .map_err(|what| Error::corrupt(&solutions, format!("{id}: {what}"))),
        };
        entries.push((id, task));
    }
    for id in outputs.into_keys() {
        let what = format!("{id}: does not stand in {}: remove it here", challenges.display());
        entries.push((id, Err(Error::corrupt(&solutions, what))));
    }
    Ok(entries)
}

fn with_outputs(mut task: Value, outputs: Vec<Value>) -> Result<Vec<u8>, String> {
    let count = outputs.len();
    let pairs = task.get_mut("test").and_then(Value::as_array_mut);
    let pairs = pairs.ok_or("has outputs, but its task has no list \"test\"")?;
    if pairs.len() != count {
        let asked = pairs.len();
        return Err(format!(
            "{count} outputs, but the task has {asked} test inputs: give one for each, in their \
             order, null for one that is hidden"
        ));
    }
    for (pair, output) in pairs.iter_mut().zip(outputs) {
        if let Some(pair) = pair.as_object_mut().filter(|_| !output.is_null()) {
            pair.insert("output".into(), output);
        }
    }
    Ok(task.to_string().into_bytes())
}

/// Whether a file is a single task and not of this form.
pub fn is_one_task(path: &Path) -> Result<bool> {
    let text = file::read_at_most(path, MAX_FILE_BYTES)?;
    let fields: BTreeMap<String, IgnoredAny> = json::parse(&text).unwrap_or_default();
    let has_pairs = ["train", "test"].iter().all(|&field| fields.contains_key(field));
    Ok(has_pairs && tasks(&text).is_none())
}

/// The tasks of a text of this form, by id; `None` if it is something else, such as a task.
pub fn tasks(text: &[u8]) -> Option<BTreeMap<String, Value>> {
    let tasks: BTreeMap<String, Value> = json::parse(text).ok()?;
    let is_task = |task: &Value| task.get("train").is_some() && task.get("test").is_some();
    (!tasks.is_empty() && tasks.values().all(is_task)).then_some(tasks)
}
