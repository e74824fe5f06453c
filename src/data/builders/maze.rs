//! Maze data sets: generated mazes whose shortest path is unique, or mazes from CSV files. The
//! label is the maze with the path marked.

use std::collections::{HashSet, VecDeque};
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde_json::json;

use super::csv_boards::{self, Row};
use super::fixed::{self, Groups};
use crate::data::augment;
use crate::data::grid::{Grid, Pair};
use crate::data::manifest::Manifest;
use crate::data::shard::Spec;
use crate::data::vocab::{Kind, MAX_CANVAS, MAZE_CHARSET};
use crate::io::progress::Progress;
use crate::rng::{Rng, Stream};
use crate::{Error, Result};

const WALL: u8 = 1;
const FREE: u8 = 2;
const START: u8 = 3;
const GOAL: u8 = 4;
const PATH: u8 = 5;

#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub struct MazeOptions {
    pub size: usize,
    pub train: usize,
    pub test: usize,
    /// All 8 dihedral variants of each training maze.
    pub augment: bool,
    pub seed: u64,
}

impl Default for MazeOptions {
    fn default() -> Self {
        Self { size: 30, train: 1000, test: 1000, augment: false, seed: 42 }
    }
}

#[derive(Clone, Debug, Default)]
pub struct CsvOptions {
    pub train_csv: PathBuf,
    pub test_csv: PathBuf,
    pub subsample: Option<usize>,
    pub augment: bool,
    pub seed: u64,
}

const ROUND: u64 = 64;
/// So many attempts without a new maze: the request counts as impossible.
const STALLED: u64 = 160 * ROUND;

/// No test maze is a turned or mirrored training maze.
pub fn generate(output_dir: &Path, options: &MazeOptions, progress: Progress) -> Result<Manifest> {
    let MazeOptions { size, train, test, augment, seed } = *options;
    if !(5..=MAX_CANVAS).contains(&size) {
        return Err(Error::invalid(format!("maze size {size}: must be 5 to {MAX_CANVAS}")));
    }
    fixed::check_counts(train, if augment { 7 } else { 0 }, test)?;
    let count = train + test;
    let bar = progress.bar("generating mazes", count as u64);
    let (mut mazes, mut seen) = (vec![], HashSet::new());
    let (mut next, mut last_new) = (0, 0);
    while mazes.len() < count && next - last_new < STALLED {
        let draw = |k| draw(size, &mut Rng::new(seed, Stream::Generate, k));
        let drawn: Vec<_> = (next..next + ROUND).into_par_iter().map(draw).collect();
        next += ROUND;
        for pair in drawn.into_iter().flatten() {
            if mazes.len() < count && seen.insert(orbit(&pair.input)) {
                mazes.push(pair);
                last_new = next;
                bar.advance(1);
            }
        }
    }
    drop(bar);
    if mazes.len() < count {
        let found = mazes.len();
        return Err(Error::invalid(format!(
            "only {found} of {count} different mazes of size {size} found: ask for fewer or larger"
        )));
    }
    let test = mazes.split_off(train);
    let splits = [
        ("train", fixed::ready(groups(mazes, augment))),
        ("test", fixed::ready(groups(test, false))),
    ];
    let provenance = json!({
        "builder": concat!("hrm ", env!("CARGO_PKG_VERSION")),
        "maze": options,
    });
    fixed::write(output_dir, Spec::of(Kind::Maze, size), provenance, splits)
}

fn groups(mazes: Vec<Pair>, augment: bool) -> Groups {
    let variants = |pair: Pair| -> Vec<Pair> {
        let turned = |t| Pair {
            input: augment::transform(&pair.input, t),
            output: augment::transform(&pair.output, t),
        };
        (0..if augment { 8 } else { 1 }).map(turned).collect()
    };
    mazes.into_iter().map(variants).collect()
}

/// A key that all 8 turned and mirrored versions share.
fn orbit(maze: &Grid) -> Vec<u8> {
    (0..8).map(|t| augment::transform(maze, t).cells().to_vec()).min().unwrap_or_default()
}

