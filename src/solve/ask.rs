//! Asks a model for the outputs of some inputs as each puzzle of a task, and counts the answers.
//! Test inputs stand in the canvas corner, as the test rows of a data set do. Where rows are
//! packed, a window follows from the demonstrations and the input.

use std::rc::Rc;

use super::known::Puzzle;
use crate::Result;
use crate::data::canvas::{self, Placement};
use crate::data::vocab::IGNORE;
use crate::data::{Grid, Kind, Pair, RowLayout, window_of};
use crate::eval::score::answered_grid;
use crate::eval::{Ballots, Evaluator, Halt, Row};
use crate::models::Model;

/// The answers to one input.
#[derive(Clone, Default, Debug)]
pub struct Poll {
    pub ballots: Ballots,
    pub asked: u32,
    /// Answers that show no grid, or none that the variant can have made.
    pub unreadable: u32,
    /// Sum over the answers of the segment at which training's rule would have halted.
    pub halt_steps: u64,
}

/// A model, and the memory to ask it.
pub struct Asked<'a> {
    pub model: &'a dyn Model,
    pub evaluator: &'a Evaluator,
    pub canvas: usize,
    pub layout: RowLayout,
    pub halt: Halt,
}

impl Asked<'_> {
    /// One poll per input, whose task has the `demonstrations`. Puzzles are asked in order, each
    /// for all inputs; `go_on` is asked with the number of answers so far before each question but
    /// the first batch, and ends it.
    pub fn poll(
        &self,
        inputs: &[&Grid],
        demonstrations: &[Pair],
        puzzles: &[Puzzle],
        mut go_on: impl FnMut(usize) -> Result<bool>,
    ) -> Result<Vec<Poll>> {
        let mut polls = vec![Poll::default(); inputs.len()];
        let questions = puzzles.iter().flat_map(|puzzle| {
            let shown: Rc<[Pair]> = match self.layout {
                RowLayout::Padded | RowLayout::Sequence => Rc::default(),
                RowLayout::Packed => {
                    demonstrations.iter().map(|pair| puzzle.name.apply_pair(pair)).collect()
                }
            };
            (0..inputs.len()).map(move |i| (puzzle, i, shown.clone()))
        });
        // What a pattern makes of an input may leave the canvas.
        let questions = questions.filter_map(|(puzzle, i, demonstrations)| {
            let shown = puzzle.name.apply(inputs[i]);
            let tokens = canvas::encode(&shown, Placement::default(), self.canvas)?;
            let window = match self.layout {
                RowLayout::Padded | RowLayout::Sequence => None,
                RowLayout::Packed => {
                    Some(window_of(&demonstrations, &shown, Placement::default(), self.canvas))
                }
            };
            Some((puzzle, i, tokens, window))
        });
        let questions: Vec<_> = questions.collect();
        let batch = self.evaluator.rows();
        let answered = std::cell::Cell::new(0);
        let mut ended = false;
        let rows = questions.iter().enumerate().map_while(|(n, (puzzle, _, tokens, window))| {
            // Asked when a batch begins, so that none runs half empty.
            if n >= batch && n % batch == 0 && !ended {
                match go_on(answered.get()) {
                    Ok(more) => ended = !more,
                    Err(e) => return Some(Err(e)),
                }
            }
            let labels = vec![IGNORE; tokens.len()];
            let (inputs, puzzle_id) = (tokens.clone(), puzzle.id as i32);
            let row = Row { inputs, labels, puzzle_id, window: *window };
            (!ended).then_some(Ok(row))
        });
        self.evaluator.answer(self.model, rows, self.halt, |n, answer| {
            let (puzzle, i, ..) = &questions[n];
            let poll = &mut polls[*i];
            poll.asked += 1;
            poll.halt_steps += answer.halt_step as u64;
            let tokens: Vec<i32> = answer.tokens.iter().map(|&t| t as i32).collect();
            let shown = answered_grid(Kind::Arc, &tokens, Placement::default(), self.canvas);
            match puzzle.name.undo(&shown).filter(|grid| !grid.is_empty()) {
                Some(grid) => poll.ballots.cast(grid, answer.q[0] as f64),
                None => poll.unreadable += 1,
            }
            answered.set(answered.get() + 1);
            Ok(())
        })?;
        Ok(polls)
    }
}
