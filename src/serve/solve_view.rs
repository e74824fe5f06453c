//! A task that is to be solved, is being solved or was, as a client sees it.

use schemars::JsonSchema;
use serde::Serialize;

use super::job::{Job, Part, Phase};
use crate::solve::Outcome;

/// Where a task is on its way.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Stage {
    Waiting,
    Running,
    Done,
    Failed,
}

/// A task that waits, is being solved or was.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Solving")]
pub struct SolveView {
    pub id: String,
    /// What the task is called.
    pub task: String,
    pub state: Stage,
    /// Waiting: tasks that are solved before this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    ahead: Option<usize>,
    budget_s: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    elapsed_s: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    progress: Option<Part>,
    /// Running: seconds until this part ends, at most what the budget leaves.
    #[serde(skip_serializing_if = "Option::is_none")]
    eta_s: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<Outcome>,
    /// Done: how far to trust the answers, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    trust: Option<Vec<String>>,
    /// Failed: why.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

impl SolveView {
    /// `ahead`: tasks that are solved before it.
    pub fn of(job: &Job, ahead: usize) -> Self {
        let mut state = Self {
            id: job.id.clone(),
            task: job.task.id.clone(),
            state: Stage::Waiting,
            ahead: None,
            budget_s: job.budget.as_secs_f64(),
            elapsed_s: None,
            progress: None,
            eta_s: None,
            outcome: None,
            trust: None,
            problem: None,
        };
        match &job.phase {
            Phase::Waiting => state.ahead = Some(ahead),
            Phase::Running { since, part, part_since } => {
                state.state = Stage::Running;
                state.elapsed_s = Some(since.elapsed().as_secs_f64());
                state.progress = Some(*part);
                let left_s = job.budget.saturating_sub(since.elapsed()).as_secs_f64();
                let per_piece_s = part_since.elapsed().as_secs_f64() / part.done.max(1) as f64;
                let pieces = part.of.saturating_sub(part.done) as f64;
                state.eta_s = (part.done > 0).then_some((per_piece_s * pieces).min(left_s));
            }
            Phase::Done(outcome) => {
                state.state = Stage::Done;
                state.elapsed_s = Some(outcome.wall_s);
                state.trust = Some(outcome.trust());
                state.outcome = Some(outcome.as_ref().clone());
            }
            Phase::Failed(problem) => {
                state.state = Stage::Failed;
                state.problem = Some(problem.clone());
            }
        }
        state
    }

    pub fn begun(&self) -> bool {
        self.state != Stage::Waiting
    }

    pub fn ended(&self) -> bool {
        [Stage::Done, Stage::Failed].contains(&self.state)
    }
}