/// A tree of corridors with a few walls knocked out; start anywhere, goal far away, and only one
/// shortest path between them.
fn draw(size: usize, rng: &mut Rng) -> Option<Pair> {
    let mut cells = vec![WALL; size * size];
    carve(&mut cells, size, rng);
    for _ in 0..size * size / 60 {
        let cell = rng.below((size * size) as u32) as usize;
        if neighbours(cell, size).filter(|&n| cells[n] == FREE).count() >= 2 {
            cells[cell] = FREE;
        }
    }
    let free: Vec<usize> = (0..cells.len()).filter(|&c| cells[c] == FREE).collect();
    let start = free[rng.below(free.len() as u32) as usize];
    let (distance, paths) = search(&cells, size, start);
    let far = *free.iter().map(|&c| &distance[c]).max()?;
    let goals: Vec<usize> =
        free.into_iter().filter(|&c| paths[c] == 1 && distance[c] * 5 >= far * 3).collect();
    if far < 2 || goals.is_empty() {
        return None;
    }
    let goal = goals[rng.below(goals.len() as u32) as usize];
    let mut input = cells;
    (input[start], input[goal]) = (START, GOAL);
    let mut output = input.clone();
    let mut at = goal;
    while distance[at] > 1 {
        let before = distance[at] - 1;
        let open = |&n: &usize| input[n] != WALL && distance[n] == before;
        at = neighbours(at, size).find(open)?;
        output[at] = PATH;
    }
    let grid = |cells: Vec<u8>| Grid::new(size, size, cells).ok();
    Some(Pair { input: grid(input)?, output: grid(output)? })
}

/// Depth-first carving between cells two apart, from the corner.
fn carve(cells: &mut [u8], size: usize, rng: &mut Rng) {
    cells[0] = FREE;
    let mut stack = vec![(0, 0)];
    while let Some(&(r, c)) = stack.last() {
        let closed = |r: isize, c: isize| {
            let inside = 0..size as isize;
            let inside = inside.contains(&r) && inside.contains(&c);
            inside && cells[r as usize * size + c as usize] == WALL
        };
        let ways: Vec<(isize, isize)> = [(0, 2), (2, 0), (0, -2), (-2, 0)]
            .into_iter()
            .filter(|(dr, dc)| closed(r + dr, c + dc))
            .collect();
        if ways.is_empty() {
            stack.pop();
            continue;
        }
        let (dr, dc) = ways[rng.below(ways.len() as u32) as usize];
        for (r, c) in [(r + dr / 2, c + dc / 2), (r + dr, c + dc)] {
            cells[r as usize * size + c as usize] = FREE;
        }
        stack.push((r + dr, c + dc));
    }
}

fn neighbours(cell: usize, size: usize) -> impl Iterator<Item = usize> {
    let (r, c) = (cell / size, cell % size);
    let all = [
        (r > 0).then(|| cell - size),
        (r + 1 < size).then(|| cell + size),
        (c > 0).then(|| cell - 1),
        (c + 1 < size).then(|| cell + 1),
    ];
    all.into_iter().flatten()
}

/// Distance from `start` and the number of shortest paths, counted up to 2.
fn search(cells: &[u8], size: usize, start: usize) -> (Vec<usize>, Vec<u8>) {
    let (mut distance, mut paths) = (vec![0; cells.len()], vec![0u8; cells.len()]);
    let mut queue = VecDeque::from([start]);
    paths[start] = 1;
    while let Some(cell) = queue.pop_front() {
        for n in neighbours(cell, size).filter(|&n| cells[n] != WALL) {
            if paths[n] == 0 {
                distance[n] = distance[cell] + 1;
                queue.push_back(n);
            }
            if distance[n] == distance[cell] + 1 {
                paths[n] = 2.min(paths[n] + paths[cell]);
            }
        }
    }
    (distance, paths)
}

