//! Sudoku data sets: generated boards with one solution each, or boards from CSV files.
//!
//! Generated test boards have solutions that occur in no training puzzle, augmentations included:
//! the solutions are divided before any board is made. By orbit (the default for 6x6 and 9x9), two
//! solutions that any symmetry turns into each other are on the same side; by grid (the default
//! for 4x4, which has 2 orbits only), only equal ones are, and augmentations stay on their side.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde_json::json;

use super::csv_boards::{self, Row};
use super::fixed::{self, Groups};
use super::sudoku_board::{Board, Shape};
use crate::data::grid::{Grid, Pair};
use crate::data::manifest::Manifest;
use crate::data::shard::Spec;
use crate::data::vocab::Kind;
use crate::io::progress::Progress;
use crate::rng::{Rng, Stream};
use crate::{Error, Result};

/// How test boards differ from those trained on.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize, clap::ValueEnum,
)]
#[serde(rename_all = "kebab-case")]
pub enum Division {
    /// No symmetry turns the solution into one that was trained on
    Orbit,
    /// The solutions are not equal
    Grid,
}

#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub struct SudokuOptions {
    pub size: usize,
    pub train: usize,
    pub test: usize,
    pub num_aug: usize,
    pub seed: u64,
    /// Fewest and most clues; a board keeps more when it would lose its only solution.
    pub clues: Option<(usize, usize)>,
    pub division: Option<Division>,
}

impl Default for SudokuOptions {
    fn default() -> Self {
        Self { size: 9, train: 1000, test: 1000, num_aug: 0, seed: 42, clues: None, division: None }
    }
}

#[derive(Clone, Debug, Default)]
pub struct CsvOptions {
    pub train_csv: PathBuf,
    pub test_csv: PathBuf,
    /// Use only so many random rows of the training file.
    pub subsample: Option<usize>,
    pub min_rating: Option<f64>,
    pub num_aug: usize,
    pub seed: u64,
}

const ROUND: u64 = 64;
/// So many attempts without a new board: the request counts as impossible.
const STALLED: u64 = 160 * ROUND;

pub fn generate(
    output_dir: &Path,
    options: &SudokuOptions,
    progress: Progress,
) -> Result<Manifest> {
    let maker = Maker::new(options)?;
    fixed::check_counts(options.train, options.num_aug, options.test)?;
    let bar = progress.bar("generating Sudoku", (options.train + options.test) as u64);
    let train = maker.boards(false, options.train, options.num_aug, &|by| bar.advance(by))?;
    let test = maker.boards(true, options.test, 0, &|by| bar.advance(by))?;
    drop(bar);
    let provenance = json!({
        "builder": concat!("hrm ", env!("CARGO_PKG_VERSION")),
        "sudoku": options,
    });
    let spec = Spec::of(Kind::Sudoku, options.size);
    let splits = [("train", fixed::ready(train)), ("test", fixed::ready(test))];
    fixed::write(output_dir, spec, provenance, splits)
}

struct Maker<'a> {
    options: &'a SudokuOptions,
    shape: Shape,
    clues: (usize, usize),
    division: Division,
    /// For boards with few orbits: the ones that are tested on.
    test_orbits: Option<HashSet<Board>>,
}

impl<'a> Maker<'a> {
    fn new(options: &'a SudokuOptions) -> Result<Self> {
        let n = options.size;
        let shape = Shape::new(n)
            .ok_or_else(|| Error::invalid(format!("Sudoku size {n}: there are 4, 6 and 9")))?;
        let (default_clues, least) = match n {
            4 => ((5, 8), 4),
            6 => ((11, 16), 8),
            _ => ((25, 35), 17),
        };
        let clues = options.clues.unwrap_or(default_clues);
        if clues.0 < least || clues.0 > clues.1 || clues.1 >= n * n {
            let (from, to) = clues;
            return Err(Error::invalid(format!(
                "clues {from}..{to}: a {n} x {n} board needs at least {least} and has {} cells",
                n * n
            )));
        }
        let usual = if n == 4 { Division::Grid } else { Division::Orbit };
        let division = options.division.unwrap_or(usual);
        let mut maker = Self { options, shape, clues, division, test_orbits: None };
        if division == Division::Orbit && n < 9 {
            maker.test_orbits = Some(maker.divide_orbits());
        }
        Ok(maker)
    }

    /// A fifth of the orbits (at least one), chosen by the seed.
    fn divide_orbits(&self) -> HashSet<Board> {
        let mut rng = Rng::new(self.options.seed, Stream::Generate, 1 << 62);
        let draw = |_| self.shape.canonical(&self.shape.random_solution(&mut rng));
        let found: HashSet<Board> = (0..2000).map(draw).collect();
        let mut orbits: Vec<Board> = found.into_iter().collect();
        orbits.sort_by_key(|orbit| self.hash(orbit));
        orbits.truncate(orbits.len().div_ceil(5));
        orbits.into_iter().collect()
    }

