//! A task that is to be solved, is being solved or was, as a client sees it.

use serde::Serialize;

use super::job::{Job, Part, Phase};
use crate::solve::Outcome;

/// What a client sees.
#[derive(Clone, Debug, Serialize)]
pub struct SolveView {
    pub id: String,
    pub task: String,
    pub state: &'static str,
    /// Tasks that are solved before this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    ahead: Option<usize>,
    budget_s: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    elapsed_s: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    progress: Option<Part>,
    /// Time left for the part that runs; never more than the budget leaves.
    #[serde(skip_serializing_if = "Option::is_none")]
    eta_s: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<Outcome>,
    /// How far to trust the answers, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    trust: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

impl SolveView {
    /// `ahead`: tasks that are solved before it.
    pub fn of(job: &Job, ahead: usize) -> Self {
        let mut state = Self {
            id: job.id.clone(),
            task: job.task.id.clone(),
            state: "waiting",
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
                state.state = "running";
                state.elapsed_s = Some(since.elapsed().as_secs_f64());
                state.progress = Some(*part);
                let left_s = job.budget.saturating_sub(since.elapsed()).as_secs_f64();
                let per_piece_s = part_since.elapsed().as_secs_f64() / part.done.max(1) as f64;
                let pieces = part.of.saturating_sub(part.done) as f64;
                state.eta_s = (part.done > 0).then_some((per_piece_s * pieces).min(left_s));
            }
            Phase::Done(outcome) => {
                state.state = "done";
                state.elapsed_s = Some(outcome.wall_s);
                state.trust = Some(outcome.trust());
                state.outcome = Some(outcome.as_ref().clone());
            }
            Phase::Failed(problem) => {
                state.state = "failed";
                state.problem = Some(problem.clone());
            }
        }
        state
    }

    pub fn begun(&self) -> bool {
        self.state != "waiting"
    }

    pub fn ended(&self) -> bool {
        ["done", "failed"].contains(&self.state)
    }
}
