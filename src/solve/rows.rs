//! Training rows of one task: its pairs as each of its puzzles, placed on the canvas as the data
//! set builder places them, in a new order and at new places in every pass. A pure function of the
//! seed.

use super::known::Puzzle;
use crate::data::augment::{PuzzleName, Variant};
use crate::data::builders::variants;
use crate::data::canvas::{Placement, encode};
use crate::data::grid::Pair;
use crate::data::sequence;
use crate::data::task::Task;
use crate::data::vocab::PAD;
use crate::data::{Batch, BatchOptions, Grid, RowLayout, Sequence, window_of};
use crate::eval::Row;
use crate::rng::{Rng, Stream};
use crate::sequence::{grid_len, pair_len};
use crate::{Error, Result};

/// The task itself, then up to `num_aug` variants of other content, under the ids 1, 2, ...; rows
/// that are sequences name them as variants of task 1.
pub fn puzzles(
    task: &Task,
    num_aug: usize,
    seed: u64,
    canvas: usize,
    layout: RowLayout,
) -> Vec<Puzzle> {
    let pairs: Vec<&Pair> = task.train.iter().collect();
    let drawn = variants::draw(task, &pairs, num_aug, seed, canvas, &[]);
    let names = drawn.iter().map(|d| PuzzleName::parse(&d.name(&task.id)));
    let id = |number: u32, name: &PuzzleName| match layout {
        RowLayout::Sequence => sequence::condition(1, name.variant),
        _ => number,
    };
    (1..).zip(names).map(|(number, name)| Puzzle { id: id(number, &name), name }).collect()
}

/// Cells of the largest window of the task's pairs; its variants have no larger one.
pub fn most_cells(pairs: &[Pair], canvas: usize) -> usize {
    let of = |pair: &Pair| window_of(pairs, &pair.input, Placement::default(), canvas).len();
    pairs.iter().map(of).max().unwrap_or(canvas * canvas)
}

/// Tokens of the longest sequence that a pair or a variant of it makes.
pub fn most_tokens(pairs: &[Pair]) -> usize {
    let turned = |grid: &Grid| grid_len(grid.h(), grid.w()).max(grid_len(grid.w(), grid.h()));
    let of = |pair: &Pair| pair_len([turned(&pair.input), turned(&pair.output)]);
    pairs.iter().map(of).max().unwrap_or(0)
}

/// A pair as a row of the puzzle `id`, its grids at `at`; the task shows `demonstrations`.
fn row(
    (pair, at): (&Pair, Placement),
    demonstrations: &[Pair],
    id: u32,
    canvas: usize,
    options: BatchOptions,
) -> std::result::Result<Row, String> {
    let tokens = |grid| {
        encode(grid, at, canvas).ok_or_else(|| format!("a pair does not fit the canvas {canvas}"))
    };
    let pad = options.pad_label();
    let labels = tokens(&pair.output)?.into_iter();
    let labels = labels.map(|t| if t == PAD { pad } else { t }).collect();
    let window = Some(window_of(demonstrations, &pair.input, at, canvas));
    Ok(Row { inputs: tokens(&pair.input)?, labels, puzzle_id: id as i32, window })
}

/// A row for each pair in the corner of the canvas, of the puzzle `id`; windows where rows are
/// packed.
pub fn in_the_corner(
    pairs: &[Pair],
    id: u32,
    canvas: usize,
    layout: RowLayout,
    options: BatchOptions,
) -> Result<Vec<Row>> {
    let of = |pair| {
        let row = row((pair, Placement::default()), pairs, id, canvas, options)?;
        let window = row.window.filter(|_| layout == RowLayout::Packed);
        Ok(Row { window, ..row })
    };
    pairs.iter().map(of).collect::<std::result::Result<_, String>>().map_err(Error::invalid)
}

/// Batches without end.
pub struct Rows<'a> {
    pub task: &'a str,
    pub pairs: &'a [Pair],
    pub puzzles: &'a [Puzzle],
    pub canvas: usize,
    pub options: BatchOptions,
    pub seed: u64,
    pass: usize,
    /// Rows of this pass that are still to come, the next one last.
    left: Vec<Row>,
}

impl<'a> Rows<'a> {
    pub fn new(
        task: &'a str,
        pairs: &'a [Pair],
        puzzles: &'a [Puzzle],
        canvas: usize,
        options: BatchOptions,
        seed: u64,
    ) -> Self {
        Self { task, pairs, puzzles, canvas, options, seed, pass: 0, left: vec![] }
    }

    /// In slots of `slot` cells, or padded.
    pub fn next_batch(
        &mut self,
        rows: usize,
        layout: RowLayout,
        slot: Option<usize>,
    ) -> Result<Batch> {
        let mut batch = Batch { real_rows: rows, ..Batch::default() };
        while batch.rows() < rows {
            let Some(row) = self.left.pop() else {
                self.left = self.next_pass()?;
                continue;
            };
            match (slot, row.window) {
                (Some(slot), _) if layout == RowLayout::Sequence => {
                    let pair = row
                        .grids()
                        .and_then(|(input, _, output)| Some(Pair { input, output: output? }));
                    let pair = pair.ok_or_else(|| {
                        Error::invalid(format!("task {}: a row shows no pair", self.task))
                    })?;
                    let sequence = Sequence::of_pair(&pair, self.canvas);
                    batch.push_sequence(&sequence, row.puzzle_id as u32, slot)?;
                }
                (Some(slot), Some(window)) => {
                    let Row { inputs, labels, puzzle_id, .. } = &row;
                    let (id, canvas) = (*puzzle_id as u32, self.canvas);
                    batch.push_packed(inputs, labels, id, window, canvas, slot)?;
                }
                _ => {
                    batch.inputs.extend(row.inputs);
                    batch.labels.extend(row.labels);
                    batch.puzzle_ids.push(row.puzzle_id);
                }
            }
        }
        Ok(batch)
    }

    fn next_pass(&mut self) -> Result<Vec<Row>> {
        let mut all = vec![];
        for (number, puzzle) in self.puzzles.iter().enumerate() {
            let variant = puzzle.name.variant.unwrap_or(Variant::IDENTITY);
            let number = self.pass * self.puzzles.len() + number;
            let (seed, task, canvas) = (self.seed, self.task, self.canvas);
            let places = variants::placements(seed, task, number, self.pairs, variant, canvas);
            let demonstrations: Vec<Pair> =
                self.pairs.iter().map(|pair| variant.apply_pair(pair)).collect();
            for (pair, at) in self.pairs.iter().zip(places) {
                let shown = (&variant.apply_pair(pair), at);
                let row = row(shown, &demonstrations, puzzle.id, canvas, self.options);
                all.push(row.map_err(|what| Error::invalid(format!("task {task}: {what}")))?);
            }
        }
        let mut rng = Rng::new(self.seed, Stream::Order, self.pass as u64);
        rng.shuffle(&mut all);
        self.pass += 1;
        match all.is_empty() {
            true => Err(Error::invalid(format!("task {}: no pairs to train on", self.task))),
            false => Ok(all),
        }
    }
}
