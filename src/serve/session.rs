//! A refinement that is under way: one row of the model's carry.

use std::time::Instant;

use schemars::JsonSchema;
use serde::Serialize;

use crate::data::Grid;
use crate::data::canvas::crop;
use crate::eval::answer::argmax;
use crate::models::{Carry, DeviceBatch, Model, Workspace};
use crate::{Error, Result};

pub struct Session {
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
    /// The session ends after so many.
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
    /// `inputs`: tokens (S) of the canvas. The model's batch size is 1.
    pub fn new(model: &dyn Model, id: String, inputs: &[i32], puzzle_id: i32) -> Result<Self> {
        let dims = model.dims();
        let batch = DeviceBatch::new(model.device(), 1, dims.seq_len)?;
        // Labels only enter sums that nobody reads here.
        batch.upload(inputs, inputs, &[puzzle_id])?;
        let max_steps = dims.segments;
        let state = State { id, step: 0, max_steps, puzzle_id, done: false, answer: None };
        Ok(Self { carry: Carry::new(model)?, batch, state, used: Instant::now() })
    }

    /// One segment.
    pub fn step(&mut self, model: &dyn Model, space: &Workspace, canvas: usize) -> Result<&State> {
        let segment = model.eval_segment(&self.carry, &self.batch, space)?;
        let [_, _, v] = segment.logits.dims("logits (B, T, V)")?;
        let (logits, q) = (segment.logits.to_f32s()?, segment.q.to_f32s()?);
        if !logits.iter().chain(&q).all(|x| x.is_finite()) {
            return Err(Error::invalid(
                "the model's output is not finite: its weights are damaged; serve an earlier checkpoint",
            ));
        }
        let cells: Vec<(i32, f32)> =
            logits[model.dims().prefix * v..].chunks_exact(v).map(likeliest).collect();
        let tokens: Vec<i32> = cells.iter().map(|(token, _)| *token).collect();
        let grid = crop(&tokens, canvas);
        let sure = |r: usize| (0..grid.w()).map(|c| cells[r * canvas + c].1).collect();
        self.state.step += 1;
        self.state.done = self.state.step >= self.state.max_steps;
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
