//! Data that a preset needs, fetched and built when it is missing. The folder's name holds a
//! digest of the whole description, so that another description never finds this data.

use std::path::{Path, PathBuf};

use super::builders::arc::{self, ArcOptions};
use super::builders::maze::{self, MazeOptions};
use super::builders::sudoku::{self, SudokuOptions};
use super::dataset::DataSet;
use super::fetch::{self, Source};
use super::manifest;
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

impl BuildSpec {
    /// `arc1-canvas7-aug100-3f2a91c4`
    pub fn folder_name(&self) -> String {
        let json = serde_json::to_vec(self).unwrap_or_default();
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
    if dir.join(fetch::MARKER).exists() {
        return Ok(dir);
    }
    fetch::fetch(source, None, &raw_dir, progress)
}

/// `<data_dir>/<folder_name>`, built if it is not there. A damaged data set is an error, not a
/// reason to build over it.
pub fn ensure(data_dir: &Path, spec: &BuildSpec, progress: Progress) -> Result<DataSet> {
    let dir = data_dir.join(spec.folder_name());
    if !dir.join(manifest::FILE).exists() {
        if dir.exists() {
            return Err(Error::invalid(format!(
                "{}: is an unfinished or foreign folder where the data set should be: remove it",
                dir.display()
            )));
        }
        progress.note(&format!("building {}", dir.display()));
        match spec {
            BuildSpec::Arc { source, options } => {
                let raw = ensure_raw(data_dir, *source, progress)?;
                arc::build(&[raw], &dir, options, progress)?;
            }
            BuildSpec::Sudoku { options } => {
                sudoku::generate(&dir, options, progress)?;
            }
            BuildSpec::Maze { options } => {
                maze::generate(&dir, options, progress)?;
            }
        }
    }
    DataSet::open(&dir)
}