    fn hash(&self, board: &[u8]) -> u64 {
        let mut hash = blake3::Hasher::new();
        hash.update(&self.options.seed.to_le_bytes()).update(board);
        let mut first = [0; 8];
        first.copy_from_slice(&hash.finalize().as_bytes()[..8]);
        u64::from_le_bytes(first)
    }

    /// Which side of the division a solution is on.
    fn is_test(&self, solution: &[u8]) -> bool {
        match (self.division, &self.test_orbits) {
            (Division::Grid, _) => self.hash(solution).is_multiple_of(5),
            (Division::Orbit, Some(orbits)) => orbits.contains(&self.shape.canonical(solution)),
            (Division::Orbit, None) => self.hash(&self.shape.canonical(solution)) % 2 == 1,
        }
    }

    /// Attempt `k` is a pure function of (seed, side, k); boards are taken in order of attempts.
    fn boards(
        &self,
        test: bool,
        count: usize,
        num_aug: usize,
        made: &(dyn Fn(u64) + Sync),
    ) -> Result<Groups> {
        let (mut groups, mut seen) = (vec![], HashSet::new());
        let (mut next, mut last_new) = (0, 0);
        while groups.len() < count && next - last_new < STALLED {
            let attempts: Vec<_> = (next..next + ROUND)
                .into_par_iter()
                .map(|k| self.attempt(test, k, num_aug))
                .collect();
            next += ROUND;
            for group in attempts.into_iter().flatten() {
                if groups.len() < count && seen.insert(group[0].0.clone()) {
                    groups.push(group.iter().map(|(b, s)| pair(b, s, self.shape.n)).collect());
                    last_new = next;
                    made(1);
                }
            }
        }
        if groups.len() == count {
            return Ok(groups);
        }
        Err(Error::invalid(format!(
            "only {} of {count} different {} boards of size {} found: ask for fewer, or allow \
             more clues",
            groups.len(),
            if test { "test" } else { "training" },
            self.shape.n
        )))
    }

    /// A board and its augmentations, or nothing if its solution is on the other side.
    fn attempt(&self, test: bool, k: u64, num_aug: usize) -> Option<Vec<(Board, Board)>> {
        let mut rng = Rng::new(self.options.seed, Stream::Generate, k << 1 | test as u64);
        let solution = self.shape.random_solution(&mut rng);
        if self.is_test(&solution) != test {
            return None;
        }
        let (fewest, most) = self.clues;
        let clues = fewest + rng.below((most - fewest) as u32 + 1) as usize;
        let board = self.shape.dig(&solution, clues, &mut rng);
        if board.iter().filter(|&&d| d > 0).count() > most {
            return None;
        }
        let by_grid = self.division == Division::Grid;
        let allowed = |s: &[u8]| !by_grid || self.is_test(s) == test;
        Some(augment(self.shape, board, solution, num_aug, &mut rng, allowed))
    }
}

/// The board itself, then `num_aug` symmetric ones whose solution is allowed.
fn augment(
    shape: Shape,
    board: Board,
    solution: Board,
    num_aug: usize,
    rng: &mut Rng,
    allowed: impl Fn(&[u8]) -> bool,
) -> Vec<(Board, Board)> {
    let mut group = vec![(board, solution)];
    for _ in 0..num_aug.saturating_mul(20) {
        if group.len() > num_aug {
            break;
        }
        let symmetry = shape.random_symmetry(rng);
        let moved = symmetry.apply(&group[0].1);
        if allowed(&moved) {
            group.push((symmetry.apply(&group[0].0), moved));
        }
    }
    group
}

/// Token of digit d is d + 1; PAD is 0.
fn pair(board: &[u8], solution: &[u8], n: usize) -> Pair {
    let tokens = |b: &[u8]| Grid::from_fn(n, n, |r, c| b[r * n + c] + 1);
    Pair { input: tokens(board), output: tokens(solution) }
}