pub fn from_csv(output_dir: &Path, options: &CsvOptions, progress: Progress) -> Result<Manifest> {
    let CsvOptions { train_csv, test_csv, subsample, augment, seed } = options;
    let train = csv_boards::sample(train_csv, None, *subsample, *seed)?;
    let test = csv_boards::read(test_csv, None)?;
    fixed::check_counts(train.len(), if *augment { 7 } else { 0 }, test.len())?;
    let size = train[0].question.len().isqrt();
    let bar = progress.bar("reading mazes", (train.len() + test.len()) as u64);
    let read = |rows: &[Row], path: &Path| -> Result<Vec<Pair>> {
        let pair = |(i, row): (usize, &Row)| {
            bar.advance(1);
            parse(row, size).map_err(|what| Error::corrupt(path, format!("maze {i}: {what}")))
        };
        rows.iter().enumerate().map(pair).collect()
    };
    let (mut train, test) = (read(&train, train_csv)?, read(&test, test_csv)?);
    drop(bar);
    let tested: HashSet<Vec<u8>> = test.iter().map(|pair| orbit(&pair.input)).collect();
    let found = train.len();
    train.retain(|pair| !tested.contains(&orbit(&pair.input)));
    let held_out = found - train.len();
    fixed::check_held_out(held_out, train.len())?;
    let mut maze_csv = json!({ "subsample": subsample, "augment": augment, "seed": seed });
    if held_out > 0 {
        progress.note(&format!(
            "{held_out} training mazes left out: they stand in the test file, as they are, turned or \
             mirrored"
        ));
        maze_csv["held_out_by_content"] = json!(held_out);
    }
    let provenance = json!({
        "builder": concat!("hrm ", env!("CARGO_PKG_VERSION")),
        "maze_csv": maze_csv,
    });
    let splits = [
        ("train", fixed::ready(groups(train, *augment))),
        ("test", fixed::ready(groups(test, false))),
    ];
    fixed::write(output_dir, Spec::of(Kind::Maze, size), provenance, splits)
}

fn parse(row: &Row, size: usize) -> Result<Pair, String> {
    let grid = |text: &str| -> Result<Grid, String> {
        let token = |b: u8| match MAZE_CHARSET.bytes().position(|m| m == b) {
            Some(at) => Ok(at as u8 + 1),
            None => Err(format!("`{}` is not one of `{MAZE_CHARSET}`", b as char)),
        };
        let cells = text.bytes().map(token).collect::<Result<_, _>>()?;
        Grid::new(size, size, cells).map_err(|e| e.to_string())
    };
    let (input, output) = (grid(&row.question)?, grid(&row.answer)?);
    check(&input, &output).map_err(|what| format!("answer {what}"))?;
    Ok(Pair { input, output })
}

/// Whether the answer is the same maze with a shortest path marked from its start to its goal.
pub fn check(input: &Grid, output: &Grid) -> Result<(), String> {
    let (cells, size) = (input.cells(), input.w());
    if (output.h(), output.w()) != (input.h(), size) || input.h() != size {
        return Err("is of another size".into());
    }
    let mut ends = [0; 2];
    for (end, (token, name)) in ends.iter_mut().zip([(START, "S"), (GOAL, "G")]) {
        let at: Vec<usize> = (0..cells.len()).filter(|&i| cells[i] == token).collect();
        let &[at] = at.as_slice() else {
            return Err(format!("is of a maze with {} cells `{name}`, not one", at.len()));
        };
        *end = at;
    }
    for (i, (&a, &b)) in cells.iter().zip(output.cells()).enumerate() {
        if a != b && (a, b) != (FREE, PATH) {
            let (r, c) = (i / size, i % size);
            return Err(format!("is not the same maze at row {r}, column {c}"));
        }
    }
    let [start, goal] = ends;
    let (distance, paths) = search(cells, size, start);
    if paths[goal] == 0 {
        return Err("is of a maze without a way from `S` to `G`".into());
    }
    let marked = output.cells().iter().filter(|&&cell| cell == PATH).count();
    let only_path: Vec<u8> =
        output.cells().iter().map(|&cell| if cell == FREE { WALL } else { cell }).collect();
    let (along, reached) = search(&only_path, size, start);
    if reached[goal] == 0 {
        return Err("marks no connected path from `S` to `G`".into());
    }
    let shortest = distance[goal] - 1;
    match marked == shortest && along[goal] == distance[goal] {
        true => Ok(()),
        false => Err(format!("marks {marked} cells; a shortest path has {shortest}")),
    }
}
