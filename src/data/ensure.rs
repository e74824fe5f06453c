//! Data that a preset needs, fetched and built when it is missing. The folder's name holds a
//! digest of the whole description, so that another description never finds this data.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use super::builders::arc::{self, ArcOptions};
use super::builders::maze::{self, MazeOptions};
use super::builders::sudoku::{self, SudokuOptions};
use super::dataset::DataSet;
use super::fetch::{self, Source};
use super::manifest;
use super::overlap;
use crate::io::file;
use crate::io::progress::Progress;
use crate::{Error, Result};

/// A data set by description.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum BuildSpec {
    Arc { source: Source, options: ArcOptions },
    Sudoku { options: SudokuOptions },
    Maze { options: MazeOptions },
}

/// Part of the description of ARC data: data sets that held out by name only have another name.
const HELD_OUT_BY: &[u8] = b"held out by content";

impl BuildSpec {
    /// `arc1-canvas7-aug100-3f2a91c4`
    pub fn folder_name(&self) -> String {
        let mut json = serde_json::to_vec(self).unwrap_or_default();
        if matches!(self, BuildSpec::Arc { .. }) {
            json.extend(HELD_OUT_BY);
        }
        let digest = &blake3::hash(&json).to_hex()[..8];
        match self {
            BuildSpec::Arc { source, options } => {
                let ArcOptions { canvas, num_aug, .. } = options;
                format!("{}-canvas{canvas}-aug{num_aug}-{digest}", source.name())
            }
            BuildSpec::Sudoku { options } => format!("sudoku{}-{digest}", options.size),
            BuildSpec::Maze { options } => format!("maze{}-{digest}", options.size),
        }
    }
}

/// `<data_dir>/raw/arc1`, fetched if it is not there.
pub fn ensure_raw(data_dir: &Path, source: Source, progress: Progress) -> Result<PathBuf> {
    let raw_dir = data_dir.join("raw");
    let dir = raw_dir.join(source.name());
    if file::exists(&dir.join(fetch::MARKER))? {
        return Ok(dir);
    }
    fetch::fetch(source, None, &raw_dir, progress)
}

/// `<data_dir>/<folder_name>`, built if it is not there. A damaged data set is an error, not a
/// reason to build over it.
pub fn ensure(data_dir: &Path, spec: &BuildSpec, progress: Progress) -> Result<DataSet> {
    let dir = data_dir.join(spec.folder_name());
    if !file::exists(&dir.join(manifest::FILE))? {
        let _lock = lock(data_dir, progress)?;
        build(data_dir, &dir, spec, progress)?;
    }
    DataSet::open(&dir)
}

/// Held while data is made in the folder: whoever comes second waits and finds it made. The lock
/// ends with the process, however that ends.
fn lock(data_dir: &Path, progress: Progress) -> Result<File> {
    file::create_dir(data_dir)?;
    let path = data_dir.join(LOCK);
    let file = File::options().create(true).append(true).open(&path);
    let file = file.map_err(Error::io(&path, "open"))?;
    match file.try_lock() {
        Ok(()) => return Ok(file),
        Err(TryLockError::WouldBlock) => {}
        Err(TryLockError::Error(e)) => return Err(Error::io(&path, "lock")(e)),
    }
    progress.note(&format!(
        "another process makes data in {}: waiting for it to end",
        data_dir.display()
    ));
    file.lock().map_err(Error::io(&path, "lock"))?;
    Ok(file)
}

const LOCK: &str = ".making-data.lock";

fn build(data_dir: &Path, dir: &Path, spec: &BuildSpec, progress: Progress) -> Result<()> {
    if !file::exists(&dir.join(manifest::FILE))? {
        if file::exists(dir)? {
            return Err(Error::invalid(format!(
                "{}: is an unfinished or foreign folder where the data set should be: remove it",
                dir.display()
            )));
        }
        progress.note(&format!("building {}", dir.display()));
        match spec {
            BuildSpec::Arc { source, options } => {
                let raw = ensure_raw(data_dir, *source, progress)?;
                let (_, report) = arc::build(&[raw], dir, options, progress)?;
                if let Some(first) = report.unreadable.first() {
                    std::fs::remove_dir_all(dir).map_err(Error::io(dir, "remove"))?;
                    return Err(Error::invalid(format!("{first}; fetch the tasks anew")));
                }
                if report.held_out_by_content > 0 {
                    progress.note(&overlap::words_left_out(report.held_out_by_content));
                }
            }
            BuildSpec::Sudoku { options } => {
                sudoku::generate(dir, options, progress)?;
            }
            BuildSpec::Maze { options } => {
                maze::generate(dir, options, progress)?;
            }
        }
    }
    Ok(())
}
