//! `hrm data`: fetch, build, check and look at data sets.

pub mod args;

use std::path::{Path, PathBuf};

use args::{BuildArgs, BuildMazeArgs, BuildSudokuArgs, FetchArgs, Fetched, ShowArgs};
pub use args::{DataArgs, DataCommand};

use crate::data::builders::arc::{self, ArcOptions};
use crate::data::builders::{maze, sudoku};
use crate::data::fetch::{self, MARKER, Source};
use crate::data::images;
use crate::data::manifest::Manifest;
use crate::data::overlap::{self, SCORED};
use crate::data::sheet::Panel;
use crate::data::{DataSet, Lengths, Order, Pair, RowLayout, npy, sheet, stats};
use crate::io::file;
use crate::io::progress::Progress;
use crate::{Error, Result};

const RAW_DIR: &str = "data/raw";

pub fn run(args: DataArgs) -> Result<()> {
    let progress = if args.quiet { Progress::Quiet } else { Progress::Shown };
    match args.command {
        DataCommand::Fetch(args) => {
            let FetchArgs { source, from, output_dir } = args;
            match source {
                Fetched::Tasks(source) => {
                    fetch::fetch(source, from.as_deref(), &output_dir, progress)?
                }
                Fetched::Pictures(source) => {
                    let from = from.as_deref().map(Path::new);
                    images::fetch(source, from, &output_dir, progress)?
                }
            };
            Ok(())
        }
        DataCommand::Build(args) => build(args, progress),
        DataCommand::BuildSudoku(args) => build_sudoku(args, progress),
        DataCommand::BuildMaze(args) => build_maze(args, progress),
        DataCommand::Verify { dir } => {
            let data = DataSet::open(&dir)?;
            data.verify()?;
            let train_in_test = data.train_in(SCORED)?;
            if train_in_test > 0 {
                progress.note(&overlap::words(train_in_test, SCORED));
            }
            outln!("{}: intact, digest {}", dir.display(), data.digest());
            Ok(())
        }
        DataCommand::Stats { dir, json } => {
            let stats = stats::collect(&DataSet::open(&dir)?)?;
            if json {
                outln!("{}", serde_json::json!(stats));
            } else {
                out!("{}", stats.table());
            }
            Ok(())
        }
        DataCommand::Show(args) => show(args, progress),
        DataCommand::Import { dir, output_dir, kind } => {
            let manifest = npy::import(&dir, &output_dir, kind, progress)?;
            note_built(&manifest, &output_dir, progress);
            Ok(())
        }
        DataCommand::Export { dir, output_dir, program } => {
            npy::export(&DataSet::open(&dir)?, &output_dir, program, progress)
        }
    }
}

fn build(args: BuildArgs, progress: Progress) -> Result<()> {
    let dirs = match args.dataset_dirs.is_empty() {
        true => fetched()?,
        false => args.dataset_dirs,
    };
    let options = ArcOptions {
        num_aug: args.num_aug,
        seed: args.seed,
        canvas: args.canvas,
        max_tasks: args.max_tasks,
        holdout: args.holdout,
        patterns: args.patterns,
    };
    let (manifest, report) = arc::build(&dirs, &args.output_dir, &options, progress)?;
    let left_out = [
        (report.too_large, "left out: larger than the canvas"),
        (report.beyond_max_tasks, "left out: beyond --max-tasks"),
        (
            report.duplicate_ids,
            "left out: same id in two places (kept: what hides fewer answers, then evaluation)",
        ),
        (report.hidden_pairs, "test inputs without an output: to be answered, not scored"),
        (report.other_files, "files beside the tasks that are no task files"),
        (report.short_of_variants, "with fewer than --num-aug distinct variants"),
    ];
    progress.note(&format!("{} tasks", report.tasks));
    for (count, what) in left_out.into_iter().filter(|(count, _)| *count > 0) {
        progress.note(&format!("{count} {what}"));
    }
    if report.held_out_by_content > 0 {
        progress.note(&overlap::words_left_out(report.held_out_by_content));
    }
    note_built(&manifest, &args.output_dir, progress);
    note_windows(&args.output_dir, progress)?;
    refuse_unreadable(&report.unreadable, &args.output_dir)
}

