//! What solving a task gave: answers with the votes on them, and how far to trust them.

use std::fmt::Write;

use serde::Serialize;

use super::ask::Poll;
use crate::data::task::{Query, Task};
use crate::data::{Grid, Pair};
use crate::eval::Share;

/// Answers that a test input may have, as in the ARC Prize.
const ATTEMPTS: usize = 2;

#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Outcome {
    pub task: String,
    pub origin: Origin,
    /// Puzzles that the task was asked as: itself and its variants.
    pub puzzles: usize,
    pub tests: Vec<Test>,
    /// The task's own train pairs that the same vote answers rightly; `None`: there was no time.
    pub own_pairs: Option<Share>,
    pub wall_s: f64,
}

/// What the model knew of the task.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Origin {
    /// It was trained on the train pairs, under this name.
    Known { name: String },
}

/// One test input and its answers.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Test {
    pub input: Grid,
    /// Best first, at most two. Empty if no answer showed a grid.
    pub attempts: Vec<Attempt>,
    /// Answers that were counted, and those among them that showed no grid.
    pub votes_cast: u32,
    pub unreadable: u32,
    /// Different grids that got votes.
    pub candidates: usize,
    /// ACT segments at which training's rule would have halted, mean over the answers.
    pub act_steps: f64,
    /// The model was trained on this very pair: its answer is memory.
    pub trained_on: bool,
    /// Where the file says what is right.
    pub output: Option<Grid>,
    /// Whether copying the input would have been right.
    pub identity_right: Option<bool>,
}

#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Attempt {
    pub grid: Grid,
    pub votes: u32,
    /// Of the votes cast, unreadable ones included.
    pub share: f64,
    /// Mean sigmoid(q_halt): the model's own belief that it is right.
    pub q_halt: f64,
    pub right: Option<bool>,
}

impl Test {
    pub(super) fn new(query: &Query, poll: &Poll, trained_on: bool) -> Self {
        let right = |grid: &Grid| query.output.as_ref().map(|output| output == grid);
        let ranked = poll.ballots.ranked();
        let candidates = ranked.len();
        let attempts = ranked.into_iter().take(ATTEMPTS).map(|c| Attempt {
            right: right(&c.grid),
            share: c.votes as f64 / poll.asked.max(1) as f64,
            votes: c.votes,
            q_halt: c.q_halt,
            grid: c.grid,
        });
        Self {
            attempts: attempts.collect(),
            input: query.input.clone(),
            votes_cast: poll.asked,
            unreadable: poll.unreadable,
            candidates,
            act_steps: poll.halt_steps as f64 / poll.asked.max(1) as f64,
            trained_on,
            identity_right: right(&query.input),
            output: query.output.clone(),
        }
    }
}

/// How many of `pairs` the polls on their inputs answer rightly.
pub(super) fn reproduced(pairs: &[Pair], polls: &[Poll]) -> Share {
    let right = |(pair, poll): &(&Pair, &Poll)| {
        poll.ballots.ranked().first().is_some_and(|best| best.grid == pair.output)
    };
    let right = pairs.iter().zip(polls).filter(right).count() as u64;
    Share { right, of: pairs.len() as u64 }
}

impl Outcome {
    /// What was done and how sure it is, for people. Pictures are not in it.
    pub fn summary(&self) -> String {
        let mut text = String::new();
        let Self { task, puzzles, .. } = self;
        let _ = match &self.origin {
            Origin::Known { name } => {
                let renamed = match name == task {
                    true => String::new(),
                    false => format!(", as {name}"),
                };
                writeln!(text, "task {task}: trained on{renamed}; asked as {puzzles} variants")
            }
        };
        for (i, test) in self.tests.iter().enumerate() {
            text += &test.summary(i + 1);
        }
        text += &self.trust();
        let _ = writeln!(text, "{:.1} s", self.wall_s);
        text
    }

    /// How far to trust the answers, plainly.
    pub fn trust(&self) -> String {
        let mut text = String::new();
        let leaked: Vec<String> = (1..)
            .zip(&self.tests)
            .filter(|(_, test)| test.trained_on)
            .map(|(i, _)| i.to_string())
            .collect();
        if !leaked.is_empty() {
            let list = leaked.join(", ");
            let _ = writeln!(
                text,
                "test {list}: the model was trained on this very pair, so the answer says nothing about \
                 its ability (such data sets hold out only what is named in `hrm data stats`)"
            );
        }
        let _ = match self.own_pairs {
            None => writeln!(text, "own examples: not asked, the time was up"),
            Some(Share { right: 0, of }) => {
                writeln!(text, "reproduces 0 of {of} of its own examples: do not trust this answer")
            }
            Some(Share { right, of }) if right < of => writeln!(
                text,
                "reproduces {right} of {of} of its own examples: it has not understood the task"
            ),
            Some(Share { of, .. }) => writeln!(
                text,
                "reproduces all {of} of its own examples, which it was trained on: needed, not enough"
            ),
        };
        text
    }
}

impl Test {
    fn summary(&self, number: usize) -> String {
        let judged = |right| match right {
            Some(true) => ", right",
            Some(false) => ", wrong",
            None => "",
        };
        let (cast, unreadable) = (self.votes_cast, self.unreadable);
        let mut text = format!(
            "test {number}: {} answers from {cast} votes, {unreadable} unreadable, ACT steps {:.1}\n",
            self.candidates, self.act_steps
        );
        if self.attempts.is_empty() {
            text += "  no answer showed a grid\n";
        }
        for (i, a) in (1..).zip(&self.attempts) {
            let (h, w) = (a.grid.h(), a.grid.w());
            let _ = writeln!(
                text,
                "  attempt {i}: {h} x {w}, {} of {cast} votes ({:.0} %), mean q_halt {:.2}{}",
                a.votes,
                100.0 * a.share,
                a.q_halt,
                judged(a.right)
            );
        }
        if self.identity_right.is_some() {
            let _ = writeln!(text, "  copy of the input{}", judged(self.identity_right));
        }
        text
    }
}

/// Refuses what the model cannot be asked.
pub fn check(task: &Task, canvas: usize) -> Result<(), String> {
    if task.test.is_empty() {
        return Err("has no test input to answer".into());
    }
    if task.train.is_empty() {
        return Err("has no train pairs: nothing says what the task is".into());
    }
    let side = task.largest_side();
    if side > canvas {
        return Err(format!(
            "has a grid with a side of {side} cells, but the model was trained on a canvas of \
             {canvas} x {canvas}; train a model on a larger canvas (hrm data build --canvas {side})"
        ));
    }
    Ok(())
}
