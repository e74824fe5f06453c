//! ARC's own score: the answers to all variants of a question are undone and voted on, and a
//! question is passed at k if one of the k best candidates is the true grid.
//!
//! ```text
//! pass@k       questions passed at k, of all
//! task score   mean over tasks of the share of their questions passed at k; at k = 2 what ARC
//!              Prize counts, as long as all test pairs of a task were asked
//! solved       tasks of which every question is passed at k
//! ```
//!
//! Hidden test inputs are voted on and not scored; a task that has one is neither solved nor not.
//!
//! An answer that shows no grid, or one of a size that the variant's pattern never has, is no vote.
//! The official evaluation counts it as a vote for the empty grid, which may so become an attempt:
//! `count_empty`.

use std::collections::{BTreeMap, BTreeSet};

use super::question::{Question, names};
use super::score::{Answers, Share, answered_grid};
use super::vote::{Ballots, Candidate};
use crate::data::{DataSet, Grid};
use crate::{Error, Result};

/// A question with its candidates, best first.
#[derive(Clone, PartialEq, Debug)]
pub struct Voted {
    pub question: Question,
    pub candidates: Vec<Candidate>,
}

/// Scores for one number of attempts.
#[derive(Clone, Copy, PartialEq, Debug, serde::Serialize)]
pub struct Pass {
    pub k: usize,
    pub passed: Share,
    pub task_score: f64,
    pub solved: Share,
}

/// Votes on the questions behind `examples`. `q_halt` (N) are the logits that came with the
/// answers; none for the identity baseline, whose answers all agree.
pub fn vote(
    data: &DataSet,
    split: &str,
    examples: &[u32],
    questions: &[Question],
    answers: Answers,
    q_halt: impl Fn(usize) -> f64,
    count_empty: bool,
) -> Result<Vec<Voted>> {
    // Boards ask none, and need no names.
    if questions.is_empty() {
        return Ok(vec![]);
    }
    let (shard, names) = (data.split(split)?, names(data, split)?);
    let s = data.seq_len();
    let answered = |i: usize| -> Result<Option<Grid>> {
        let example = shard.example(examples[i] as usize)?;
        let grid = match answers {
            Answers::Input => example.pair.input,
            Answers::Rows(rows) => {
                let row = rows.get(i * s..(i + 1) * s).ok_or_else(|| {
                    Error::invalid(format!("{} answered tokens for {} rows", rows.len(), i + 1))
                })?;
                let row: Vec<i32> = row.iter().map(|&t| t as i32).collect();
                answered_grid(data.kind(), &row, example.input_at, data.canvas())
            }
        };
        let grid = names[example.puzzle].undo(&grid).filter(|grid| !grid.is_empty());
        Ok(grid.or_else(|| count_empty.then(Grid::default)))
    };
    let one = |question: &Question| {
        let mut ballots = Ballots::default();
        for &i in &question.asked {
            if let Some(grid) = answered(i)? {
                ballots.cast(grid, q_halt(i));
            }
        }
        Ok(Voted { question: question.clone(), candidates: ballots.ranked() })
    };
    questions.iter().map(one).collect()
}

impl Voted {
    /// Whether nobody says what is right.
    pub fn is_hidden(&self) -> bool {
        self.question.pair.is_hidden()
    }

    /// Whether one of the `k` best candidates is right; none is to a hidden test input.
    pub fn passed(&self, k: usize) -> bool {
        let output = self.question.pair.known_output();
        self.candidates.iter().take(k).any(|c| Some(&c.grid) == output)
    }

    pub fn votes(&self) -> u32 {
        self.candidates.iter().map(|c| c.votes).sum()
    }
}

pub fn pass(voted: &[Voted], k: usize) -> Pass {
    let hidden = voted.iter().filter(|v| v.is_hidden()).map(|v| v.question.task.as_str());
    let hidden: BTreeSet<&str> = hidden.collect();
    let mut tasks: BTreeMap<&str, Share> = BTreeMap::new();
    for v in voted.iter().filter(|v| !v.is_hidden()) {
        let share = tasks.entry(&v.question.task).or_default();
        share.right += v.passed(k) as u64;
        share.of += 1;
    }
    let mut whole = tasks.clone();
    whole.retain(|task, _| !hidden.contains(task));
    Pass {
        k,
        passed: Share {
            right: tasks.values().map(|s| s.right).sum(),
            of: tasks.values().map(|s| s.of).sum(),
        },
        task_score: tasks.values().map(|s| s.frac()).sum::<f64>() / tasks.len().max(1) as f64,
        solved: Share {
            right: whole.values().filter(|s| s.right == s.of).count() as u64,
            of: whole.len() as u64,
        },
    }
}
