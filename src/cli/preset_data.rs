//! The data set that a configuration describes, fetched and built under `data/` when missing.

use std::path::Path;

use crate::config::{DataConfig, Dataset};
use crate::data::DataSet;
use crate::data::builders::arc::ArcOptions;
use crate::data::builders::maze::MazeOptions;
use crate::data::builders::sudoku::SudokuOptions;
use crate::data::ensure::{self, BuildSpec};
use crate::data::fetch::Source;
use crate::io::file;
use crate::io::progress::Progress;
use crate::{Error, Result};

const DATA: &str = "data";

pub fn ensure(config: &DataConfig) -> Result<DataSet> {
    ensure::ensure(Path::new(DATA), &spec(config)?, Progress::Shown)
}

/// The data set if it was built before. Builds nothing.
pub fn built(config: &DataConfig) -> Result<Option<DataSet>> {
    let dir = Path::new(DATA).join(spec(config)?.folder_name());
    file::exists(&dir)?.then(|| DataSet::open(&dir)).transpose()
}

fn spec(config: &DataConfig) -> Result<BuildSpec> {
    let &DataConfig { canvas, num_aug, train_puzzles, test_puzzles, holdout, seed, .. } = config;
    let arc1_or_2 = |source| BuildSpec::Arc {
        source,
        options: ArcOptions { canvas, num_aug, seed, holdout, ..ArcOptions::default() },
    };
    let (size, train, test) = (canvas, train_puzzles, test_puzzles);
    Ok(match config.dataset {
        Dataset::Arc1 => arc1_or_2(Source::Arc1),
        Dataset::Arc2 => arc1_or_2(Source::Arc2),
        Dataset::Sudoku => BuildSpec::Sudoku {
            options: SudokuOptions { size, train, test, num_aug, seed, ..SudokuOptions::default() },
        },
        Dataset::Maze => BuildSpec::Maze {
            options: MazeOptions { size, train, test, augment: num_aug > 0, seed },
        },
        Dataset::SudokuExtreme => return Err(needs_csv("build-sudoku", "Sudoku-Extreme")),
        Dataset::MazeHard => return Err(needs_csv("build-maze", "Maze-Hard")),
    })
}

fn needs_csv(command: &str, name: &str) -> Error {
    Error::invalid(format!(
        "{name} comes as CSV files: make a data set with `hrm data {command} --train-csv FILE \
         --test-csv FILE --output-dir DIR`, then add --data DIR"
    ))
}
