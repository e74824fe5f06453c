//! Pairs and questions as sequences: the tokens of `crate::sequence`, read from grids and written
//! back to them.

use std::collections::HashMap;

use super::augment::{PuzzleName, Variant};
use super::grid::{Grid, Pair};
use super::shard::{Shard, Side};
use super::vocab::{COLOURS, IGNORE};
use crate::Result;
use crate::sequence::{END, NEWLINE, Position, SEPARATOR, START, TURNS, grid_len, pair_len};

/// Depth of the input's cells, and of the output's.
const INPUT: usize = 1;
const OUTPUT: usize = 3;

/// What a model reads of a pair, and what it should answer after each token.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sequence {
    pub tokens: Vec<i32>,
    pub places: Vec<i32>,
    /// The token that follows, from the separator on; [`IGNORE`] before it.
    pub labels: Vec<i32>,
}

impl Sequence {
    /// All of a pair but its end, which nothing follows. Of a hidden test input the question.
    pub fn of_pair(pair: &Pair, canvas: usize) -> Self {
        let mut sequence = Self::prompt(&pair.input, canvas);
        if pair.is_hidden() {
            return sequence;
        }
        let first = sequence.tokens.len() - 1;
        sequence.push_grid(&pair.output, OUTPUT, canvas);
        sequence.labels[first..].copy_from_slice(&[&sequence.tokens[first + 1..], &[END]].concat());
        sequence
    }

    /// A question: everything up to the separator.
    pub fn prompt(input: &Grid, canvas: usize) -> Self {
        let mut sequence = Self::default();
        sequence.push(START, Position::new(0, 0, 0), canvas);
        sequence.push_grid(input, INPUT, canvas);
        sequence.push(SEPARATOR, Position::new(0, 0, 2), canvas);
        sequence
    }

    fn push(&mut self, token: i32, at: Position, canvas: usize) {
        self.tokens.push(token);
        self.places.push(at.place(canvas) as i32);
        self.labels.push(IGNORE);
    }

    fn push_grid(&mut self, grid: &Grid, z: usize, canvas: usize) {
        for (y, row) in grid.rows().enumerate() {
            for (x, &cell) in row.iter().enumerate() {
                self.push(cell as i32, Position::new(x, y, z), canvas);
            }
            self.push(NEWLINE, Position::new(grid.w(), y, z), canvas);
        }
    }
}

/// Tokens that are read of each example.
pub(super) fn lengths(shard: &Shard) -> Result<Vec<u16>> {
    let of = |side: Side| grid_len(side.h as usize, side.w as usize);
    shard.lengths(|_, outline| pair_len(outline.map(of)))
}

/// An answer as it is written, token by token. Only what leads to a grid can be written.
#[derive(Clone, Debug)]
pub struct Writing {
    canvas: usize,
    cells: Vec<u8>,
    /// Width of the rows, once the first has ended.
    width: Option<usize>,
    x: usize,
    y: usize,
}

impl Writing {
    /// Nothing is written; grids have sides of up to `canvas` cells.
    pub fn new(canvas: usize) -> Self {
        Self { canvas, cells: vec![], width: None, x: 0, y: 0 }
    }

    /// Whether `token` may come next: rows are as wide as the first one, and end; the end comes
    /// after a row.
    pub fn allows(&self, token: i32) -> bool {
        let width = self.width.unwrap_or(self.canvas);
        match token {
            colour if (0..COLOURS as i32).contains(&colour) => {
                self.x < width && self.y < self.canvas
            }
            NEWLINE => self.x > 0 && self.width.is_none_or(|width| self.x == width),
            END => self.x == 0 && self.y > 0,
            _ => false,
        }
    }

    /// Write a token that is allowed; its place, none of the end.
    pub fn write(&mut self, token: i32) -> Option<i32> {
        let at = Position::new(self.x, self.y, OUTPUT);
        match token {
            END => return None,
            NEWLINE => {
                self.width = Some(self.x);
                (self.x, self.y) = (0, self.y + 1);
            }
            colour => {
                self.cells.push(colour as u8);
                self.x += 1;
            }
        }
        Some(at.place(self.canvas) as i32)
    }

    /// The rows that have ended.
    pub fn grid(&self) -> Grid {
        let width = self.width.unwrap_or(0);
        Grid::from_fn(if width > 0 { self.y } else { 0 }, width, |r, c| self.cells[r * width + c])
    }
}

/// Number of a task and the transform of its variant, `task * TURNS + transform`.
pub fn condition(task: u32, variant: Option<Variant>) -> u32 {
    let turn = variant.map_or(0, |variant| variant.transform as u32 % TURNS as u32);
    task * TURNS as u32 + turn
}

