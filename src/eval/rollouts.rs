//! Several trajectories of one question: each but the first starts every segment from a latent
//! state with noise of its own, and the one that the Q head believes most gives the answer. More
//! answers per model without training it again ("Probabilistic Tiny Recursive Model", arXiv
//! 2605.19943).
//!
//! The first trajectory is the answer without rollouts. Where it is believed by training's rule of
//! halting, the others are left out, unless all are asked for. What a trajectory draws follows from
//! the question and its number: neither the batch nor the threads change an answer.

use std::collections::HashMap;

use super::finished::{Answer, Before, Tried};
use super::row::Row;
use crate::data::builders::sudoku_board;
use crate::models::Model;
use crate::ops::draw::Draw;
use crate::{Error, Result};

/// Largest number of trajectories: what is kept of a question under way must stay small.
const MAX_COUNT: u32 = 4096;
const MAX_SEGMENTS: u32 = 65_536;

/// How a question is tried.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Rollouts {
    /// Trajectories of a question at most (K).
    pub count: u32,
    /// Standard deviation of what is added to each element of z_L before each segment.
    pub noise: f32,
    /// Segments of each trajectory (D).
    pub segments: u32,
    /// Whether all of them run where the first is believed, too.
    pub all: bool,
    /// Whether answers are held to the rules of Sudoku, too, which needs no solution.
    pub sudoku: bool,
}

impl Rollouts {
    /// Refuses what cannot be run, and models without a latent state.
    pub fn check(&self, model: &dyn Model) -> Result<()> {
        let Self { count, noise, segments, .. } = *self;
        let refuse = |what: String| Err(Error::invalid(what));
        if model.states().is_empty() {
            return refuse(
                "--rollouts and --segments: this kind of model has no latent state that runs on \
                 from segment to segment"
                    .into(),
            );
        }
        if !(1..=MAX_COUNT).contains(&count) {
            return refuse(format!("--rollouts {count}: 1 to {MAX_COUNT} trajectories"));
        }
        if !(noise.is_finite() && noise >= 0.0) {
            return refuse(format!("--noise {noise}: a standard deviation is 0 or more"));
        }
        if !(1..=MAX_SEGMENTS).contains(&segments) {
            return refuse(format!("--segments {segments}: 1 to {MAX_SEGMENTS} of a trajectory"));
        }
        Ok(())
    }

    /// Deviation of the noise of trajectory `rollout`, from 0.
    pub fn sigma(&self, rollout: u32) -> f32 {
        if rollout == 0 { 0.0 } else { self.noise }
    }

    /// Numbers of trajectory `rollout` before its segment `segment`, both from 0.
    pub fn draw(row: &Row, rollout: u32, segment: u32) -> Draw {
        let mut hash = blake3::Hasher::new();
        row.inputs.iter().for_each(|token| {
            hash.update(&token.to_le_bytes());
        });
        hash.update(&row.puzzle_id.to_le_bytes());
        let mut seed = [0; 8];
        hash.finalize_xof().fill(&mut seed);
        let number = (rollout as u64) << 32 | segment as u64;
        Draw { seed: u64::from_le_bytes(seed), number }
    }
}

/// What a trajectory that is finished leads to.
pub(super) enum Next {
    /// These trajectories of the same question.
    Run(std::ops::Range<u32>),
    /// Others are under way.
    Wait,
    Answered(Answer),
}

/// The trajectories of questions that are not answered yet, by the number of their row.
pub(super) struct Trajectories {
    how: Rollouts,
    open: HashMap<usize, Vec<Option<One>>>, // by rollout
}

struct One {
    answer: Answer,
    obeys: bool,
}

impl Trajectories {
    pub fn new(how: Rollouts) -> Self {
        Self { how, open: HashMap::new() }
    }

    /// Trajectory `rollout` of row `number` ended in `answer`, which training's rule may believe.
    pub fn take(
        &mut self,
        (number, row, rollout): (usize, &Row, u32),
        answer: Answer,
        is_believed: bool,
    ) -> Next {
        let obeys = self.how.sudoku && solves(row, &answer.tokens);
        let one = One { answer, obeys };
        if rollout == 0 {
            let count = if is_believed && !self.how.all { 1 } else { self.how.count };
            let mut all: Vec<Option<One>> = (0..count).map(|_| None).collect();
            all[0] = Some(one);
            self.open.insert(number, all);
            if count > 1 {
                return Next::Run(1..count);
            }
        } else if let Some(all) = self.open.get_mut(&number) {
            all[rollout as usize] = Some(one);
        }
        let is_whole = |all: &Vec<Option<One>>| all.iter().all(Option::is_some);
        match self.open.get(&number).is_some_and(is_whole) {
            false => Next::Wait,
            true => {
                let all = self.open.remove(&number).into_iter().flatten().flatten();
                Next::Answered(believed_most(all.collect()))
            }
        }
    }
}

/// The first of those with the highest q_halt; what all of them took.
fn believed_most(all: Vec<One>) -> Answer {
    let rollouts = all.len() as u32;
    let steps = all.iter().map(|one| one.answer.steps).sum();
    let asked_again = all.iter().any(|one| one.answer.asked_again);
    let obeys = all.iter().position(|one| one.obeys).map(|i| i as u32 + 1);
    let mut rest = all.into_iter().zip(1..);
    let (mut best, mut number) = rest.next().expect("the first trajectory has ended");
    let mut before = vec![];
    for (one, rollout) in rest {
        if one.answer.q[0] > best.answer.q[0] {
            let Answer { tokens, q, .. } = std::mem::replace(&mut best, one).answer;
            before.push(Before { rollout: number, tokens, q });
            number = rollout;
        }
    }
    let tried = Tried { rollouts, best: number, before, obeys };
    Answer { steps, asked_again, tried: Some(tried), ..best.answer }
}

