//! Kaggle's form of ARC: all tasks of a set in `*_challenges.json`, `{id: task}`, and the outputs
//! of their test pairs beside it in `*_solutions.json`, `{id: [grid, ..]}`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::io::file;
use crate::{Error, Result};

const CHALLENGES: &str = "_challenges.json";
const SOLUTIONS: &str = "_solutions.json";
/// A thousand tasks have about 10 MB.
const MAX_FILE_BYTES: u64 = 256 << 20;

pub fn is_challenges(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().ends_with(CHALLENGES))
}

/// Whether a file belongs to this form, tasks or solutions.
pub fn is_part(path: &Path) -> bool {
    is_challenges(path)
        || path.file_name().is_some_and(|name| name.to_string_lossy().ends_with(SOLUTIONS))
}

/// Only a set that calls itself training is trained on.
pub fn is_evaluation(challenges: &Path) -> bool {
    !challenges.file_name().is_some_and(|name| name.to_string_lossy().contains("training"))
}

/// The tasks of a set as files of their own would hold them, by id.
pub fn read(challenges: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut tasks: BTreeMap<String, Value> = parse(challenges)?;
    let name = challenges.to_string_lossy();
    let solutions = PathBuf::from(name.replace(CHALLENGES, SOLUTIONS));
    let mut outputs: BTreeMap<String, Vec<Value>> = match file::exists(&solutions)? {
        true => parse(&solutions)?,
        false => BTreeMap::new(),
    };
    for (id, task) in &mut tasks {
        let Some(outputs) = outputs.remove(id) else { continue };
        let pairs = task.get_mut("test").and_then(Value::as_array_mut);
        let pairs = pairs.filter(|pairs| pairs.len() == outputs.len()).ok_or_else(|| {
            let count = outputs.len();
            Error::corrupt(&solutions, format!("{id}: {count} outputs for other test pairs"))
        })?;
        for (pair, output) in pairs.iter_mut().zip(outputs) {
            if let Some(pair) = pair.as_object_mut() {
                pair.insert("output".into(), output);
            }
        }
    }
    if let Some(id) = outputs.keys().next() {
        let (count, name) = (outputs.len(), challenges.display());
        let what = format!("{count} tasks such as {id} do not stand in {name}");
        return Err(Error::corrupt(&solutions, what));
    }
    Ok(tasks.into_iter().map(|(id, task)| (id, task.to_string().into_bytes())).collect())
}

fn parse<T: serde::de::DeserializeOwned>(path: &Path) -> Result<BTreeMap<String, T>> {
    let text = file::read_at_most(path, MAX_FILE_BYTES)?;
    let parsed = serde_json::from_slice(file::without_bom(&text));
    parsed.map_err(|e| Error::corrupt(path, format!("not tasks or solutions by id: {e}")))
}