/// What sequences of a data set are told beside their tokens: the task, which its variants share,
/// and the transform of the variant.
pub struct Conditions {
    of_puzzle: Vec<u32>,
    tasks: usize,
}

impl Conditions {
    /// From the names of all puzzle ids. The blank one is a task of its own.
    pub fn new(identifiers: &[String]) -> Self {
        let mut tasks = HashMap::new();
        let of_puzzle = identifiers.iter().map(|name| {
            let PuzzleName { task, pattern, variant } = PuzzleName::parse(name);
            let count = tasks.len();
            let task = *tasks.entry((task, pattern)).or_insert(count);
            condition(task as u32, variant)
        });
        let of_puzzle = of_puzzle.collect();
        Self { of_puzzle, tasks: tasks.len() }
    }

    /// The [`condition`] of a puzzle.
    pub fn of(&self, puzzle_id: u32) -> Option<u32> {
        self.of_puzzle.get(puzzle_id as usize).copied()
    }

    /// How many such numbers there are.
    pub fn count(&self) -> usize {
        self.tasks * TURNS
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sequence::{longest, places};

    fn grid(h: usize, w: usize, first: u8) -> Grid {
        Grid::from_fn(h, w, |r, c| (first + (r * w + c) as u8) % 10)
    }

    #[test]
    fn a_pair_is_read_up_to_its_end_and_answered_from_the_separator_on() {
        let pair = Pair { input: grid(1, 2, 3), output: grid(2, 1, 5) };
        let sequence = Sequence::of_pair(&pair, 4);
        assert_eq!(sequence.tokens, [10, 3, 4, 11, 12, 5, 11, 6, 11]);
        let none = IGNORE;
        assert_eq!(sequence.labels, [none, none, none, none, 5, 11, 6, 11, 13]);
        let at = |place: &i32| {
            let Position { x, y, z } = Position::of_place(*place as usize, 4);
            (x, y, z)
        };
        let places: Vec<_> = sequence.places.iter().map(at).collect();
        let output = [(0, 0, 3), (1, 0, 3), (0, 1, 3), (1, 1, 3)];
        assert_eq!(places[..5], [(0, 0, 0), (0, 0, 1), (1, 0, 1), (2, 0, 1), (0, 0, 2)]);
        assert_eq!(places[5..], output);
        assert_eq!(sequence.tokens.len(), pair_len([grid_len(1, 2), grid_len(2, 1)]));
    }

    #[test]
    fn what_is_written_is_what_is_read() {
        for (h, w, canvas) in [(1, 1, 1), (2, 3, 3), (3, 2, 5), (7, 7, 7)] {
            let pair = Pair { input: grid(1, 1, 0), output: grid(h, w, 1) };
            let sequence = Sequence::of_pair(&pair, canvas);
            let mut writing = Writing::new(canvas);
            let first = Sequence::prompt(&pair.input, canvas).tokens.len();
            let read = sequence.tokens[first..].iter().zip(&sequence.places[first..]);
            for (&token, &place) in read {
                assert!(writing.allows(token), "{token} of {h} x {w}");
                assert_eq!(writing.write(token), Some(place));
                assert!((place as usize) < places(canvas));
            }
            assert!(writing.allows(END));
            assert_eq!(writing.write(END), None);
            assert_eq!(writing.grid(), pair.output);
            assert!(sequence.tokens.len() <= longest(canvas));
        }
    }

    #[test]
    fn only_grids_can_be_written() {
        let mut writing = Writing::new(2);
        let allowed = |writing: &Writing| -> Vec<i32> {
            (0..14).filter(|&token| writing.allows(token)).collect()
        };
        let colours: Vec<i32> = (0..10).collect();
        assert_eq!(allowed(&writing), colours);
        writing.write(4);
        assert_eq!(allowed(&writing), [&colours[..], &[NEWLINE]].concat());
        writing.write(NEWLINE);
        assert_eq!(allowed(&writing), [&colours[..], &[END]].concat());
        writing.write(5);
        assert_eq!(allowed(&writing), [NEWLINE]); // as wide as the first row
        writing.write(NEWLINE);
        assert_eq!(allowed(&writing), [END]); // as high as the canvas
        assert_eq!(writing.grid(), Grid::new(2, 1, vec![4, 5]).unwrap());
    }

    #[test]
    fn variants_share_their_task() {
        let names = ["<blank>", "a", "a_t3_0123456789", "b_t7_0213456789", "b"];
        let conditions = Conditions::new(&names.map(String::from));
        let of: Vec<u32> = (0..5).map(|id| conditions.of(id).unwrap()).collect();
        assert_eq!(of, [0, 8, 11, 23, 16]);
        assert_eq!((conditions.count(), conditions.of(5)), (24, None));
    }
}
