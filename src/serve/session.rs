//! A refinement that is under way: one row of the model's carry.

use std::time::Instant;

use schemars::JsonSchema;
use serde::Serialize;

use crate::data::Grid;
use crate::data::canvas::crop;
use crate::data::vocab::PAD;
use crate::eval::Row;
use crate::eval::answer::argmax;
use crate::models::{Carry, DeviceBatch, Model, Workspace};
use crate::{Error, Result};

pub struct Session {
    asked: Row,
    carry: Carry,
    batch: DeviceBatch,
    pub state: State,
    pub used: Instant,
}

/// A refinement as a client sees it.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct State {
    pub id: String,
    /// ACT segments run so far.
    pub step: usize,
    /// The session ends after so many; twice as many where the model was shown the cells that the
    /// puzzle's demonstrations need, and its answer reached their edge: then it begins again on the
    /// whole canvas.
    pub max_steps: usize,
    pub puzzle_id: i32,
    /// All segments were run.
    pub done: bool,
    /// Absent before the first step.
    #[serde(flatten)]
    pub answer: Option<Answer>,
}

/// The answer after a segment.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Answer {
    /// Largest rectangle of colours from the canvas corner; may be empty.
    pub grid: Grid,
    /// Probability of each cell's colour, shaped like `grid`.
    #[schemars(inner(inner(range(min = 0, max = 1))))]
    pub confidence: Vec<Vec<f32>>,
    /// 1 - sigmoid(q_halt): low when the model believes that the answer is right.
    #[schemars(range(min = 0, max = 1))]
    pub energy: f32,
    pub q_halt: f32,
    pub q_continue: f32,
    /// Training's rule would stop here.
    pub halt: bool,
}

impl Session {
    /// The model's batch size is 1.
    pub fn new(model: &dyn Model, id: String, asked: Row) -> Result<Self> {
        let (max_steps, puzzle_id) = (model.dims().segments, asked.puzzle_id);
        let state = State { id, step: 0, max_steps, puzzle_id, done: false, answer: None };
        let (carry, batch) = asked.alone(model)?;
        Ok(Self { asked, carry, batch, state, used: Instant::now() })
    }

    /// One segment.
    pub fn step(&mut self, model: &dyn Model, space: &Workspace, canvas: usize) -> Result<&State> {
        let segment = model.eval_segment(&self.carry, &self.batch, space)?;
        let v = segment.logits.shape().last();
        let (logits, q) = (segment.logits.to_f32s()?, segment.q.to_f32s()?);
        if !logits.iter().chain(&q).all(|x| x.is_finite()) {
            return Err(Error::invalid(
                "the model's output is not finite: its weights are damaged; serve an earlier checkpoint",
            ));
        }
        let mut cells = vec![(PAD, 1.0); model.dims().seq_len];
        let shown = self.asked.cells().zip(logits[model.dims().prefix * v..].chunks_exact(v));
        shown.for_each(|(cell, logits)| cells[cell] = likeliest(logits));
        let tokens: Vec<i32> = cells.iter().map(|(token, _)| *token).collect();
        let grid = crop(&tokens, canvas);
        let sure = |r: usize| (0..grid.w()).map(|c| cells[r * canvas + c].1).collect();
        self.state.step += 1;
        self.state.done = self.state.step >= self.state.max_steps;
        if self.state.done && self.asked.is_reached_beyond(&tokens) {
            self.asked.window = None;
            (self.carry, self.batch) = self.asked.alone(model)?;
            self.state.max_steps += model.dims().segments;
            self.state.done = false;
        }
        self.state.answer = Some(Answer {
            confidence: (0..grid.h()).map(sure).collect(),
            grid,
            energy: 1.0 / (1.0 + q[0].exp()),
            q_halt: q[0],
            q_continue: q[1],
            halt: model.would_halt([q[0], q[1]]),
        });
        Ok(&self.state)
    }
}

/// The first of the largest logits (V), and its softmax.
fn likeliest(logits: &[f32]) -> (i32, f32) {
    let best = argmax(logits);
    let sum: f32 = logits.iter().map(|l| (l - logits[best]).exp()).sum();
    (best as i32, 1.0 / sum)
}