/// The data set is built without them, but not as it was asked for.
fn refuse_unreadable(unreadable: &[String], dir: &Path) -> Result<()> {
    if unreadable.is_empty() {
        return Ok(());
    }
    let (count, dir) = (unreadable.len(), dir.display());
    let shown: Vec<&str> = unreadable.iter().take(10).map(String::as_str).collect();
    Err(Error::invalid(format!(
        "{dir} was built without {count} task files that could not be read:\n{}",
        shown.join("\n")
    )))
}

/// Everything under `data/raw`.
fn fetched() -> Result<Vec<PathBuf>> {
    let mut here = vec![];
    for dir in [Source::Arc1, Source::Arc2].map(|s| Path::new(RAW_DIR).join(s.name())) {
        if file::exists(&dir.join(MARKER))? {
            here.push(dir);
        }
    }
    if here.is_empty() {
        return Err(Error::invalid(format!(
            "nothing was fetched to {RAW_DIR} yet: run `hrm data fetch arc1`, or give \
             --dataset-dirs"
        )));
    }
    Ok(here)
}

fn build_sudoku(args: BuildSudokuArgs, progress: Progress) -> Result<()> {
    let manifest = match (args.train_csv, args.test_csv) {
        (Some(train_csv), Some(test_csv)) => {
            let options = sudoku::CsvOptions {
                train_csv,
                test_csv,
                subsample: args.subsample,
                min_rating: args.min_rating,
                num_aug: args.num_aug,
                seed: args.seed,
            };
            sudoku::from_csv(&args.output_dir, &options, progress)?
        }
        _ => {
            let options = sudoku::SudokuOptions {
                size: args.size,
                train: args.train,
                test: args.test,
                num_aug: args.num_aug,
                seed: args.seed,
                clues: args.clues,
                division: args.division,
            };
            sudoku::generate(&args.output_dir, &options, progress)?
        }
    };
    note_built(&manifest, &args.output_dir, progress);
    Ok(())
}

fn build_maze(args: BuildMazeArgs, progress: Progress) -> Result<()> {
    let BuildMazeArgs { size, train, test, aug: augment, seed, subsample, .. } = args;
    let manifest = match (args.train_csv, args.test_csv) {
        (Some(train_csv), Some(test_csv)) => {
            let options = maze::CsvOptions { train_csv, test_csv, subsample, augment, seed };
            maze::from_csv(&args.output_dir, &options, progress)?
        }
        _ => {
            let options = maze::MazeOptions { size, train, test, augment, seed };
            maze::generate(&args.output_dir, &options, progress)?
        }
    };
    note_built(&manifest, &args.output_dir, progress);
    Ok(())
}

fn note_built(manifest: &Manifest, dir: &Path, progress: Progress) {
    for (name, split) in &manifest.splits {
        progress.note(&format!(
            "{name}: {} examples in {} puzzles and {} groups, {:.1} MB",
            split.examples,
            split.puzzles,
            split.groups,
            split.bytes as f64 / 1e6
        ));
    }
    progress.note(&format!("{}: digest {}", dir.display(), manifest.digest()));
}

/// How much of the canvas packed rows hold.
fn note_windows(dir: &Path, progress: Progress) -> Result<()> {
    let data = DataSet::open(dir)?;
    if data.split("train").is_ok_and(|shard| shard.examples() > 0) {
        let mean = Lengths::of(&data, "train", Order::Groups, RowLayout::Packed)?.mean();
        let (share, all) = (100.0 * mean / data.seq_len() as f64, data.seq_len());
        progress.note(&format!(
            "packed rows of train have {mean:.1} of {all} cells ({share:.1} %) on average"
        ));
    }
    Ok(())
}

fn show(args: ShowArgs, progress: Progress) -> Result<()> {
    let data = DataSet::open(&args.dir)?;
    let shard = data.split(&args.split)?;
    let indices = (args.first..shard.examples()).step_by(args.every.max(1)).take(args.count);
    let pairs = indices.map(|i| Ok(shard.example(i)?.pair)).collect::<Result<Vec<_>>>()?;
    if pairs.is_empty() {
        let (dir, split, count) = (args.dir.display(), &args.split, shard.examples());
        return Err(Error::invalid(format!(
            "{dir}: split {split} has {count} examples: nothing to draw from {} on",
            args.first
        )));
    }
    let tile = |p: &Pair| vec![Panel::plain(&p.input), Panel::plain(&p.output)];
    let tiles: Vec<_> = pairs.iter().map(tile).collect();
    sheet::write(&args.output, &tiles, data.kind())?;
    progress.note(&format!("{}: {} examples", args.output.display(), pairs.len()));
    Ok(())
}
