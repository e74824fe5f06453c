//! Finds and reads ARC task files: `<dir>/training/*.json`, `<dir>/evaluation/*.json`. A folder
//! of any other name counts as training, as in the official builder (ConceptARC).

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::data::task::Task;
use crate::{Error, Result};

#[derive(Clone, Debug)]
pub struct SourceTask {
    pub task: Task,
    pub evaluation: bool,
}

pub struct Sources {
    /// By task id.
    pub tasks: Vec<SourceTask>,
    /// Task ids met more than once; the evaluation task is kept, so that no test pair of it can
    /// be trained on.
    pub duplicates: usize,
    /// BLAKE3 over ids, sets and file contents, wherever the files are.
    pub digest: String,
}

pub fn read(dataset_dirs: &[PathBuf]) -> Result<Sources> {
    let mut files: Vec<(PathBuf, bool)> = vec![];
    for dir in dataset_dirs {
        let found = task_files(dir)?;
        if found.is_empty() {
            return Err(Error::invalid(format!(
                "{}: no task files; expected training/*.json and evaluation/*.json \
                 (`hrm data fetch arc1` gets them)",
                dir.display()
            )));
        }
        files.extend(found);
    }
    let read = |(path, evaluation): &(PathBuf, bool)| {
        let text = fs::read(path).map_err(Error::io(path, "read task"))?;
        let id = path.file_stem().unwrap_or_default().to_string_lossy();
        let task = Task::parse(&id, &text).map_err(|what| Error::corrupt(path, what))?;
        Ok((SourceTask { task, evaluation: *evaluation }, blake3::hash(&text)))
    };
    let read: Vec<_> = files.par_iter().map(read).collect::<Result<_>>()?;

    let count = read.len();
    let mut by_id: BTreeMap<String, (SourceTask, blake3::Hash)> = BTreeMap::new();
    for (source, hash) in read {
        let known = by_id.get(&source.task.id);
        if known.is_none_or(|(known, _)| source.evaluation && !known.evaluation) {
            by_id.insert(source.task.id.clone(), (source, hash));
        }
    }
    let mut digest = blake3::Hasher::new();
    for (id, (source, hash)) in &by_id {
        digest.update(id.as_bytes()).update(&[0, source.evaluation as u8]).update(hash.as_bytes());
    }
    Ok(Sources {
        duplicates: count - by_id.len(),
        digest: digest.finalize().to_hex().to_string(),
        tasks: by_id.into_values().map(|(source, _)| source).collect(),
    })
}

/// (file, is it an evaluation task), sorted; files beside the set folders count only if there
/// are no sets. A repository's top folder works too: its tasks are in `data`.
fn task_files(dir: &Path) -> Result<Vec<(PathBuf, bool)>> {
    let nested = dir.join("data");
    let has_sets = |d: &Path| d.join("training").is_dir() || d.join("evaluation").is_dir();
    let dir = if !has_sets(dir) && has_sets(&nested) { nested.as_path() } else { dir };
    let mut files = vec![];
    for set in entries(dir)?.into_iter().filter(|p| p.is_dir()) {
        let evaluation = set.file_name().is_some_and(|n| n == "evaluation");
        files.extend(json_files(&set)?.into_iter().map(|f| (f, evaluation)));
    }
    if files.is_empty() {
        files.extend(json_files(dir)?.into_iter().map(|f| (f, false)));
    }
    Ok(files)
}

fn json_files(dir: &Path) -> Result<Vec<PathBuf>> {
    let is_json = |p: &PathBuf| p.extension().is_some_and(|e| e == "json") && p.is_file();
    Ok(entries(dir)?.into_iter().filter(is_json).collect())
}

fn entries(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut paths = vec![];
    for entry in fs::read_dir(dir).map_err(Error::io(dir, "read dataset folder"))? {
        paths.push(entry.map_err(Error::io(dir, "read dataset folder"))?.path());
    }
    paths.sort();
    Ok(paths)
}
