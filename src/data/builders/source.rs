//! Finds and reads ARC task files: `<dir>/training/*.json`, `<dir>/evaluation/*.json`, or Kaggle's
//! combined files. A folder of any other name counts as training, as in the official builder
//! (ConceptARC), unless the name says that it is there to be tested on.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::data::augment::PuzzleName;
use crate::data::combined::{self, Entry};
use crate::data::task::{MAX_FILE_BYTES, Task};
use crate::io::file;
use crate::{Error, Result};

#[derive(Clone, Debug)]
pub struct SourceTask {
    pub task: Task,
    pub evaluation: bool,
}

pub struct Sources {
    /// By task id.
    pub tasks: Vec<SourceTask>,
    /// Task ids met more than once. The copy that hides fewer answers is kept, then the evaluation
    /// task, so that no test pair of it can be trained on, then the first one.
    pub duplicates: usize,
    /// Task files that could not be read, each with the reason.
    pub unreadable: Vec<String>,
    /// Visible files beside the tasks that are no task files.
    pub other_files: usize,
    /// BLAKE3 over ids, sets and file contents, wherever the files are.
    pub digest: String,
}

/// Folders below a set, as ConceptARC has them.
const MAX_DEPTH: usize = 4;

#[derive(Default)]
struct Found {
    /// (file, is it an evaluation task)
    files: Vec<(PathBuf, bool)>,
    other_files: usize,
}

/// A task that was read, or why not.
type Read = Result<(SourceTask, blake3::Hash)>;

pub fn read(dataset_dirs: &[PathBuf]) -> Result<Sources> {
    let mut found = Found::default();
    for dir in dataset_dirs {
        let before = found.files.len();
        found.task_files(dir)?;
        if found.files.len() == before {
            return Err(Error::invalid(format!(
                "{}: no task files; expected training/*.json and evaluation/*.json \
                 (`hrm data fetch arc1` gets them)",
                dir.display()
            )));
        }
    }
    let read = |(path, evaluation): &(PathBuf, bool)| -> Vec<Read> {
        if combined::is_challenges(path) {
            let task = |(id, text): Entry| parse(path, &id, &text?, *evaluation);
            return match combined::read(path) {
                Ok(tasks) => tasks.into_iter().map(task).collect(),
                Err(e) => vec![Err(e)],
            };
        }
        if combined::is_part(path) {
            let challenges = combined::challenges_of(path);
            let what = format!("answers without their tasks: {} is missing", challenges.display());
            return vec![Err(Error::corrupt(path, what))];
        }
        let id = path.file_stem().unwrap_or_default().to_string_lossy();
        let text = file::read_at_most(path, MAX_FILE_BYTES);
        vec![text.and_then(|text| parse(path, &id, &text, *evaluation))]
    };
    let (mut count, mut errors) = (0, vec![]);
    let mut by_id: BTreeMap<String, (SourceTask, blake3::Hash)> = BTreeMap::new();
    for read in found.files.par_iter().map(read).collect::<Vec<_>>().into_iter().flatten() {
        let (source, hash) = match read {
            Ok(read) => read,
            Err(e) => {
                errors.push(e);
                continue;
            }
        };
        count += 1;
        let rank = |source: &SourceTask| (Reverse(source.task.hidden()), source.evaluation);
        let known = by_id.get(&source.task.id);
        if known.is_none_or(|(known, _)| rank(&source) > rank(known)) {
            by_id.insert(source.task.id.clone(), (source, hash));
        }
    }
    if by_id.is_empty()
        && let Some(first) = errors.drain(..).next()
    {
        return Err(first);
    }
    let mut digest = blake3::Hasher::new();
    for (id, (source, hash)) in &by_id {
        digest.update(id.as_bytes()).update(&[0, source.evaluation as u8]).update(hash.as_bytes());
    }
    Ok(Sources {
        duplicates: count - by_id.len(),
        unreadable: errors.iter().map(Error::to_string).collect(),
        other_files: found.other_files,
        digest: digest.finalize().to_hex().to_string(),
        tasks: by_id.into_values().map(|(source, _)| source).collect(),
    })
}

fn parse(path: &Path, id: &str, text: &[u8], evaluation: bool) -> Read {
    let named = PuzzleName::parse(id);
    if named.task != id {
        let what = format!("task {id:?} has the name of a variant of {:?}: rename it", named.task);
        return Err(Error::corrupt(path, what));
    }
    let task = Task::parse(id, text).map_err(|what| Error::corrupt(path, what))?;
    Ok((SourceTask { task, evaluation }, blake3::hash(text)))
}

impl Found {
    /// Files beside the set folders count only if there are no sets. A repository's top folder
    /// works too: its tasks are in `data`.
    fn task_files(&mut self, dir: &Path) -> Result<()> {
        let nested = dir.join("data");
        let has_sets = |d: &Path| -> Result<bool> {
            Ok(file::exists(&d.join("training"))? || file::exists(&d.join("evaluation"))?)
        };
        let dir = if !has_sets(dir)? && has_sets(&nested)? { nested.as_path() } else { dir };
        let before = self.files.len();
        for set in entries(dir)?.into_iter().filter(|p| p.is_dir()) {
            let name = set.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
            let (evaluation, others) = (name == "evaluation", self.files.len());
            self.json_files(&set, evaluation, MAX_DEPTH)?;
            let tested = ["eval", "test", "valid", "hidden"].iter().any(|part| name.contains(part));
            if self.files.len() > others && tested && !evaluation {
                return Err(Error::invalid(format!(
                    "{}: by its name it holds tasks to test on, but only a folder `evaluation` is \
                     kept out of training: rename it, or move it away",
                    set.display()
                )));
            }
        }
        if self.files.len() == before {
            self.json_files(dir, false, 0)?;
        }
        Ok(())
    }

    /// Files of a folder, and of those below it down to `depth`.
    fn json_files(&mut self, dir: &Path, evaluation: bool, depth: usize) -> Result<()> {
        for path in entries(dir)? {
            if path.is_dir() {
                if depth > 0 {
                    self.json_files(&path, evaluation, depth - 1)?;
                }
            } else if combined::is_challenges(&path) {
                let evaluation = evaluation || combined::is_evaluation(&path);
                self.files.push((path, evaluation));
            } else if combined::is_alone(&path)? {
                self.files.push((path, evaluation));
            } else if combined::is_part(&path) {
                self.other_files += usize::from(combined::is_sample(&path));
            } else if path.extension().is_some_and(|e| e == "json" || e == "jsonl") {
                self.files.push((path, evaluation));
            } else {
                self.other_files += 1;
            }
        }
        Ok(())
    }
}

/// What a folder holds, in order of names. Hidden files (`.DS_Store`, `._task.json`) are none.
fn entries(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut paths = vec![];
    for entry in fs::read_dir(dir).map_err(Error::io(dir, "read dataset folder"))? {
        let entry = entry.map_err(Error::io(dir, "read dataset folder"))?;
        if !is_hidden(&entry.file_name().to_string_lossy()) {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}

/// What macOS and others leave in folders and zip files.
pub fn is_hidden(name: &str) -> bool {
    name.starts_with('.') || name == "__MACOSX"
}
