//! What the data set adds to a model's shape: from the built data set, or the preset's published
//! sizes where it is not built yet.

use std::path::Path;
use std::sync::Arc;

use crate::Result;
use crate::cli::preset_data;
use crate::config::{DataConfig, Dataset, Settings};
use crate::data::builders::arc::Holdout;
use crate::data::fetch::Source;
use crate::data::vocab::MAX_ARC_SIDE;
use crate::data::{DataSet, Kind, Lengths, Order, RowLayout};
use crate::sequence::TURNS;
use crate::train::setup;

#[derive(Clone, Debug, PartialEq)]
pub struct Sizes {
    pub cells: usize,
    pub vocabulary: usize,
    pub puzzle_ids: usize,
    pub canvas: usize,
    /// Rows that one pass over the training data yields, where that is known.
    pub rows_per_pass: Option<f64>,
    /// How long rows are, where they are packed.
    pub lengths: Option<Arc<Lengths>>,
    /// Where these come from.
    pub basis: String,
}

/// `puzzles`: puzzle ids asked for, for data that is not there.
pub fn of(settings: &Settings, dir: Option<&Path>, puzzles: Option<usize>) -> Result<Sizes> {
    let config = &settings.data;
    let data = match (dir, puzzles, config.dataset) {
        (Some(dir), ..) => Some(DataSet::open(dir)?),
        (None, Some(_), _) | (None, None, Dataset::SudokuExtreme | Dataset::MazeHard) => None,
        (None, None, _) => preset_data::built(config)?,
    };
    Ok(match data {
        Some(data) => Sizes {
            cells: data.seq_len(),
            vocabulary: data.vocab_size(),
            puzzle_ids: data.row_ids(settings.data.layout)?,
            canvas: data.canvas(),
            rows_per_pass: Some(setup::sampler(settings, &data)?.1),
            lengths: setup::lengths(settings, &data)?,
            basis: data.dir().display().to_string(),
        },
        None => published(config, puzzles),
    })
}

fn published(config: &DataConfig, puzzles: Option<usize>) -> Sizes {
    // Boards have no identity of their own: all rows carry the blank id.
    let (kind, tasks) = match config.dataset {
        Dataset::Arc1 => (Kind::Arc, 800),
        Dataset::Arc2 => (Kind::Arc, 1120),
        Dataset::Sudoku | Dataset::SudokuExtreme => (Kind::Sudoku, 0),
        Dataset::Maze | Dataset::MazeHard => (Kind::Maze, 0),
    };
    let canvas = config.canvas;
    let is_sequence = config.layout == RowLayout::Sequence;
    let most = match is_sequence {
        true => (1 + tasks) * TURNS,
        false => 1 + tasks * (1 + config.num_aug),
    };
    let count = match (puzzles, tasks) {
        (Some(_), _) => "puzzle ids as given".to_owned(),
        (None, 0) => "one puzzle id".to_owned(),
        (None, _) if is_sequence => format!("{tasks} tasks with {TURNS} transforms each"),
        (None, _) => format!(
            "at most {tasks} tasks with {} variants each as puzzle ids (--puzzles N for another \
             number)",
            config.num_aug
        ),
    };
    let is_packed = config.layout != RowLayout::Padded && kind == Kind::Arc;
    let lengths = is_packed.then(|| published_lengths(config)).flatten().map(Arc::new);
    let rows = match is_packed && lengths.is_none() {
        true => "; rows of whole canvases, as how long packed ones are is known once it is built",
        false => "",
    };
    Sizes {
        lengths,
        rows_per_pass: published_rows(config),
        cells: canvas * canvas,
        vocabulary: kind.vocab_size(canvas).expect("kinds of presets have a vocabulary"),
        puzzle_ids: puzzles.unwrap_or(most),
        canvas,
        basis: format!("not built here; canvas {canvas}, {count}{rows}"),
    }
}

/// Tasks, and examples of each with the test outputs of the training tasks, as the builder makes
/// them of the published files; puzzles of boards.
fn published_rows(config: &DataConfig) -> Option<f64> {
    let of_arc = |tasks: f64, examples: f64| {
        let is_whole = config.canvas == MAX_ARC_SIDE && config.holdout == Holdout::Official;
        (is_whole && config.sampler == Order::Groups).then_some(tasks * examples)
    };
    match config.dataset {
        Dataset::Arc1 => of_arc(800.0, 3.849),
        Dataset::Arc2 => of_arc(1120.0, 4.165),
        Dataset::Sudoku | Dataset::Maze => Some(config.train_puzzles as f64),
        Dataset::SudokuExtreme | Dataset::MazeHard => Some(1000.0),
    }
}

fn published_lengths(config: &DataConfig) -> Option<Lengths> {
    let source = match config.dataset {
        Dataset::Arc1 => Some(Source::Arc1),
        Dataset::Arc2 => Some(Source::Arc2),
        _ => None,
    };
    source.and_then(|source| Lengths::published(source, config.canvas, config.layout))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;

    #[test]
    fn published_sizes_are_those_of_the_papers() {
        let of = |preset| published(&Settings::load(Some(preset), None, &[]).unwrap().data, None);
        let arc = of("arc1");
        assert_eq!((arc.cells, arc.vocabulary, arc.puzzle_ids), (900, 12, 800_801));
        let sudoku = of("sudoku-extreme");
        assert_eq!((sudoku.cells, sudoku.vocabulary, sudoku.puzzle_ids), (81, 11, 1));
        assert_eq!(
            [of("arc1"), sudoku].map(|s| s.rows_per_pass),
            [Some(800.0 * 3.849), Some(1000.0)]
        );
        assert_eq!(of("arc-small").rows_per_pass, None, "part of the tasks");
        assert_eq!((of("maze-hard").cells, of("maze-hard").vocabulary), (900, 6));
        let config = Settings::load(Some("arc2"), None, &[]).unwrap().data;
        assert_eq!(published(&config, Some(5)).puzzle_ids, 5);
    }
}
