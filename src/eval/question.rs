//! What ARC asks: one question per test pair of a task as published. An example of a split is such
//! a pair or a variant of one; undoing what its puzzle's name says tells which, so that the answers
//! to all variants of a question can be brought together.

use std::collections::HashMap;

use super::select::originals;
use crate::data::augment::PuzzleName;
use crate::data::shard::Shard;
use crate::data::{DataSet, Grid, Pair};
use crate::{Error, Result};

/// A test pair as published, and who asked for it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Question {
    pub task: String,
    /// Position among the task's test pairs, from 0.
    pub number: usize,
    pub pair: Pair,
    /// Positions (into the evaluated examples) of the pair itself and of its variants.
    pub asked: Vec<usize>,
}

/// The questions behind `examples` (indices into the split), by task in the order of the split,
/// then by number.
///
/// # Errors
///
/// A puzzle's name does not fit its grids, or an example does not exist.
pub fn questions(data: &DataSet, split: &str, examples: &[u32]) -> Result<Vec<Question>> {
    let shard = data.split(split)?;
    let names = names(data, split)?;
    let published = originals(data, split)?;
    // A task may ask the same input twice: the nth such pair of a variant is the nth of the task.
    let mut by_key: HashMap<(String, Grid, usize), usize> = HashMap::new();
    let mut all: Vec<(bool, Question)> = vec![];
    let mut first_puzzle: HashMap<String, usize> = HashMap::new();
    for (i, &example) in examples.iter().enumerate() {
        let at = example as usize;
        let puzzle = shard.example(at)?.puzzle;
        let name = &names[puzzle];
        let pair = undone(shard, name, at)?;
        let first = shard.puzzle_range(puzzle)?.start;
        let mut nth = 0;
        for earlier in first..at {
            nth += (undone(shard, name, earlier)?.input == pair.input) as usize;
        }
        let of_task = first_puzzle.entry(name.task.clone()).or_insert(puzzle);
        *of_task = puzzle.min(*of_task);
        let key = (name.task.clone(), pair.input.clone(), nth);
        let q = *by_key.entry(key).or_insert_with(|| {
            let (task, number) = (name.task.clone(), at - first);
            all.push((false, Question { task, number, pair: pair.clone(), asked: vec![] }));
            all.len() - 1
        });
        let (is_published, question) = &mut all[q];
        // The task itself says best what its pairs are.
        if published[puzzle] && !*is_published {
            *is_published = true;
            (question.number, question.pair) = (at - first, pair);
        }
        question.asked.push(i);
    }
    let mut all: Vec<Question> = all.into_iter().map(|(_, question)| question).collect();
    all.sort_by_key(|q| (first_puzzle.get(&q.task).copied(), q.number));
    Ok(all)
}

/// The name of each puzzle of the split, taken apart.
pub(super) fn names(data: &DataSet, split: &str) -> Result<Vec<PuzzleName>> {
    let shard = data.split(split)?;
    let names = data.identifiers()?;
    let name = |puzzle| Ok(PuzzleName::parse(&names[shard.puzzle_id(puzzle)? as usize]));
    (0..shard.puzzles()).map(name).collect()
}

fn undone(shard: &Shard, name: &PuzzleName, example: usize) -> Result<Pair> {
    let pair = shard.example(example)?.pair;
    let undo = |grid: &Grid| {
        name.undo(grid).ok_or_else(|| {
            Error::invalid(format!(
                "example {example}: its puzzle is named {name}, but its grid cannot come from that"
            ))
        })
    };
    let input = undo(&pair.input)?;
    match pair.is_hidden() {
        true => Ok(Pair::hidden(input)),
        false => Ok(Pair { input, output: undo(&pair.output)? }),
    }
}