/// Whether an answer is a full Sudoku that keeps the digits given.
fn solves(row: &Row, answer: &[u8]) -> bool {
    let digit = |token: i32| (token - 1).clamp(0, u8::MAX as i32) as u8;
    let board: Vec<u8> = answer.iter().map(|&token| digit(token as i32)).collect();
    let keeps = row.inputs.iter().zip(&board).all(|(&t, &d)| digit(t) == 0 || digit(t) == d);
    let shape = sudoku_board::Shape::new(row.inputs.len().isqrt());
    keeps && shape.is_some_and(|shape| shape.is_solution(&board))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::act_halt::metric;

    fn how(count: u32, all: bool) -> Rollouts {
        Rollouts { count, noise: 0.1, segments: 2, all, sudoku: false }
    }

    fn row() -> Row {
        Row { inputs: vec![1], labels: vec![1], puzzle_id: 0, window: None }
    }

    fn answer(token: u8, q: f32) -> Answer {
        let (steps, halt_step, asked_again, tried) = (2, 1, false, None);
        let (tokens, q, metrics) = (vec![token], [q, 0.0], [token as f64; metric::LEN]);
        Answer { tokens, q, halt_step, steps, asked_again, tried, metrics }
    }

    /// Trajectory `rollout` of row 7 says `token` and is believed by `q`.
    fn take(all: &mut Trajectories, rollout: u32, token: u8, q: f32) -> Next {
        all.take((7, &row(), rollout), answer(token, q), q > 0.0)
    }

    #[test]
    fn the_believed_most_answers_in_whatever_order_they_end() {
        for order in [[1, 2, 3], [3, 1, 2], [2, 3, 1]] {
            let mut all = Trajectories::new(how(4, false));
            assert!(matches!(take(&mut all, 0, 5, -2.0), Next::Run(range) if range == (1..4)));
            let (token, q) = ([5, 3, 4, 3], [-2.0, -1.0, -3.0, -0.5]);
            let mut last = None;
            for rollout in order {
                last = Some(take(&mut all, rollout, token[rollout as usize], q[rollout as usize]));
            }
            let Some(Next::Answered(answer)) = last else { panic!("not answered") };
            let tried = answer.tried.clone().unwrap();
            assert_eq!((answer.tokens, answer.steps, answer.metrics[0]), (vec![3], 8, 3.0));
            assert_eq!((tried.rollouts, tried.best, tried.obeys), (4, 4, None));
            let after = |k| tried.after(k).map(|before| before.tokens[0]);
            assert_eq!([1, 2, 3, 4, 9].map(after), [Some(5), Some(3), Some(3), None, None]);
        }
    }

    #[test]
    fn a_first_that_is_believed_is_enough_unless_all_are_asked_for() {
        let first = |all| take(&mut Trajectories::new(how(4, all)), 0, 5, 1.0);
        assert!(matches!(first(false), Next::Answered(answer) if answer.steps == 2));
        assert!(matches!(first(true), Next::Run(range) if range == (1..4)));
        let one = take(&mut Trajectories::new(how(1, true)), 0, 5, -1.0);
        assert!(matches!(one, Next::Answered(answer) if answer.tried.as_ref().unwrap().best == 1));
    }

    #[test]
    fn draws_follow_question_trajectory_and_segment() {
        let other = Row { puzzle_id: 1, ..row() };
        let draws = [(row(), 1, 0), (row(), 1, 1), (row(), 2, 0), (other, 1, 0)]
            .map(|(row, rollout, segment)| Rollouts::draw(&row, rollout, segment));
        assert_eq!(draws[0], Rollouts::draw(&row(), 1, 0));
        for (i, a) in draws.iter().enumerate() {
            assert!(draws[..i].iter().all(|b| a != b), "{i}");
        }
    }

    #[test]
    fn a_sudoku_is_solved_by_its_rules_and_the_digits_given() {
        let solution = [1, 2, 3, 4, 3, 4, 1, 2, 2, 1, 4, 3, 4, 3, 2, 1];
        let tokens = |board: [u8; 16]| board.map(|digit| digit + 1);
        let given = |at: &[usize]| {
            let mut inputs = vec![1; 16];
            at.iter().for_each(|&i| inputs[i] = solution[i] as i32 + 1);
            Row { labels: inputs.clone(), inputs, puzzle_id: 0, window: None }
        };
        assert!(solves(&given(&[0, 5, 15]), &tokens(solution)));
        let mut other = given(&[0]);
        other.inputs[0] = 3;
        assert!(!solves(&other, &tokens(solution)), "a given digit is another one");
        let mut twice = solution;
        twice.swap(0, 1);
        assert!(!solves(&given(&[5]), &tokens(twice)), "two of a column");
        let mut empty = solution;
        empty[3] = 0;
        assert!(!solves(&given(&[0]), &tokens(empty)), "an empty cell");
        assert!(!solves(&given(&[]), &[0; 16]), "padding");
    }
}