/// Training boards that stand in the test file, as themselves or as one of the variants made here,
/// are left out, and how many is said.
pub fn from_csv(output_dir: &Path, options: &CsvOptions, progress: Progress) -> Result<Manifest> {
    let CsvOptions { train_csv, test_csv, subsample, min_rating, num_aug, seed } = options;
    let train = csv_boards::sample(train_csv, *min_rating, *subsample, *seed)?;
    let test = csv_boards::read(test_csv, *min_rating)?;
    fixed::check_counts(train.len(), *num_aug, test.len())?;
    let n = train[0].question.len().isqrt();
    let shape = Shape::new(n).ok_or_else(|| {
        Error::corrupt(train_csv, format!("boards are {n} x {n}; there are 4, 6 and 9"))
    })?;
    let parsed = |rows: &[Row], path: &Path| -> Result<Vec<(Board, Board)>> {
        let board = |row: &Row| {
            let what = |what| Error::corrupt(path, format!("question {}: {what}", row.question));
            parse(row, shape).map_err(what)
        };
        rows.par_iter().map(board).collect()
    };
    let (train, test) = (parsed(&train, train_csv)?, parsed(&test, test_csv)?);
    for (boards, path) in [(&train, train_csv), (&test, test_csv)] {
        note_ambiguous(boards, shape, path, progress);
    }
    let tested: HashSet<&Board> = test.iter().map(|(board, _)| board).collect();
    let bar = progress.bar("writing Sudoku", (train.len() + test.len()) as u64);
    let variants = |(i, (board, solution)): (usize, &(Board, Board))| -> Option<Vec<Pair>> {
        bar.advance(1);
        let mut rng = Rng::new(*seed, Stream::Generate, i as u64);
        let (board, solution) = (board.clone(), solution.clone());
        let mut group = augment(shape, board, solution, *num_aug, &mut rng, |_| true);
        if tested.contains(&group[0].0) {
            return None;
        }
        group.retain(|(board, _)| !tested.contains(board));
        Some(group.iter().map(|(b, s)| pair(b, s, n)).collect())
    };
    let held_out = train.iter().filter(|(board, _)| tested.contains(board)).count();
    fixed::check_held_out(held_out, train.len() - held_out)?;
    let mut sudoku_csv = json!({ "subsample": subsample, "min_rating": min_rating,
                                 "num_aug": num_aug, "seed": seed });
    if held_out > 0 {
        progress.note(&format!(
            "{held_out} training boards left out: they stand in the test file, too"
        ));
        sudoku_csv["held_out_by_content"] = json!(held_out);
    }
    let provenance = json!({
        "builder": concat!("hrm ", env!("CARGO_PKG_VERSION")),
        "sudoku_csv": sudoku_csv,
    });
    let train_groups = (0..train.len()).step_by(CHUNK).flat_map(|first| {
        let end = train.len().min(first + CHUNK);
        let chunk = (first..end).into_par_iter().map(|i| variants((i, &train[i])));
        chunk.collect::<Vec<_>>().into_iter().flatten().map(Ok)
    });
    let test_groups = test.iter().map(|(board, solution)| {
        bar.advance(1);
        Ok(vec![pair(board, solution, n)])
    });
    let splits: [fixed::SplitGroups; 2] =
        [("train", Box::new(train_groups)), ("test", Box::new(test_groups))];
    fixed::write(output_dir, Spec::of(Kind::Sudoku, n), provenance, splits)
}

/// Boards per round of parallel work: bounds the variants held before they are written.
const CHUNK: usize = 256;
/// Evenly spaced boards of a file that are searched for a second solution.
const SEARCHED: usize = 2000;

/// A board with several solutions has answers that are right and count as wrong.
fn note_ambiguous(boards: &[(Board, Board)], shape: Shape, path: &Path, progress: Progress) {
    let step = boards.len().div_ceil(SEARCHED).max(1);
    let searched: Vec<&Board> = boards.iter().step_by(step).map(|(board, _)| board).collect();
    let ambiguous = searched.par_iter().filter(|board| shape.solutions(board) > 1).count();
    if ambiguous > 0 {
        progress.note(&format!(
            "{}: {ambiguous} of {} boards searched have several solutions; only the one in the file \
             counts as right",
            path.display(),
            searched.len()
        ));
    }
}

fn parse(row: &Row, shape: Shape) -> Result<(Board, Board), String> {
    let digits = |text: &str| -> Result<Board, String> {
        let digit = |b: u8| match b {
            b'.' => Ok(0),
            b'0'..=b'9' => Ok(b - b'0'),
            _ => Err(format!("`{}` is neither a digit nor a dot", b as char)),
        };
        text.bytes().map(digit).collect()
    };
    let (board, solution) = (digits(&row.question)?, digits(&row.answer)?);
    if board.len() != shape.n * shape.n || solution.len() != board.len() {
        return Err(format!("is not a board of {0} x {0}", shape.n));
    }
    check(shape, &board, &solution).map_err(|what| format!("answer {} {what}", row.answer))?;
    Ok((board, solution))
}

/// Whether the solution is one, and one of this board.
pub fn check(shape: Shape, board: &[u8], solution: &[u8]) -> Result<(), &'static str> {
    if !shape.is_solution(solution) {
        return Err("is no solved board");
    }
    match board.iter().zip(solution).all(|(&b, &s)| b == 0 || b == s) {
        true => Ok(()),
        false => Err("does not keep the clues"),
    }
}
