//! What is served, and what a client is told of it.

use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;

use crate::Result;
use crate::data::canvas::Placement;
use crate::data::{DataSet, Grid, RowLayout, Window};
use crate::models::Model;
use crate::solve::Solver;

/// What is served. Stays on the thread that made it.
pub struct Served {
    /// Made for batches of 1.
    pub model: Box<dyn Model>,
    pub canvas: usize,
    /// Cells of a known puzzle that are shown to the model.
    pub layout: RowLayout,
    /// Names of puzzles, where the data set is there.
    pub data: Option<Arc<DataSet>>,
    /// Preset, optimizer steps and digest of the training data, as the checkpoint says them.
    pub preset: String,
    pub step: u64,
    pub trained_on: String,
    /// Has weights of its own. `None`: tasks are not solved.
    pub solver: Option<Solver>,
}

/// The model that is served.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Model")]
pub struct About {
    preset: String,
    parameters: usize,
    canvas: usize,
    max_steps: usize,
    puzzle_ids: usize,
    /// Optimizer steps of the checkpoint
    step: u64,
    /// Digest of the training data
    data: String,
    /// Puzzles can be named
    names: bool,
    /// Most that solving a task may take; null: none are solved
    solve_budget_s: Option<f64>,
}

impl Served {
    /// The cells to show of an input of this puzzle in the canvas corner; none: the whole canvas.
    pub fn window(&self, puzzle_id: i32, input: &Grid) -> Result<Option<Window>> {
        match (&self.data, self.layout) {
            (Some(data), RowLayout::Packed) => {
                let at = Placement::default();
                data.window_of_input(puzzle_id as u32, input, at).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// `solve_budget`: what solving a task may take.
    pub fn about(&self, solve_budget: Duration) -> About {
        let dims = self.model.dims();
        About {
            preset: self.preset.clone(),
            parameters: self.model.trainable_elems(),
            canvas: self.canvas,
            max_steps: dims.segments,
            puzzle_ids: dims.num_puzzle_ids,
            step: self.step,
            data: self.trained_on.clone(),
            names: self.data.is_some(),
            solve_budget_s: self.solver.as_ref().map(|_| solve_budget.as_secs_f64()),
        }
    }
}
